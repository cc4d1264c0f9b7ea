"""Quotes of a TPM 2.0: what no TPM signed, or a key that proves nothing, is refused for its own reason."""

import base64
import hashlib
import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.attest.claims import Claims, TcbStatus, Tee, Window
from sekisho.attest.evidence import UnverifiedEvidence
from sekisho.attest.verifiers.tpm import ALWAYS, TpmCollateral, verify_tpm
from sekisho.attest.verifiers.tpm_structures import parse_attestation_key, parse_quote, parse_signature
from sekisho.errors import Reason, RefusedError
from tests.unit.attest.authorities import DAY, NOW, issue, issue_authority, revoke, rsa_key, usage_of
from tests.unit.attest.recorded import read_recorded
from tests.unit.attest.tpm_material import (
    ATTRIBUTES,
    EV_S_CRTM,
    EV_SEPARATOR,
    EV_VARIABLE,
    NONCE,
    RSAPSS,
    USUAL,
    Banks,
    PublicAlone,
    Tpm,
    build_evidence,
    build_log,
    build_quote,
    ecc_tpm,
    fill,
    number,
    replay,
    select,
    sized,
    spell_pcrs,
    variable,
)
from tests.unit.fuzz import attempt, changed, flip_last

TPM = Tpm()
EVIDENCE = build_evidence()


def verify(evidence: UnverifiedEvidence = EVIDENCE, collateral: TpmCollateral | None = None, tpm: Tpm = TPM) -> Claims:
    return verify_tpm(evidence, collateral or TpmCollateral(enrolled=frozenset({tpm.name})), at=NOW)


def refused(reason: Reason, message: str, *given: Any, **more: Any) -> None:
    with pytest.raises(RefusedError) as caught:
        verify(*given, **more)
    assert caught.value.reason is reason
    assert message in caught.value.message


def invalid(message: str, *given: Any, **more: Any) -> None:
    refused(Reason.EVIDENCE_INVALID, message, *given, **more)


def untrusted(message: str, *given: Any, **more: Any) -> None:
    refused(Reason.EVIDENCE_UNTRUSTED, message, *given, **more)


# The structures


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"magic": b"\0TCG"}, "the TPM quote begins with 0x00544347 and type 0x8018, which no quote of a TPM does"),
        ({"kind": b"\x80\x17"}, "begins with 0xff544347 and type 0x8017, which no quote of a TPM does"),
        ({"signer": sized(bytes(67))}, "the TPM quote has a field of 67 bytes, 66 are allowed"),
        ({"extra": bytes(65)}, "the TPM quote has a field of 65 bytes, 64 are allowed"),
        ({"clock": bytes(16) + b"\2"}, "the TPM quote has 2 where yes (1) or no (0) must stand"),
        ({"count": number(0, 4), "selection": b""}, "selects 0 banks of PCRs, 1 to 8 are allowed"),
        ({"count": number(8, 4), "selection": number(4, 2) + select([0])}, "selects the bank 0x0004; SHA-256"),
        ({"count": number(9, 4)}, "selects 9 banks of PCRs, 1 to 8 are allowed"),
        ({"selection": number(4, 2) + select([0])}, "selects the bank 0x0004; SHA-256, SHA-384 and SHA-512 are"),
        ({"count": number(2, 4), "selection": 2 * (number(11, 2) + select([0]))}, "selects the bank 0x000b; SHA-256"),
        ({"selection": number(11, 2) + b"\0"}, "selects PCRs by 0 bytes, 1 to 4 are allowed"),
        ({"selection": number(11, 2) + b"\5" + bytes(5)}, "selects PCRs by 5 bytes, 1 to 4 are allowed"),
        ({"selection": number(11, 2) + select([])}, "selects no PCR, so it says nothing of what was started"),
        ({"digest": bytes(65)}, "the TPM quote has a field of 65 bytes, 64 are allowed"),
        ({"tail": b"\0"}, "the TPM quote goes on for 1 bytes after its end"),
    ],
)
def test_what_is_no_quote_is_refused_though_it_is_signed(changes: dict[str, bytes], message: str) -> None:
    invalid(message, build_evidence(quote=build_quote(**changes)))


