"""Evidence as guests spell it: packed again into what was signed, and never sample evidence."""

import base64
import json
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.attest.verifiers.snp import SnpCollateral, verify_snp
from sekisho.broker.kbs_evidence import pack_snp_report, parse_additional, parse_primary
from sekisho.errors import Reason, RefusedError
from tests.simulators.hardware.nvidia import Maker
from tests.unit.attest.recorded import read_recorded
from tests.unit.attest.verifiers.test_nvidia import AT
from tests.unit.broker.guest import snp_evidence, snp_fields
from tests.unit.fuzz import JSON, attempt

DEVICE = Maker().make(1)
REPORT = bytes(4) + bytes(1180)
TDX = {"cc_eventlog": None, "quote": base64.b64encode(b"quote").decode()}


def pem(ders: tuple[bytes, ...]) -> str:
    text = b"".join(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM) for der in ders)
    return base64.b64encode(text).decode()


def device(**changes: Any) -> dict[str, Any]:
    report = base64.b64encode(DEVICE.report(bytes(32))).decode()
    return {"arch": "HOPPER", "uuid": "unknown", "evidence": report, "certificate": pem(DEVICE.certificates)} | changes


def refused(act: Any, *args: Any) -> str:
    with pytest.raises(RefusedError) as caught:
        act(*args)
    assert caught.value.reason is Reason.EVIDENCE_INVALID
    return caught.value.message


@pytest.mark.parametrize("tee", ["sample", "sampledevice", "tpm", "se", ""])
def test_kinds_that_are_not_taken_are_refused(tee: str) -> None:
    assert refused(parse_primary, tee, {"svn": "1"}) == f"evidence of {tee!r} is not taken here; snp, tdx are"


@pytest.mark.parametrize(
    ("tee", "value", "message"),
    [
        ("snp", [], "snp evidence is not an object"),
        ("snp", {}, "snp evidence has no attestation_report"),
        ("snp", {"attestation_report": {}}, "the SNP report lacks a number, or one does not fit"),
        ("snp", snp_evidence(REPORT, {}) | {"cert_chain": {}}, "cert_chain is not a list of at most 16"),
        ("snp", snp_evidence(REPORT, {}) | {"cert_chain": [1] * 17}, "cert_chain is not a list of at most 16"),
        ("snp", snp_evidence(REPORT, {}) | {"cert_chain": [{"cert_type": "VCEK", "data": [256]}]},
         "a certificate of cert_chain is not a list of bytes"),
        ("snp", snp_evidence(REPORT, {}) | {"cert_chain": [{"cert_type": "VCEK", "data": [True]}]},
         "a certificate of cert_chain is not a list of bytes"),
        ("tdx", {}, "the quote is not base64 of at most 524288 bytes"),
        ("tdx", {"quote": "*"}, "the quote is not base64"),
        ("tdx", TDX | {"cc_eventlog": 7}, "cc_eventlog is not base64 of at most 524288 bytes"),
        ("tdx", {"quote": "A" * 800_000}, "the quote is not base64 of at most 524288 bytes"),
    ],
)  # fmt: skip
def test_evidence_that_is_spelt_otherwise_is_refused(tee: str, value: Any, message: str) -> None:
    assert refused(parse_primary, tee, value) == message


@pytest.mark.parametrize(
    "change",
    [
        {"version": None}, {"version": -1}, {"version": 2**32}, {"policy": "x"}, {"family_id": [256] * 16},
        {"current_tcb": {}}, {"current": {"build": 1}}, {"signature": {"r": [0] * 300, "s": [0] * 300}},
        {"measurement": None}, {"report_data": [0] * 63}, {"chip_id": 7},
    ],
)  # fmt: skip
def test_a_report_that_does_not_fit_is_refused(change: dict[str, Any]) -> None:
    assert "the SNP report" in refused(pack_snp_report, snp_fields(REPORT) | change)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x", "additional evidence is not JSON"),
        ("[" * 100_000, "additional evidence is not JSON"),
        ("[]", "additional evidence is not an object of nvidia evidence and nothing else"),
        ('{"sampledevice": {}}', "additional evidence is not an object of nvidia evidence and nothing else"),
        ('{"nvidia": []}', "additional evidence is not an object of nvidia evidence and nothing else"),
        ('{"nvidia": {}}', "device_evidence_list is not a list of 1 to 23"),
        ('{"nvidia": {"device_evidence_list": []}}', "device_evidence_list is not a list of 1 to 23"),
        (json.dumps({"nvidia": {"device_evidence_list": [{}] * 24}}), "device_evidence_list is not a list of 1 to 23"),
    ],
)
def test_additional_evidence_that_is_spelt_otherwise_is_refused(text: str, message: str) -> None:
    assert refused(parse_additional, text) == message


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (7, "a device of device_evidence_list is not an object with an arch"),
        ({}, "a device of device_evidence_list is not an object with an arch"),
        (device(arch="AMPERE"), "arch 'AMPERE' is not one of BLACKWELL, HOPPER, LS10"),
        (device(evidence=7), "the evidence of a device is not base64 of at most 524288 bytes"),
        (device(evidence="*"), "the evidence of a device is not base64"),
        (device(certificate="AAAA"), "the certificates of a device are not PEM"),
        (device(certificate=pem(DEVICE.certificates * 5)), "a device comes with 20 certificates, 16 are allowed"),
    ],
)
def test_a_device_that_is_spelt_otherwise_is_refused(item: Any, message: str) -> None:
    assert refused(parse_additional, json.dumps({"nvidia": {"device_evidence_list": [item]}})) == message


