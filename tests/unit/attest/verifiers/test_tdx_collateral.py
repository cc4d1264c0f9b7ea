"""Collateral: signed by Intel's root, in time, of this platform; or refused by name."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.attest.chains import parse_certificate
from sekisho.attest.verifiers.tdx_collateral import (
    MAX_BUNDLE_BYTES,
    Statement,
    TdxCollateral,
    holds,
    parse_bundle,
    parse_statement,
    pick_qe_identity,
    pick_tcb_info,
)
from sekisho.attest.verifiers.tdx_pck import parse_platform
from sekisho.attest.verifiers.tdx_statements import MAX_STATEMENT_BYTES
from sekisho.errors import Reason, RefusedError
from tests.simulators.hardware.tdx import AT, CA_SERIAL, ISSUED, NEXT, SIGNER_SERIAL, SimulatedTdx, pem, sign
from tests.unit.fuzz import JSON, attempt

SIM = SimulatedTdx()
PLATFORM = parse_platform(SIM.extension())
GOOD = SIM.collateral()
SECOND = timedelta(seconds=1)
NAME = "TCB information for TDX on FMSPC 90c06f000000 with PCEID 0000"


def refusal(reason: Reason, act: Callable[[], object]) -> str:
    with pytest.raises(RefusedError) as caught:
        act()
    assert caught.value.reason is reason
    return caught.value.message


def pick(collateral: TdxCollateral = GOOD, **changes: Any) -> object:
    at = changes.pop("at", AT)
    return pick_tcb_info(collateral, replace(PLATFORM, **changes), "TDX", at=at)


def test_good_collateral_is_picked_with_the_window_of_all_that_vouches_for_it() -> None:
    info, window = pick_tcb_info(GOOD, PLATFORM, "TDX", at=AT)
    assert (info.number, window.not_before, window.not_after) == (17, ISSUED, NEXT)
    identity, window = pick_qe_identity(GOOD, "TDX", at=AT)
    assert (identity.name, window.not_before, window.not_after) == ("TD_QE", ISSUED, NEXT)
    for at in (ISSUED, NEXT):
        pick_tcb_info(GOOD, PLATFORM, "TDX", at=at)


@pytest.mark.parametrize(
    ("collateral", "changes"),
    [
        (replace(GOOD, tcb_infos=()), {}),
        (GOOD, {"fmspc": bytes(6)}),
        (GOOD, {"pce_id": b"\0\1"}),
        (replace(GOOD, tcb_infos=SimulatedTdx(tee="SGX").collateral().tcb_infos), {}),
        (SIM.collateral(tcb_changes={"fmspc": "90C06F000001"}), {}),
        (SIM.collateral(tcb_changes={"fmspc": "90C06F000001", "tdxNote": "90c06f000000"}), {}),
    ],
)
def test_information_about_another_platform_is_not_used(collateral: TdxCollateral, changes: dict[str, Any]) -> None:
    message = refusal(Reason.COLLATERAL_MISSING, lambda: pick(collateral, **changes))
    assert message.startswith("there is no TCB information for TDX on FMSPC ")
    assert message.endswith("; import it from Intel's service")


def test_an_identity_of_another_enclave_is_not_used() -> None:
    message = refusal(Reason.COLLATERAL_MISSING, lambda: pick_qe_identity(GOOD, "SGX", at=AT))
    assert message == "there is no identity QE of the quoting enclave for SGX; import it from Intel's service"


@pytest.mark.parametrize("at", [ISSUED - SECOND, NEXT + SECOND], ids=["future", "expired"])
def test_statements_from_another_time_are_refused(at: Any) -> None:
    message = refusal(Reason.COLLATERAL_EXPIRED, lambda: pick(at=at))
    assert message == (
        f"the {NAME} holds from 2026-06-01T00:00:00Z to 2026-07-01T00:00:00Z, it is {at:%Y-%m-%dT%H:%M:%SZ};"
        " import it anew"
    )
    message = refusal(Reason.COLLATERAL_EXPIRED, lambda: pick_qe_identity(GOOD, "TDX", at=at))
    assert message.startswith("the identity TD_QE of the quoting enclave for TDX holds from 2026-06-01")


@pytest.mark.parametrize("at", [ISSUED - SECOND, NEXT + SECOND], ids=["future", "expired"])
def test_revocation_lists_from_another_time_are_refused(at: Any) -> None:
    wide = SIM.collateral(statement_window=(ISSUED - 2 * SECOND, NEXT + 2 * SECOND))
    assert "revocation list" in refusal(Reason.COLLATERAL_EXPIRED, lambda: pick(wide, at=at))


def test_collateral_without_the_roots_revocation_list_is_refused() -> None:
    for crls in ((), GOOD.crls[1:]):
        message = refusal(Reason.COLLATERAL_MISSING, lambda crls=crls: pick(replace(GOOD, crls=crls)))
        assert message == (
            f"there is no revocation list of every issuer of the signer of the {NAME};"
            " import those of the root and the PCK CA"
        )
    pick(replace(GOOD, crls=GOOD.crls[:1]))


def test_a_revoked_signer_is_refused() -> None:
    message = refusal(Reason.COLLATERAL_INVALID, lambda: pick(SIM.collateral(revoked=(SIGNER_SERIAL,))))
    assert message.startswith(f"the signer of the {NAME} is not to be trusted: ")
    pick(SIM.collateral(revoked=(CA_SERIAL,)))


def test_a_signer_below_another_root_is_refused() -> None:
    other = SimulatedTdx(world="second").collateral()
    message = refusal(Reason.COLLATERAL_INVALID, lambda: pick(replace(other, roots=GOOD.roots, crls=GOOD.crls)))
    assert message.startswith(f"the signer of the {NAME} is not to be trusted: ")


def test_roots_that_are_not_pinned_are_missing() -> None:
    refusal(Reason.COLLATERAL_MISSING, lambda: pick(replace(GOOD, roots=())))


def test_a_signer_for_something_else_is_refused() -> None:
    named = SIM.collateral(signer_name="Intel SGX PCK Certificate")
    message = refusal(Reason.COLLATERAL_INVALID, lambda: pick(named))
    assert message.startswith(f'the {NAME} is signed by "')
    assert message.endswith('", not by "Intel SGX TCB Signing"')


def test_a_statement_by_the_pck_of_a_platform_is_refused() -> None:
    body = GOOD.tcb_infos[0].body
    own = Statement(body, sign("first pck", body), (SIM.pck, SIM.ca, SIM.root))
    message = refusal(Reason.COLLATERAL_INVALID, lambda: pick(replace(GOOD, tcb_infos=(own,))))
    assert message.endswith('", not by "Intel SGX TCB Signing"')


def test_any_changed_byte_of_a_statement_is_refused() -> None:
    (good,) = GOOD.tcb_infos
    for place in range(0, len(good.body), 7):
        changed = bytearray(good.body)
        changed[place] ^= 1
        item = replace(good, body=bytes(changed))
        answer = attempt(lambda item=item: pick(replace(GOOD, tcb_infos=(item,))))
        assert isinstance(answer, RefusedError), place


@pytest.mark.parametrize(
    "signature",
    [b"", bytes(64), bytes(63), b"\xff" * 64, sign("first root", b"x")],
    ids=["none", "zeros", "short", "ones", "by another"],
)
def test_a_signature_that_does_not_hold_is_refused(signature: bytes) -> None:
    (good,) = GOOD.tcb_infos
    bad = replace(GOOD, tcb_infos=(replace(good, signature=signature),))
    assert refusal(Reason.COLLATERAL_INVALID, lambda: pick(bad)) == f"the signature of the {NAME} does not hold"


def test_of_several_statements_the_newest_that_holds_now_counts() -> None:
    def numbered(number: int, begins: Any = ISSUED, ends: Any = NEXT) -> Statement:
        changes = {"tcbEvaluationDataNumber": number}
        return SIM.collateral(tcb_changes=changes, statement_window=(begins, ends)).tcb_infos[0]

    items = (
        numbered(18),
        numbered(19),
        numbered(20, AT + SECOND, NEXT),
        numbered(21, ISSUED, AT - SECOND),
        numbered(17),
    )
    info, _ = pick_tcb_info(replace(GOOD, tcb_infos=items), PLATFORM, "TDX", at=AT)
    assert info.number == 19
    later = (numbered(19), numbered(19, ISSUED + SECOND))
    _, window = pick_tcb_info(replace(GOOD, tcb_infos=later), PLATFORM, "TDX", at=AT)
    assert window.not_before == ISSUED + SECOND
    identities = tuple(
        SIM.collateral(qe_changes={"tcbEvaluationDataNumber": number}).qe_identities[0] for number in (3, 5, 4)
    )
    identity, _ = pick_qe_identity(replace(GOOD, qe_identities=identities), "TDX", at=AT)
    assert identity.number == 5


def test_only_keys_of_p256_make_such_signatures() -> None:
    certificate = parse_certificate(SIM.pck)
    signature = sign("first pck", b"message")
    assert holds(certificate, signature, b"message")
    assert holds(certificate, signature, b"other") is False
    for longer in (signature + b"\0", signature[:32] + b"\0" + signature[32:], signature[:63]):
        assert holds(certificate, longer, b"message") is False
    other = ec.generate_private_key(ec.SECP256K1())
    r, s = decode_dss_signature(other.sign(b"message", ec.ECDSA(SHA256())))
    by_other = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    assert holds(replace(certificate, key=other.public_key()), by_other, b"message") is False
    rsa_key = rsa.generate_private_key(65537, 2048).public_key()
    assert holds(replace(certificate, key=rsa_key), signature, b"message") is False


DOCUMENT = (
    b'{"tcbInfo":' + GOOD.tcb_infos[0].body + b',"signature":"' + GOOD.tcb_infos[0].signature.hex().encode() + b'"}'
)
ISSUERS = pem(SIM.signer, SIM.root)


def test_a_statement_is_taken_apart_byte_for_byte() -> None:
    assert parse_statement(DOCUMENT, ISSUERS) == GOOD.tcb_infos[0]
    spaced = b' {\n "enclaveIdentity" : {"a": [1, "}"] } , "signature" : "' + b"Ab" * 64 + b'" } \n'
    assert parse_statement(spaced, ISSUERS + b"\0") == Statement(
        b'{"a": [1, "}"] }', b"\xab" * 64, (SIM.signer, SIM.root)
    )


SHAPE = 'a statement of Intel\'s is not {"tcbInfo" or "enclaveIdentity": …, "signature": 64 bytes}'


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"", SHAPE),
        (b"\xff", SHAPE),
        (b'{"tcbInfo":\xff', "a statement of Intel's is not JSON"),
        (b'{"tcbInfo":{', "a statement of Intel's is not JSON"),
        (b'{"tcbInfo":' + b"[" * 100_000, "a statement of Intel's is not JSON"),
        (b'{"tcbInfo":{},"signature":"' + b"ab" * 63 + b'"}', SHAPE),
        (b'{"tcbInfo":{},"signature":"' + b"ab" * 64 + b'"}x', SHAPE),
        (b'{"signature":"' + b"ab" * 64 + b'","tcbInfo":{}}', SHAPE),
        (b'{"other":{},"signature":"' + b"ab" * 64 + b'"}', SHAPE),
        (b'{},"signature":"' + b"ab" * 64 + b'"}', SHAPE),
        (b" " * MAX_STATEMENT_BYTES + DOCUMENT, SHAPE),
    ],
)
def test_a_document_of_another_shape_is_refused(document: bytes, message: str) -> None:
    assert refusal(Reason.COLLATERAL_INVALID, lambda: parse_statement(document, ISSUERS)) == message


def test_documents_and_bundles_may_be_as_long_as_allowed() -> None:
    parse_statement(DOCUMENT + b" " * (MAX_STATEMENT_BYTES - len(DOCUMENT)), ISSUERS)
    parse_bundle(bundle() + b" " * (MAX_BUNDLE_BYTES - len(bundle())), ())


def test_a_statement_about_others_is_not_even_read() -> None:
    pick(replace(GOOD, tcb_infos=(Statement(b"junk", b"", ()), *GOOD.tcb_infos)))


def test_issuers_that_are_no_certificates_are_refused() -> None:
    message = refusal(Reason.COLLATERAL_INVALID, lambda: parse_statement(DOCUMENT, b"text"))
    assert message == "the certificates of a statement's signer have something in them that is no certificate in PEM"


def bundle(**changes: Any) -> bytes:
    (info,), (identity,) = GOOD.tcb_infos, GOOD.qe_identities
    value = {
        "root_ca_crl": GOOD.crls[0].hex(),
        "pck_crl": GOOD.crls[1].hex(),
        "pck_crl_issuer_chain": pem(SIM.ca, SIM.root).decode(),
        "tcb_info": info.body.decode(),
        "tcb_info_signature": info.signature.hex(),
        "tcb_info_issuer_chain": ISSUERS.decode(),
        "qe_identity": identity.body.decode(),
        "qe_identity_signature": identity.signature.hex(),
        "qe_identity_issuer_chain": ISSUERS.decode(),
        **changes,
    }
    return json.dumps(value).encode()


def test_a_statement_of_signs_that_are_none_is_read_and_is_no_statement_that_anybody_signed() -> None:
    collateral = parse_bundle(bundle(tcb_info="{\ud800}"), GOOD.roots)
    assert collateral.tcb_infos[0].body == b"{?}"


def test_a_bundle_is_read_and_brings_no_roots() -> None:
    assert parse_bundle(bundle(), GOOD.roots) == GOOD
    assert parse_bundle(bundle(), ()).roots == ()
    every = "0123456789abcdefABCDEF"
    assert parse_bundle(bundle(pck_crl=every), ()).crls[1] == bytes.fromhex(every)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"{", "a bundle of collateral is not JSON"),
        (b"[" * 100_000, "a bundle of collateral is not JSON"),
        (b"[]", "a bundle of collateral is not an object of at most 4194304 bytes"),
        (bundle() + b" " * MAX_BUNDLE_BYTES, "a bundle of collateral is not an object of at most 4194304 bytes"),
        (bundle(pck_crl=None), "a bundle of collateral has no text pck_crl"),
        (bundle(pck_crl="XX"), "a bundle of collateral has a field pck_crl that is not hexadecimal"),
        (bundle(pck_crl="0x0x"), "a bundle of collateral has a field pck_crl that is not hexadecimal"),
        (bundle(pck_crl="0"), "a bundle of collateral has a field pck_crl that is not hexadecimal"),
        (bundle(root_ca_crl="0 0 "), "a bundle of collateral has a field root_ca_crl that is not hexadecimal"),
        (bundle(tcb_info={}), "a bundle of collateral has no text tcb_info"),
        (bundle(qe_identity_signature=1), "a bundle of collateral has no text qe_identity_signature"),
        (
            bundle(tcb_info_issuer_chain="\ud800"),
            "the certificates of a statement's signer have something in them that is no certificate in PEM",
        ),
        (
            bundle(tcb_info_issuer_chain=""),
            "the certificates of a statement's signer have 0 in PEM, 1 to 3 are allowed",
        ),
    ],
)
def test_a_bundle_of_another_shape_is_refused(document: bytes, message: str) -> None:
    assert refusal(Reason.COLLATERAL_INVALID, lambda: parse_bundle(document, GOOD.roots)) == message


@settings(max_examples=80)
@given(st.dictionaries(st.sampled_from(sorted(json.loads(bundle()))), JSON, max_size=2))
def test_any_bundle_is_read_or_refused(changes: dict[str, Any]) -> None:
    assert isinstance(attempt(lambda: parse_bundle(bundle(**changes), ())), TdxCollateral | RefusedError)