@pytest.mark.parametrize(
    ("parse", "data"),
    [
        (parse_quote, EVIDENCE.report),
        (parse_signature, EVIDENCE.part("signature")),
        (parse_signature, ecc_tpm().sign(b"message")),
        (parse_attestation_key, TPM.public),
        (parse_attestation_key, ecc_tpm().public),
    ],
    ids=["quote", "rsa signature", "ecdsa signature", "rsa key", "ecc key"],
)
def test_structures_are_refused_at_every_length_but_their_own(parse: Callable[[bytes], object], data: bytes) -> None:
    parse(data)
    for size in range(len(data)):
        with pytest.raises(RefusedError, match=f"ends after {size} bytes in the middle of a field") as caught:
            parse(data[:size])
        assert caught.value.reason is Reason.EVIDENCE_INVALID
    with pytest.raises(RefusedError, match="goes on for 1 bytes after its end"):
        parse(data + b"\0")
    with pytest.raises(RefusedError, match="goes on for"):
        parse(data.ljust(4096, b"\0"))
    with pytest.raises(RefusedError, match="has 4097 bytes, 4096 are allowed"):
        parse(data.ljust(4097, b"\0"))


@pytest.mark.parametrize(
    ("signature", "message"),
    [
        (b"\0\x15\0\x0b", "the TPM signature has scheme 0x0015; RSASSA, RSAPSS and ECDSA are known"),
        (b"\0\x14\0\x04\0\0", "the TPM signature names the hash 0x0004; SHA-256, SHA-384 and SHA-512 are known"),
        (b"\0\x14\0\x0b\4\1" + bytes(1025), "the TPM signature has a field of 1025 bytes, 1024 are allowed"),
        (b"\0\x18\0\x0b\0\x43" + bytes(67), "the TPM signature has a field of 67 bytes, 66 are allowed"),
    ],
)
def test_what_is_no_signature_is_refused(signature: bytes, message: str) -> None:
    invalid(message, build_evidence(signature=signature))


@pytest.mark.parametrize("part", ["signature", "akPublic", "pcrs"])
def test_a_part_that_is_missing_is_named(part: str) -> None:
    invalid(f'tpm evidence comes without its part "{part}"', build_evidence(**{part: None}))


# The key


@pytest.mark.parametrize(
    ("bit", "said"),
    [
        (1, "lacks fixedTPM"),
        (4, "lacks fixedParent"),
        (5, "lacks sensitiveDataOrigin"),
        (16, "lacks restricted"),
        (18, "lacks sign"),
        (17, "may decrypt"),
    ],
)
def test_a_key_that_proves_nothing_is_refused_though_it_is_enrolled(bit: int, said: str) -> None:
    tpm = Tpm(attributes=ATTRIBUTES ^ 1 << bit)
    untrusted(
        f"the attestation key {said}; a restricted signing key of the TPM is needed", build_evidence(tpm), tpm=tpm
    )


def test_a_key_of_the_largest_size_is_read() -> None:
    large = rsa.RSAPublicNumbers(65537, 2**8191 + 1).public_key()
    assert parse_attestation_key(replace(TPM, key=PublicAlone(large)).public).key.key_size == 8192


def test_a_selection_of_one_byte_is_read() -> None:
    quote = build_quote(banks={"sha256": {0: fill(0)}}, selection=number(11, 2) + select([0], 1))
    assert parse_quote(quote).selection == ((11, (0,)),)


def test_all_that_a_key_lacks_is_told() -> None:
    tpm = Tpm(attributes=1 << 17)
    untrusted("lacks fixedTPM, fixedParent, sensitiveDataOrigin, restricted, sign;", build_evidence(tpm), tpm=tpm)


WEAK = Tpm(key=rsa_key(1024))
OFF_CURVE = flip_last(ecc_tpm().public)