def test_without_devices_there_is_nothing_additional() -> None:
    assert parse_additional("") == ()


def test_devices_are_read_in_both_spellings() -> None:
    report = DEVICE.report(bytes(32))
    items = [device(), device(arch="Hopper", evidence=report.hex()), device(arch="ls10")]
    pieces = parse_additional(json.dumps({"nvidia": {"device_evidence_list": items}}))
    assert [piece.kind for piece in pieces] == ["nvidia-gpu", "nvidia-gpu", "nvidia-switch"]
    assert pieces[1].report == report
    assert pieces[0].certificates == DEVICE.certificates


def test_certificates_are_put_in_order_and_others_left_out() -> None:
    evidence = snp_evidence(REPORT, {"ARK": b"root", "ASK": b"middle", "CRL": b"list", "VCEK": b"leaf"})
    evidence["cert_chain"].append(7)
    assert parse_primary("snp", evidence).certificates == (b"leaf", b"middle", b"root")
    assert parse_primary("snp", snp_evidence(REPORT, {})).certificates == ()


def test_a_quote_and_its_log_are_read() -> None:
    assert parse_primary("tdx", TDX).extras == ()
    piece = parse_primary("tdx", TDX | {"cc_eventlog": base64.b64encode(b"log").decode()})
    assert (piece.report, piece.extras) == (b"quote", (("eventLog", b"log"),))


@given(
    st.sampled_from([2, 3, 4, 5]), st.sampled_from([0x19, 0x1A]), st.binary(min_size=64, max_size=64),
    st.binary(min_size=8, max_size=8), st.binary(min_size=144, max_size=144),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_a_report_is_packed_into_the_bytes_it_was(
    version: int, family: int, chip: bytes, tcb: bytes, signature: bytes
) -> None:
    """Bytes that carry nothing are zero in what hardware makes, and so here."""
    low = tcb[:4] + bytes(3) + tcb[7:] if version >= 3 and family == 0x1A else tcb[:2] + bytes(4) + tcb[6:]
    chip = chip if version >= 3 else b"\1" * 64
    report = bytearray(1184)
    report[:4] = version.to_bytes(4, "little")
    report[80:392] = bytes(index % 251 for index in range(312))
    for place in (56, 384, 480, 496):
        report[place : place + 8] = low
    if version >= 3:
        report[392:395] = bytes((family, 1, 2))
    report[416:480] = chip
    report[488:491] = report[492:495] = b"\1\2\3"
    if version >= 5:
        report[504:520] = bytes(range(16))
    report[672:816] = signature
    assert pack_snp_report(snp_fields(bytes(report))) == bytes(report)


def test_a_turin_report_before_version_3_is_told_by_its_chip() -> None:
    report = bytearray(1184)
    report[:4] = b"\2\0\0\0"
    report[416:424] = b"turin id"
    report[56:64] = b"\1\2\3\4\0\0\0\5"
    assert pack_snp_report(snp_fields(bytes(report)))[56:64] == b"\1\2\3\4\0\0\0\5"


@given(JSON)
@settings(max_examples=100, deadline=None)
def test_anything_else_is_refused_or_read(value: Any) -> None:
    attempt(lambda: parse_primary("snp", {"attestation_report": value, "cert_chain": value}))
    attempt(lambda: parse_primary("tdx", {"quote": value, "cc_eventlog": value}))
    attempt(lambda: parse_additional(json.dumps({"nvidia": {"device_evidence_list": value}})))


def test_recorded_evidence_of_a_guest_is_packed_and_verifies() -> None:
    piece = parse_primary("snp", json.loads(read_recorded("snp/genoa_v3_evidence.json")))
    chain = x509.load_pem_x509_certificates(read_recorded("snp/genoa_ask_ark.pem"))
    ask, ark = (each.public_bytes(Encoding.DER) for each in chain)
    claims = verify_snp(piece, SnpCollateral((ark,), (ask,)), at=AT)
    assert dict(claims.tcb)["microcode"] == 25
    assert claims.fact("vmpl") == "0"
