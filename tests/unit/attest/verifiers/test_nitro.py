"""Nitro documents: nothing that AWS did not sign, and nothing that its specification does not allow."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.attest.cbor import encode_cbor, parse_cbor
from sekisho.attest.claims import Claims, TcbStatus, Tee
from sekisho.attest.evidence import UnverifiedEvidence
from sekisho.attest.verifiers.nitro import NitroCollateral, parse_document, verify_nitro
from sekisho.errors import Reason, RefusedError
from tests.simulators.hardware.authorities import NOW, build_crl, build_holder
from tests.simulators.hardware.nitro import IMAGE, Hypervisor, sign
from tests.unit.attest.recorded import read_recorded
from tests.unit.fuzz import attempt, changed

NITRO = Hypervisor()
LEAF, BUNDLE = NITRO.certify()
COLLATERAL = NitroCollateral((NITRO.root.der,))
# As AWS publishes it in its user guide, "Verifying the root of trust".
AWS_ROOT = "641a0321a3e244efe456463195d606317ed7cdcc3c1756e09893f3c68f79bb5b"


def verify(document: bytes, collateral: NitroCollateral = COLLATERAL, at: datetime = NOW) -> Claims:
    return verify_nitro(UnverifiedEvidence("nitro", document), collateral, at=at)


def document(**changes: Any) -> bytes:
    return sign(LEAF, encode_cbor(NITRO.fields(LEAF, BUNDLE, **changes)))


def refused(document: bytes, collateral: NitroCollateral = COLLATERAL, at: datetime = NOW) -> tuple[Reason, str]:
    with pytest.raises(RefusedError) as caught:
        verify(document, collateral, at)
    return caught.value.reason, caught.value.message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"digest": "SHA256"}, "its digest is not SHA384"),
        ({"module_id": ""}, "module_id is not a printable name"),
        ({"module_id": "a\nb"}, "module_id is not a printable name"),
        ({"module_id": 7}, "module_id is not a printable name"),
        ({"timestamp": 0}, "timestamp is not a number of milliseconds"),
        ({"timestamp": True}, "timestamp is not a number of milliseconds"),
        ({"timestamp": 2**63}, "timestamp is not a number of milliseconds"),
        ({"timestamp": "now"}, "timestamp is not a number of milliseconds"),
        ({"pcrs": ...}, "pcrs are not a map of 1 to 32 registers"),
        ({"pcrs": {}}, "pcrs are not a map of 1 to 32 registers"),
        ({"pcrs": dict.fromkeys(range(33), IMAGE)}, "pcrs are not a map of 1 to 32 registers"),
        ({"pcrs": {0: IMAGE, 32: IMAGE}}, "a PCR has an index that is not 0 to 31"),
        ({"pcrs": {0: IMAGE, "1": IMAGE}}, "a PCR has an index that is not 0 to 31"),
        ({"pcrs": {0: IMAGE[:47]}}, "PCR0 has not 32, 48 or 64 bytes"),
        ({"pcrs": {0: 7}}, "PCR0 has not 32, 48 or 64 bytes"),
        ({"pcrs": {1: IMAGE}}, "PCR0, the image of the enclave, is missing"),
        ({"certificate": ...}, "a certificate has not 1 to 1024 bytes"),
        ({"certificate": bytes(1025)}, "a certificate has not 1 to 1024 bytes"),
        ({"cabundle": []}, "cabundle is not a list of 1 to 8 certificates"),
        ({"cabundle": 7}, "cabundle is not a list of 1 to 8 certificates"),
        ({"cabundle": [b"x"] * 9}, "cabundle is not a list of 1 to 8 certificates"),
        ({"cabundle": [b""]}, "a certificate has not 1 to 1024 bytes"),
        ({"user_data": bytes(513)}, "user_data is not a string of at most 512 bytes"),
        ({"nonce": bytes(513)}, "nonce is not a string of at most 512 bytes"),
        ({"public_key": "key"}, "public_key is not a string of at most 1024 bytes"),
    ],
)
def test_a_document_unlike_the_specification_is_refused(changes: dict[str, Any], message: str) -> None:
    reason, text = refused(document(**changes))
    assert reason is Reason.EVIDENCE_INVALID
    assert message in text


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "1 bytes at byte 0 pass the end of 0"),
        (bytes(32 * 1024 + 1), "it has 32769 bytes, 32768 allowed"),
        (encode_cbor({}), "it is not a COSE_Sign1 of four parts"),
        (encode_cbor([b"", {}, b""]), "it is not a COSE_Sign1 of four parts"),
        (encode_cbor([b"", {}, b"", None]), "a part of its COSE_Sign1 is not a string of bytes"),
        (encode_cbor([encode_cbor({1: -35}), {4: b"kid"}, b"", b""]), "its header does not say ES384 and nothing else"),
        (sign(LEAF, b"\xa0", header={1: -7}), "its header does not say ES384 and nothing else"),
        (sign(LEAF, b"\xa0", header={1: -35, 4: b"kid"}), "its header does not say ES384 and nothing else"),
        (sign(LEAF, b"\x80"), "its payload is not a map"),
    ],
)
def test_what_is_no_signed_document_is_refused(data: bytes, message: str) -> None:
    reason, text = refused(data)
    assert reason is Reason.EVIDENCE_INVALID
    assert message in text


def test_a_document_of_another_root_is_refused() -> None:
    reason, message = refused(document(), NitroCollateral((build_holder("aws.nitro-enclaves").der,)))
    assert reason is Reason.EVIDENCE_UNTRUSTED
    assert "zone" in message or "aws.nitro-enclaves" in message


def test_a_document_signed_by_another_key_is_refused() -> None:
    other, _ = NITRO.certify()
    reason, message = refused(sign(other, encode_cbor(NITRO.fields(LEAF, BUNDLE))))
    assert reason is Reason.EVIDENCE_UNTRUSTED
    assert message == "the signature of the Nitro document does not hold under the key that should have made it"


def test_a_key_on_another_curve_is_refused() -> None:
    leaf, bundle = NITRO.certify(curve=ec.SECP256R1())
    reason, message = refused(sign(LEAF, encode_cbor(NITRO.fields(leaf, bundle))))
    assert reason is Reason.EVIDENCE_UNTRUSTED
    assert message == "the key that signs the Nitro document is not an ECDSA key on secp384r1"


@pytest.mark.parametrize("apart", [timedelta(hours=4), timedelta(hours=-1)])
def test_a_document_is_believed_only_while_its_certificates_are_valid(apart: timedelta) -> None:
    reason, message = refused(document(), at=NOW + apart)
    assert reason is Reason.EVIDENCE_UNTRUSTED
    assert "i-0123456789abcdef0-enc01" in message


def test_a_revoked_instance_is_refused() -> None:
    zone, instance = BUNDLE[1], BUNDLE[2]
    revoked = build_crl(zone, instance.certificate.serial_number)
    reason, message = refused(document(), NitroCollateral((NITRO.root.der,), (revoked,)))
    assert reason is Reason.EVIDENCE_REVOKED
    assert "i-0123456789abcdef0" in message


def test_without_pinned_roots_nothing_is_believed() -> None:
    assert refused(document(), NitroCollateral(()))[0] is Reason.COLLATERAL_MISSING


def test_a_document_that_holds_says_what_runs_where() -> None:
    claims = verify(document(nonce=b"nonce", public_key=b"key"))
    assert claims.tee is Tee.NITRO
    assert (claims.debug, claims.tcb_status) == (False, TcbStatus.UNKNOWN)
    assert claims.measurement == claims.register("pcr0") == IMAGE
    assert [name for name, _ in claims.registers] == ["pcr0", "pcr1", "pcr4"]
    assert claims.bound_data == b"bound"
    assert claims.chip_id is None
    assert claims.fact("instance") == "i-0123456789abcdef0"
    assert claims.fact("enclave") == "01"
    assert claims.fact("nonce") == b"nonce".hex()
    assert claims.fact("timestamp") == "2026-06-01T12:00:00Z"
    assert (claims.fact("public-key") or "").startswith("sha256:")
    assert claims.window.not_after == NOW + timedelta(hours=3)
    assert claims.evidence_digest.startswith("sha256:")


def test_the_tag_of_sign1_may_stand_before_a_document() -> None:
    payload = encode_cbor(NITRO.fields(LEAF, BUNDLE))
    assert verify(sign(LEAF, payload, tag=b"\xd2")).measurement == IMAGE


def test_without_user_data_a_document_is_bound_to_its_nonce() -> None:
    claims = verify(document(user_data=None, nonce=b"nonce"))
    assert claims.bound_data == b"nonce"
    assert claims.fact("public-key") == ""


def test_an_enclave_whose_image_is_not_measured_is_in_debug_mode() -> None:
    assert verify(document(pcrs={0: bytes(48), 8: IMAGE})).debug


@given(changed(encode_cbor(NITRO.fields(LEAF, BUNDLE))))
@settings(max_examples=100, deadline=None)
def test_changed_documents_are_read_or_refused(payload: bytes) -> None:
    attempt(lambda: parse_document(payload))


# Recorded evidence


def recorded(name: str) -> tuple[bytes, NitroCollateral, datetime]:
    """Return a recorded document, the root it came with, and its time."""
    data = read_recorded(f"nitro/{name}")
    length = int.from_bytes(data[2:4], "little") >> 2  # as SCALE spells it before the document; more follows behind
    document = data[4 : 4 + length]
    parts = parse_cbor(document, name="the recorded document")
    parsed = parse_document(parts[2])  # type: ignore[index,arg-type]
    root = x509.load_der_x509_certificate(parsed.certificates[-1])
    assert root.fingerprint(SHA256()).hex() == AWS_ROOT
    return document, NitroCollateral((parsed.certificates[-1],)), parsed.at


def test_a_recorded_document_verifies_at_its_time() -> None:
    document, collateral, at = recorded("nitro_at_byte4.bin")
    claims = verify(document, collateral, at)
    assert not claims.debug
    assert claims.fact("module") == "i-0827e799ec9232d44-enc019b55a68bd2ed4b"
    assert any(claims.measurement)
    assert len(claims.registers) == 16


def test_a_recorded_debug_enclave_is_told_as_such() -> None:
    document, collateral, at = recorded("nitro_debug_pcr0_zero.bin")
    assert verify(document, collateral, at).debug


@pytest.mark.parametrize("apart", [timedelta(days=1), timedelta(days=-1)])
def test_a_recorded_document_is_refused_at_other_times(apart: timedelta) -> None:
    document, collateral, at = recorded("nitro_at_byte4.bin")
    assert refused(document, collateral, at + apart)[0] is Reason.EVIDENCE_UNTRUSTED


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_recorded_document_with_any_byte_flipped_is_refused(data: st.DataObject) -> None:
    document, collateral, at = recorded("nitro_at_byte4.bin")
    place, mask = data.draw(st.integers(0, len(document) - 1)), data.draw(st.integers(1, 255))
    flipped = document[:place] + bytes([document[place] ^ mask]) + document[place + 1 :]
    with pytest.raises(RefusedError):
        verify(flipped, collateral, at)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_a_recorded_document_that_is_cut_is_refused(data: st.DataObject) -> None:
    document, collateral, at = recorded("nitro_at_byte4.bin")
    with pytest.raises(RefusedError):
        verify(document[: data.draw(st.integers(0, len(document) - 1))], collateral, at)


def test_bounds_of_a_document_are_included() -> None:
    pcrs = {0: b"\1" * 32, 1: b"\1" * 64, **dict.fromkeys(range(2, 32), IMAGE)}
    payload = encode_cbor(
        NITRO.fields(LEAF, BUNDLE, pcrs=pcrs, module_id="m" * 256, timestamp=253_402_300_799_000,
                     cabundle=[b"c"] * 7 + [bytes(1024)], user_data=bytes(512), public_key=bytes(1024))
    )  # fmt: skip
    parsed = parse_document(payload)
    assert (len(parsed.pcrs), len(parsed.module), parsed.at.year) == (32, 256, 9999)
    assert (len(parsed.certificates), len(parsed.user_data), len(parsed.public_key)) == (9, 512, 1024)
    for change in ({"timestamp": 253_402_300_799_001}, {"module_id": "m" * 257}, {"timestamp": 0}):
        with pytest.raises(RefusedError):
            parse_document(encode_cbor(NITRO.fields(LEAF, BUNDLE, **change)))
    assert parse_document(encode_cbor(NITRO.fields(LEAF, BUNDLE, module_id="m", timestamp=1))).module == "m"


def test_a_document_of_the_largest_size_is_looked_into() -> None:
    exact = encode_cbor([b"", {}, bytes(32 * 1024 - 7), b""])
    assert len(exact) == 32 * 1024
    assert "allowed" not in refused(exact)[1]
    assert "it has 32769 bytes, 32768 allowed" in refused(exact + b"\0")[1]