@pytest.mark.parametrize(
    ("public", "message"),
    [
        (Tpm(kind=8).public, "has type 0x0008; RSA and ECC are known"),
        (Tpm(kind=0x23).public, "signs by scheme 0x0014; RSASSA, RSAPSS and ECDSA are known"),
        (Tpm(scheme=0x18).public, "signs by scheme 0x0018; RSASSA, RSAPSS and ECDSA are known"),
        (Tpm(scheme=0x10).public, "signs by scheme 0x0010; RSASSA, RSAPSS and ECDSA are known"),
        (replace(ecc_tpm(), scheme=0x1A).public, "signs by scheme 0x001a; RSASSA, RSAPSS and ECDSA are known"),
        (Tpm(symmetric=6).public, "has the symmetric algorithm 0x0006, a signing key has none"),
        (Tpm(algorithm="sha1").public, "names the hash 0x0004; SHA-256, SHA-384 and SHA-512 are known"),
        (Tpm(name_algorithm="sha1").public, "names the hash 0x0004; SHA-256, SHA-384 and SHA-512 are known"),
        (Tpm(bits=4096).public, "has an RSA key of 2048 bits and says 4096; 2048 to 8192 are allowed"),
        (WEAK.public, "has an RSA key of 1024 bits and says 1024; 2048 to 8192 are allowed"),
        (Tpm(exponent=2).public, "has no RSA key that can be used"),
        (
            replace(ecc_tpm(), derivation=0x20).public,
            "has curve 3 and derivation 0x0020; P-256, P-384, P-521 are known",
        ),
        (ecc_tpm().public.replace(b"\0\x18\0\x0b\0\x03", b"\0\x18\0\x0b\0\x01"), "has curve 1 and derivation 0x0010"),
        (OFF_CURVE, "has a point that is not on its curve"),
        (ecc_tpm().public[:-68] + sized(bytes(67)), "has a field of 67 bytes, 66 are allowed"),
        (b"\0\1\0\x0b" + number(ATTRIBUTES, 4) + sized(bytes(65)), "has a field of 65 bytes, 64 are allowed"),
    ],
    ids=itertools.count(),  # keys are made anew by each process
)
def test_a_key_of_another_kind_is_refused(public: bytes, message: str) -> None:
    invalid(f"the public area of the attestation key {message}", build_evidence(akPublic=public))


def test_a_key_that_nobody_knows_is_refused() -> None:
    other = TpmCollateral(enrolled=frozenset({ecc_tpm().name}))
    untrusted(f"the attestation key {TPM.name.hex()} is neither enrolled nor certified; enrol it", EVIDENCE, other)
    message = "no attestation key is enrolled and no authority pinned; enrol the TPM's key"
    refused(Reason.COLLATERAL_MISSING, message, EVIDENCE, TpmCollateral())


@pytest.mark.parametrize(
    "tpm",
    [
        Tpm(),
        Tpm(scheme=RSAPSS),
        Tpm(algorithm="sha384"),
        ecc_tpm(),
        ecc_tpm(ec.SECP384R1(), "sha384"),
        ecc_tpm(ec.SECP521R1(), "sha512"),
        Tpm(name_algorithm="sha384"),
        Tpm(exponent=65537),
    ],
    ids=["rsassa", "rsapss", "rsa sha-384", "p-256", "p-384", "p-521", "name sha-384", "exponent"],
)
def test_quotes_by_keys_of_every_kind_are_verified(tpm: Tpm) -> None:
    claims = verify(build_evidence(tpm), tpm=tpm)
    assert claims.chip_id == hashlib.sha256(tpm.name).digest()
    assert claims.fact("ak-name") == tpm.name.hex()


# The signature


def test_a_quote_signed_by_another_key_is_refused() -> None:
    message = "the signature under the TPM quote is not by its attestation key"
    untrusted(message, build_evidence(signature=replace(TPM, key=rsa_key(2049)).sign(EVIDENCE.report)))
    ecc = ecc_tpm()
    untrusted(message, build_evidence(ecc, signature=ecc_tpm().sign(build_quote(ecc))), tpm=ecc)


def test_a_quote_by_another_scheme_than_its_keys_is_refused() -> None:
    message = "the TPM quote is signed by {} and a scheme that are not its key's own"
    untrusted(message.format("sha256"), build_evidence(signature=replace(TPM, scheme=RSAPSS).sign(EVIDENCE.report)))
    untrusted(
        message.format("sha384"), build_evidence(signature=replace(TPM, algorithm="sha384").sign(EVIDENCE.report))
    )
    untrusted(message.format("sha256"), build_evidence(signature=ecc_tpm().sign(EVIDENCE.report)))
    ecc = ecc_tpm()
    untrusted(message.format("sha256"), build_evidence(ecc, signature=TPM.sign(build_quote(ecc))), tpm=ecc)


def test_a_signer_named_by_another_hash_is_refused() -> None:
    quote = build_quote(signer=sized(b"\0\x0c" + bytes(48)))
    untrusted("names a signer by another hash than its attestation key's", build_evidence(quote=quote))


