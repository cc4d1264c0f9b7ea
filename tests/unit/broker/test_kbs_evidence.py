"""Evidence as guests spell it: packed again into what was signed, and never sample evidence."""

import base64
import json
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings

from sekisho.attest.verifiers.snp import SnpCollateral, verify_snp
from sekisho.broker.kbs_evidence import parse_additional, parse_primary
from sekisho.errors import Reason, RefusedError
from tests.simulators.hardware.nvidia import Maker
from tests.unit.attest.recorded import read_recorded
from tests.unit.attest.test_azure_evidence import body as azure
from tests.unit.attest.verifiers.test_nvidia import AT
from tests.unit.broker.guest import snp_evidence
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
    assert (
        refused(parse_primary, tee, {"svn": "1"})
        == f"evidence of {tee!r} is not taken here; snp, tdx, az-snp-vtpm, az-tdx-vtpm are"
    )


@pytest.mark.parametrize(
    ("tee", "value", "message"),
    [
        ("snp", [], "the guest's evidence is neither a report of SNP nor a quote of TDX, nor of Azure's virtual TPM"),
        ("tdx", {"quote": "*"}, "the guest's evidence has a quote that is not base64"),
        ("snp", TDX, "the session is one of snp, the evidence is of tdx"),
        ("tdx", snp_evidence(REPORT, {}), "the session is one of tdx, the evidence is of snp"),
        ("az-snp-vtpm", snp_evidence(REPORT, {}), "the session is one of az-snp-vtpm, the evidence is of snp"),
        ("az-tdx-vtpm", azure(), "the session is one of az-tdx-vtpm, the evidence is of azure-snp"),
        ("snp", azure(), "the session is one of snp, the evidence is of azure-snp"),
    ],
)
def test_evidence_that_is_spelt_otherwise_or_of_another_kind_is_refused(tee: str, value: Any, message: str) -> None:
    assert refused(parse_primary, tee, value) == message


def spell(one: dict[str, Any]) -> str:
    return json.dumps({"nvidia": {"device_evidence_list": [one]}})


def test_a_device_may_bring_as_much_as_is_allowed_and_no_more() -> None:
    many = spell(device(evidence="Z" * 699_048, certificate=pem(DEVICE.certificates[:1] * 16)))
    (piece,) = parse_additional(many)
    assert (len(piece.report), len(piece.certificates)) == (524_286, 16)
    assert refused(parse_additional, spell(device(evidence="Z" * 699_050))) == "the evidence of a device is not base64"
    message = "the evidence of a device is not base64 of at most 524288 bytes"
    assert refused(parse_additional, spell(device(evidence="Z" * 699_052))) == message


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
        (device(certificate=7), "the certificate of a device is not base64 of at most 524288 bytes"),
        (device(certificate="*"), "the certificate of a device is not base64"),
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


def test_a_quote_and_a_report_are_read() -> None:
    assert parse_primary("tdx", TDX).report == b"quote"
    piece = parse_primary("snp", snp_evidence(REPORT, {"ASK": b"middle", "VCEK": b"leaf"}))
    assert (piece.report, piece.certificates) == (REPORT, (b"leaf", b"middle"))


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


def test_evidence_of_azures_virtual_tpm_is_taken_by_the_protocols_name_of_it() -> None:
    assert parse_primary("az-snp-vtpm", azure()).kind == "azure-snp"
    assert parse_primary("az-tdx-vtpm", azure(vcek=None, td_quote="AAAA")).kind == "azure-tdx"