@settings(max_examples=80)
@given(st.integers(0, len(EVIDENCE.report) - 1), st.integers(0, 7))
def test_every_flipped_bit_of_a_quote_is_refused(offset: int, bit: int) -> None:
    flipped = bytearray(EVIDENCE.report)
    flipped[offset] ^= 1 << bit
    assert isinstance(attempt(lambda: verify(replace(EVIDENCE, report=bytes(flipped)))), RefusedError)


def test_every_flipped_byte_of_a_quote_its_signature_and_its_key_is_refused() -> None:
    parts = {"report": EVIDENCE.report, "signature": EVIDENCE.part("signature"), "akPublic": EVIDENCE.part("akPublic")}
    for name, data in parts.items():
        for offset in range(len(data)):
            wrong = data[:offset] + bytes([data[offset] ^ 0xFF]) + data[offset + 1 :]
            extras = {**dict(EVIDENCE.extras), **({name: wrong} if name != "report" else {})}
            evidence = UnverifiedEvidence(
                "tpm", wrong if name == "report" else EVIDENCE.report, (), tuple(extras.items())
            )
            assert isinstance(attempt(lambda given=evidence: verify(given)), RefusedError), f"{name} {offset}"  # type: ignore[misc]


@settings(max_examples=100)
@given(st.data())
def test_changed_parts_are_refused_and_never_crash(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["signature", "akPublic", "pcrs", "report"]))
    before = EVIDENCE.report if name == "report" else EVIDENCE.part(name)
    after = data.draw(changed(before))
    extras = {**dict(EVIDENCE.extras), **({name: after} if name != "report" else {})}
    evidence = UnverifiedEvidence("tpm", after if name == "report" else EVIDENCE.report, (), tuple(extras.items()))
    outcome = attempt(lambda: verify(evidence))
    assert isinstance(outcome, RefusedError) or outcome == verify()


# The values of PCRs


@pytest.mark.parametrize(
    ("pcrs", "message"),
    [
        (b"{", "the values of PCRs are not JSON"),
        (b"[" * 30000, "the values of PCRs are not JSON"),
        (b"[]", "the values of PCRs are not an object of sha256, sha384, sha512"),
        (b'{"sha1": {}}', "the values of PCRs are not an object of sha256, sha384, sha512"),
        (b'{"sha256": []}', "the sha256 bank of PCRs is not an object"),
        (b'{"sha256": {"32": ""}}', "the sha256 bank of PCRs has one that is not numbered from 0 to 31"),
        (b'{"sha256": {"07": ""}}', "the sha256 bank of PCRs has one that is not numbered from 0 to 31"),
        (b'{"sha256": {"7": "x"}}', "the sha256 value of PCR 7 is not hex"),
        (b'{"sha256": {"7": 7}}', "the sha256 value of PCR 7 is not hex"),
        (b'{"sha384": {"7": "00"}}', "the sha384 value of PCR 7 has 1 bytes, not 48"),
        (b" " * 32769, "the values of PCRs have 32769 bytes, 32768 are allowed"),
        (
            spell_pcrs({"sha256": {0: fill(0), 4: fill(4)}}),
            "is over the sha256 value of PCR 7, which did not come along",
        ),
        (b"{}", "is over the sha256 value of PCR 0, which did not come along"),
    ],
)
def test_what_are_no_values_of_the_quoted_pcrs_is_refused(pcrs: bytes, message: str) -> None:
    invalid(message, build_evidence(pcrs=pcrs))


@pytest.mark.parametrize("index", [0, 4, 7])
def test_another_value_of_any_quoted_pcr_is_refused(index: int) -> None:
    pcrs = spell_pcrs({"sha256": {**USUAL["sha256"], index: fill(99)}})
    untrusted("the values of PCRs that came along are not those that the TPM quoted", build_evidence(pcrs=pcrs))


def test_values_that_were_not_quoted_are_not_claimed() -> None:
    more = {"sha256": {**USUAL["sha256"], 9: fill(9)}, "sha384": {0: fill(0, "sha384")}}
    claims = verify(build_evidence(pcrs=spell_pcrs(more).ljust(32768)))
    assert claims.registers == tuple((f"pcr{index}", fill(index)) for index in (0, 4, 7))


def test_several_banks_are_told_apart() -> None:
    banks: Banks = {"sha512": {}, "sha384": {7: fill(7, "sha384")}, "sha256": {23: fill(23)}}
    claims = verify(build_evidence(banks=banks))
    assert claims.registers == (("pcr23", fill(23)), ("sha384.pcr7", fill(7, "sha384")))
    assert claims.fact("pcr0") == "absent"


def test_registers_are_sorted_by_name_and_pcr_31_is_the_last() -> None:
    banks = {"sha256": {index: fill(index) for index in (2, 10, 31)}}
    assert [name for name, _ in verify(build_evidence(banks=banks)).registers] == [
        "pcr10",
        "pcr2",
        "pcr31",
    ]


def test_a_firmware_that_did_not_measure_itself_makes_debug_true() -> None:
    zero = verify(build_evidence(banks={"sha256": {0: bytes(32), 7: fill(7)}}))
    assert (zero.debug, zero.fact("pcr0")) == (True, "zero")
    half = verify(build_evidence(banks={"sha256": {0: fill(0)}, "sha384": {0: bytes(48)}}))
    assert (half.debug, half.fact("pcr0")) == (True, "zero")
    assert (verify().debug, verify().fact("pcr0")) == (False, "measured")


# The log


EVENTS: list[tuple[int, int, bytes, bytes | None]] = [
    (0, EV_S_CRTM, b"firmware", None),
    (7, EV_VARIABLE, variable("SecureBoot", b"\1"), None),
    (7, EV_VARIABLE, variable("PK", b"key"), None),
    (0, EV_SEPARATOR, bytes(4), None),
    (7, EV_SEPARATOR, bytes(4), None),
    (4, 0x80000003, b"boot loader", b"its image"),
    (14, 13, b"not quoted", None),
]


def with_log(
    events: list[tuple[int, int, bytes, bytes | None]], quoted: tuple[int, ...] = (0, 4, 7), log: bytes | None = None
) -> UnverifiedEvidence:
    values = replay(events)
    banks = {"sha256": {index: values.get(index, bytes(32)) for index in quoted}}
    return build_evidence(banks=banks, eventLog=build_log(events) if log is None else log)


def secure_boot(*events: tuple[int, int, bytes, bytes | None]) -> str | None:
    return verify(with_log([*events, (7, EV_SEPARATOR, bytes(4), None)], (7,))).fact("secure-boot")


def test_a_log_that_leads_to_the_quoted_values_is_replayed() -> None:
    claims = verify(with_log(EVENTS))
    assert (claims.fact("event-log"), claims.fact("secure-boot")) == ("pcr0,pcr4,pcr7", "true")
    partial = verify(with_log(EVENTS, (4, 9)))
    assert (partial.fact("event-log"), partial.fact("secure-boot")) == ("pcr4", "unknown")
    assert (verify().fact("event-log"), verify().fact("secure-boot")) == ("absent", "unknown")


@pytest.mark.parametrize("left_out", range(6))
def test_a_log_that_leads_elsewhere_is_refused(left_out: int) -> None:
    shorter = EVENTS[:left_out] + EVENTS[left_out + 1 :]
    evidence = with_log(EVENTS, log=build_log(shorter))
    register = EVENTS[left_out][0]
    if any(event[0] == register for event in shorter):
        untrusted(f"the event log does not lead to the sha256 value of PCR {register} that was quoted", evidence)
    else:
        assert f"pcr{register}" not in (verify(evidence).fact("event-log") or "")


def test_a_log_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(RefusedError) as caught:
        verify(build_evidence(eventLog=b"no log"))
    assert caught.value.reason is Reason.EVIDENCE_INVALID


ON = (7, EV_VARIABLE, variable("SecureBoot", b"\1"), None)
OFF = (7, EV_VARIABLE, variable("SecureBoot", b"\0"), None)


def test_the_state_of_secure_boot_is_what_the_firmware_measured_before_it_gave_control_away() -> None:
    assert secure_boot(ON) == "true"
    assert secure_boot(OFF) == "false"
    assert secure_boot(ON, ON) == "true"
    assert secure_boot(ON, OFF) == "unknown"
    assert verify(with_log([ON], (7,))).fact("secure-boot") == "true"
    assert secure_boot() == "unknown"
    assert secure_boot((7, EV_SEPARATOR, bytes(4), None), ON) == "unknown"


@pytest.mark.parametrize(
    "event",
    [
        (7, EV_VARIABLE, variable("SecureBoot", b"\1"), b"measured something else"),
        (7, EV_VARIABLE, variable("SecureBoot", b"\1", bytes(16)), None),
        (7, EV_VARIABLE, variable("secureboot", b"\1"), None),
        (7, EV_VARIABLE, variable("SecureBoot", b"\1") + b"\0", None),
        (7, EV_VARIABLE, variable("SecureBoot", b"\1")[:-1], None),
        (7, EV_VARIABLE, bytes(31), None),
        (7, 0x80000002, variable("SecureBoot", b"\1"), None),
        (0, EV_VARIABLE, variable("SecureBoot", b"\1"), None),
    ],
    ids=["digest", "owner", "name", "longer", "shorter", "short", "kind", "register"],
)
def test_an_event_that_only_looks_like_secure_boot_says_nothing(event: Any) -> None:
    assert secure_boot(event) == "unknown"
    assert secure_boot(OFF, event) == "false"


def test_any_value_but_one_is_no_secure_boot() -> None:
    assert secure_boot((7, EV_VARIABLE, variable("SecureBoot", b"\2"), None)) == "false"
    assert secure_boot((7, EV_VARIABLE, variable("SecureBoot", b""), None)) == "false"


def test_a_log_is_replayed_in_every_quoted_bank() -> None:
    both = ("sha256", "sha384")
    banks = {name: {7: replay(EVENTS, name)[7]} for name in both}
    log = build_log(EVENTS, both)
    assert verify(build_evidence(banks=banks, eventLog=log)).fact("secure-boot") == "true"
    banks["sha384"] = {7: fill(7, "sha384")}
    message = "the event log does not lead to the sha384 value of PCR 7 that was quoted"
    untrusted(message, build_evidence(banks=banks, eventLog=log))


# Certified keys


AK_PURPOSE = x509.ObjectIdentifier("2.23.133.8.3")
AUTHORITY = issue_authority("tpm authority", ends=NOW + 300 * DAY)
ISSUER = issue_authority("tpm issuer", AUTHORITY)


def certify(purpose: Any = AK_PURPOSE, **more: Any) -> Any:
    extensions = [(x509.ExtendedKeyUsage([purpose]), True)] if purpose else []
    given = {"key": TPM.key, "usage": usage_of("digital_signature"), "extensions": extensions} | more
    return issue("ak", given.pop("by", ISSUER), **given)


AK = certify()
TRUSTING = TpmCollateral(roots=(AUTHORITY.der,))


def certified(leaf: Any = AK, *others: Any) -> UnverifiedEvidence:
    return build_evidence(certificates=(leaf.der, *(other.der for other in others or (ISSUER,))))


def test_a_certified_key_is_trusted() -> None:
    claims = verify(certified(), TRUSTING)
    assert (claims.fact("ak-trust"), claims.fact("revocation")) == ("certified", "unchecked")
    assert claims.window == Window(NOW - 100 * DAY, NOW + 100 * DAY)
    assert verify(certified(AK, AUTHORITY, ISSUER), TRUSTING).fact("ak-trust") == "certified"
    alone = build_evidence(certificates=(AK.der,))
    lists = (revoke(ISSUER), revoke(AUTHORITY))
    helped = TpmCollateral(roots=(AUTHORITY.der,), intermediates=(ISSUER.der,), crls=lists)
    assert verify(alone, helped).fact("revocation") == "checked"


def test_a_certificate_is_not_asked_for_where_the_key_is_enrolled() -> None:
    claims = verify(certified(), TpmCollateral(enrolled=frozenset({TPM.name}), roots=(ISSUER.der,)))
    assert (claims.fact("ak-trust"), claims.window) == ("enrolled", ALWAYS)


def test_a_certificate_for_another_key_or_purpose_is_refused() -> None:
    message = "the certificate of CN=ak is for another key than the attestation key"
    untrusted(message, certified(certify(key=rsa_key(2049))), TRUSTING)
    untrusted(message, certified(certify(key=ecc_tpm().key)), TRUSTING)
    message = "the certificate of CN=ak is not for a key of attestation (2.23.133.8.3)"
    untrusted(message, certified(certify(None)), TRUSTING)
    untrusted(message, certified(certify(x509.ObjectIdentifier("2.23.133.8.1"))), TRUSTING)


def test_a_chain_to_another_authority_proves_nothing() -> None:
    other = TpmCollateral(roots=(issue_authority("other").der,))
    untrusted(
        "the certificate of CN=tpm issuer was issued by CN=tpm authority, which is no pinned root", certified(), other
    )
    untrusted("is neither enrolled nor certified; enrol it", EVIDENCE, TRUSTING)
    untrusted("is neither enrolled nor certified; enrol it", certified(), TpmCollateral(enrolled=frozenset({b"other"})))


def test_a_revoked_or_expired_certificate_is_refused() -> None:
    revoked = replace(TRUSTING, crls=(revoke(ISSUER, AK),))
    refused(Reason.EVIDENCE_REVOKED, "the certificate of CN=ak with serial number", certified(), revoked)
    expired = certify(ends=NOW - timedelta(seconds=1))
    untrusted(
        "the certificate of CN=ak is valid from 2026-08-21T12:00:00Z to 2026-11-29T11:59:59Z",
        certified(expired),
        TRUSTING,
    )


# What is claimed


def test_all_that_a_quote_says_is_claimed() -> None:
    claims = verify()
    assert claims.tee is Tee.TPM
    assert claims.tcb_status is TcbStatus.UNKNOWN
    assert claims.bound_data == NONCE
    assert claims.measurement == hashlib.sha256(b"".join(fill(index) for index in (0, 4, 7))).digest()
    assert claims.registers == tuple((f"pcr{index}", fill(index)) for index in (0, 4, 7))
    assert claims.chip_id == hashlib.sha256(TPM.name).digest()
    assert claims.evidence_digest == f"sha256:{hashlib.sha256(EVIDENCE.report).hexdigest()}"
    assert (claims.window, claims.parts, claims.tcb) == (ALWAYS, (), ())
    assert claims.facts == tuple(sorted(claims.facts))
    assert dict(claims.facts) == {
        "ak-name": TPM.name.hex(),
        "ak-trust": "enrolled",
        "clock": "123456",
        "clock-safe": "true",
        "event-log": "absent",
        "firmware-version": "2019102300163636",
        "pcr0": "measured",
        "reset-count": "7",
        "restart-count": "3",
        "secure-boot": "unknown",
    }
    unsafe = build_quote(clock=bytes(17), extra=b"")
    assert verify(build_evidence(quote=unsafe)).fact("clock-safe") == "false"
    assert verify(build_evidence(quote=unsafe)).bound_data == b""


# Recorded


def test_the_recorded_quote_of_a_software_tpm_is_verified_and_says_that_nothing_was_measured() -> None:
    recorded_evidence = json.loads(read_recorded("tpm/tpm_evidence.json"))
    quote = recorded_evidence["tpm_quote"]
    key = load_der_public_key(base64.b64decode(recorded_evidence["ak_public"]))
    # The record has the bare key: what surrounds it is the usual template of such a key.
    public = replace(TPM, key=PublicAlone(key)).public
    pcrs = {"sha256": {str(index): value for index, value in enumerate(quote["pcrs"])}}
    evidence = build_evidence(
        quote=base64.b64decode(quote["message"]),
        signature=base64.b64decode(quote["signature"]),
        pcrs=json.dumps(pcrs).encode(),
        akPublic=public,
    )
    name = parse_attestation_key(public).name
    claims = verify(evidence, TpmCollateral(enrolled=frozenset({name})))
    assert (claims.debug, claims.fact("pcr0")) == (True, "zero")
    assert claims.register("pcr17") == b"\xff" * 32
    assert len(claims.bound_data) == 64
    pcrs["sha256"]["0"] = "11" * 32
    wrong = replace(evidence, extras=tuple({**dict(evidence.extras), "pcrs": json.dumps(pcrs).encode()}.items()))
    untrusted("the values of PCRs that came along are not those", wrong, TpmCollateral(enrolled=frozenset({name})))


def test_a_recorded_quote_is_read() -> None:
    quote = parse_quote(read_recorded("tpm/quote_sample.bin"))
    assert quote.extra_data == bytes.fromhex("12345678")
    assert quote.selection == ((0x0B, (0, 1, 2)),)
    assert (quote.reset_count, quote.restart_count, quote.safe) == (16, 0, True)
