"""Evidence as guest components spell it: made into the signed bytes again, or refused."""

import base64
import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.attest.evidence import MAX_EVIDENCE_BYTES
from sekisho.attest.guest_evidence import parse_guest_evidence, read_guest_evidence
from sekisho.errors import Reason, RefusedError
from tests.simulators.hardware.snp import SIGNED_BYTES, Product, SimulatedSnp

RECORDED = Path(__file__).parents[3].parent / "shared" / "vectors" / "snp" / "genoa_v3_evidence.json"


def spell(report: bytes, *, turin: bool = False) -> dict[str, Any]:
    """Spell a report field by field, as the guest's attester does."""

    def number(at: int, size: int = 4) -> int:
        return int.from_bytes(report[at : at + size], "little")

    def tcb(at: int) -> dict[str, Any]:
        part = report[at : at + 8]
        order = (1, 2, 3, 7) if turin else (0, 1, 6, 7)
        names = ("bootloader", "tee", "snp", "microcode")
        return {"fmc": part[0] if turin else None} | {name: part[at] for name, at in zip(names, order, strict=True)}

    def build(at: int) -> dict[str, int]:
        return dict(zip(("build", "minor", "major"), report[at : at + 3], strict=True))

    spans = {
        "family_id": (0x10, 16), "image_id": (0x20, 16), "report_data": (0x50, 64), "measurement": (0x90, 48),
        "host_data": (0xC0, 32), "id_key_digest": (0xE0, 48), "author_key_digest": (0x110, 48),
        "report_id": (0x140, 32), "report_id_ma": (0x160, 32), "chip_id": (0x1A0, 64),
    }  # fmt: skip
    return {
        "version": number(0), "guest_svn": number(4), "policy": number(8, 8), "vmpl": number(0x30),
        "sig_algo": number(0x34), "current_tcb": tcb(0x38), "plat_info": number(0x40, 8), "key_info": number(0x48),
        "reported_tcb": tcb(0x180), "cpuid_fam_id": report[0x188], "cpuid_mod_id": report[0x189],
        "cpuid_step": report[0x18A], "committed_tcb": tcb(0x1E0), "current": build(0x1E8), "committed": build(0x1EC),
        "launch_tcb": tcb(0x1F0), "launch_mit_vector": number(0x1F8, 8), "current_mit_vector": number(0x200, 8),
        "signature": {"r": list(report[0x2A0:0x2E8]), "s": list(report[0x2E8:0x330])},
        **{name: list(report[at : at + size]) for name, (at, size) in spans.items()},
    }  # fmt: skip


REPORT = SimulatedSnp().report(b"asked")


def body(**changes: Any) -> dict[str, Any]:
    return {"attestation_report": spell(REPORT) | changes, "cert_chain": None}


def read(value: Any) -> Any:
    return parse_guest_evidence(json.dumps(value).encode())


# There is no Turin with reports of version 2: they do not say what chip they are of.
@pytest.mark.parametrize(
    ("product", "version"),
    [("Milan", 2), ("Milan", 3), ("Genoa", 2), ("Genoa", 4), ("Genoa", 5), ("Turin", 3), ("Turin", 4), ("Turin", 5)],
)
def test_a_report_spelt_field_by_field_is_the_same_bytes_again(product: Product, version: int) -> None:
    turin = product == "Turin"
    chip = SimulatedSnp(product)
    report = chip.report(b"x" * 64, version=version, launch_mit_vector=5, current_mit_vector=7, mask_chip_key=1)
    fields = spell(report, turin=turin)
    if version == 2:
        fields |= {"cpuid_fam_id": None, "cpuid_mod_id": None, "cpuid_step": None}
    evidence = read({"attestation_report": fields, "cert_chain": []})
    assert (evidence.kind, evidence.report, evidence.certificates) == ("snp", report, ())


def test_older_components_spell_the_flags_by_another_name() -> None:
    report = SimulatedSnp().report(author_key_en=1)
    fields = spell(report) | {"_author_key_en": 1}
    del fields["key_info"]
    assert read({"attestation_report": fields}).report == report


@pytest.mark.skipif(not RECORDED.exists(), reason=f"the recorded evidence is not there: {RECORDED}")
def test_recorded_evidence_becomes_a_report_whose_signature_holds() -> None:
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature  # noqa: PLC0415
    from cryptography.x509 import load_der_x509_certificate  # noqa: PLC0415

    evidence = parse_guest_evidence(RECORDED.read_bytes())
    r, s = (int.from_bytes(evidence.report[at : at + 72], "little") for at in (0x2A0, 0x2E8))
    key = load_der_x509_certificate(evidence.certificates[0]).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    key.verify(encode_dss_signature(r, s), evidence.report[:SIGNED_BYTES], ec.ECDSA(hashes.SHA384()))


def test_newer_components_send_the_report_as_it_is_and_certificates_come_leaf_first() -> None:
    chain = [
        {"cert_type": "ARK", "data": [1]},
        {"cert_type": {"OTHER": "92f81bc3-5811-4d3d-97ff-d19f88dc67ea"}, "data": [9]},
        {"cert_type": "VCEK", "data": base64.b64encode(b"leaf").decode()},
        {"cert_type": "ASK", "data": [2, 3]},
    ]
    evidence = read({"attestation_report": base64.b64encode(REPORT).decode(), "cert_chain": chain})
    assert (evidence.report, evidence.certificates) == (REPORT, (b"leaf", b"\x02\x03", b"\x01"))


def test_the_providers_key_leads_a_chain_as_the_chips_does_and_sixteen_certificates_may_come() -> None:
    chain = [{"cert_type": "ASK", "data": [2]}, {"cert_type": "VLEK", "data": [1]}]
    report = base64.b64encode(REPORT).decode()
    assert read({"attestation_report": report, "cert_chain": chain * 8}).certificates == (b"\x01", b"\x02")


def test_evidence_and_its_parts_may_be_as_large_as_is_allowed() -> None:
    data = json.dumps({"quote": "AAAA"}).encode().ljust(MAX_EVIDENCE_BYTES)
    assert parse_guest_evidence(data).report == bytes(3)
    report = base64.b64encode(REPORT).decode()
    for extra in (0, 1):
        chain = [{"cert_type": "ASK", "data": [0] * (MAX_EVIDENCE_BYTES + extra)}]
        value = {"attestation_report": report, "cert_chain": chain}
        if not extra:
            assert len(read_guest_evidence(value).certificates[0]) == MAX_EVIDENCE_BYTES
            continue
        with pytest.raises(RefusedError, match="a data of a certificate that is neither base64 nor a list of bytes"):
            read_guest_evidence(value)


WIDE = {"policy": 8, "plat_info": 0x40, "launch_mit_vector": 0x1F8, "current_mit_vector": 0x200}


@pytest.mark.parametrize("field", WIDE)
def test_a_field_of_64_bits_holds_64_bits_and_no_more(field: str) -> None:
    at = WIDE[field]
    assert read(body(**{field: 2**64 - 1})).report[at : at + 8] == b"\xff" * 8
    with pytest.raises(RefusedError, match=f"has a {field} that is not a number from 0 to 18446744073709551615"):
        read(body(**{field: 2**64}))


def test_a_chip_whose_components_say_nothing_of_its_fmc_has_fmc_0() -> None:
    report = SimulatedSnp("Turin").report(b"x" * 64, version=3)
    fields = spell(report, turin=True)
    del fields["launch_tcb"]["fmc"]
    assert read({"attestation_report": fields}).report == report[:0x1F0] + b"\0" + report[0x1F1:]


@pytest.mark.parametrize("part", ["fmc", "bootloader", "tee", "snp", "microcode"])
def test_a_security_version_is_one_byte(part: str) -> None:
    fields = spell(SimulatedSnp("Turin").report(b"x" * 64, version=3), turin=True)
    fields["launch_tcb"][part] = 256
    with pytest.raises(RefusedError, match=f"has a {part} that is not a number from 0 to 255"):
        read({"attestation_report": fields})


def test_a_quote_of_tdx_comes_with_its_log_where_there_is_one() -> None:
    quote = base64.b64encode(b"quote").decode()
    evidence = read({"quote": quote, "cc_eventlog": base64.b64encode(b"log").decode()})
    assert (evidence.kind, evidence.report, evidence.part("eventLog")) == ("tdx", b"quote", b"log")
    assert read({"quote": quote, "cc_eventlog": None}).extras == ()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "is neither a report of SNP nor a quote of TDX"),
        ({"svn": "1", "report_data": "eHh4eA=="}, "is neither a report of SNP nor a quote of TDX"),
        ({"quote": 7}, "has a quote that is not base64"),
        ({"quote": "?"}, "has a quote that is not base64"),
        ({"quote": "AAAA", "cc_eventlog": []}, "has a cc_eventlog that is not base64"),
        ({"attestation_report": 7}, "that is neither base64 nor an object"),
        ({"attestation_report": "?"}, "has a attestation_report that is not base64"),
        (body() | {"cert_chain": {}}, "has a cert_chain that is not a list of at most 16"),
        (body() | {"cert_chain": [1] * 17}, "has a cert_chain that is not a list of at most 16"),
        (body() | {"cert_chain": [[]]}, "has a certificate without a cert_type"),
        (body() | {"cert_chain": [{"cert_type": 1}]}, "has a certificate without a cert_type"),
        (body() | {"cert_chain": [{"cert_type": "ASK"}]}, "data of a certificate that is neither base64 nor a list"),
        (body() | {"cert_chain": [{"cert_type": "ASK", "data": [256]}]}, "with an item that is no byte"),
        (body(version=None), "has a version that is not a number from 0"),
        (body(version=True), "has a version that is not a number from 0"),
        (body(version=2**32), "has a version that is not a number from 0 to 4294967295"),
        (body(policy=-1), "has a policy that is not a number"),
        (body(cpuid_fam_id=None), "has a cpuid_fam_id that is not a number"),
        (body(cpuid_step=256), "has a cpuid_step that is not a number from 0 to 255"),
        (body(report_data=[0] * 63), "has a report_data of 63 bytes, 64 are needed"),
        (body(report_data=[0] * 63 + [True]), "has a report_data with an item that is no byte"),
        (body(report_data=7), "has a report_data that is neither base64 nor a list of bytes"),
        (body(current=None), "has a current that is not an object"),
        (body(current={"build": 1, "minor": 2, "major": 256}), "has a major that is not a number from 0 to 255"),
        (body(launch_tcb=[]), "has a launch_tcb that is not an object"),
        (body(launch_tcb={}), "has a bootloader that is not a number"),
        (body(signature=None), "has a signature that is not an object"),
        (body(signature={"r": [0] * 72, "s": [0] * 71}), "has a s of 71 bytes, 72 are needed"),
    ],
)
def test_what_is_not_as_it_must_be_is_refused(value: Any, message: str) -> None:
    with pytest.raises(RefusedError) as caught:
        read(value)
    assert caught.value.reason is Reason.EVIDENCE_INVALID
    assert caught.value.message.startswith("the guest's evidence ")
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b" " * (MAX_EVIDENCE_BYTES + 1), "has 524289 bytes, 524288 allowed"),
    ],
)
def test_what_cannot_be_read_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(RefusedError, match="the guest's evidence") as caught:
        parse_guest_evidence(data)
    assert message in caught.value.message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(sorted(spell(REPORT))), JSON)
def test_no_value_of_a_field_does_more_than_refuse_or_change_the_bytes(field: str, value: Any) -> None:
    with contextlib.suppress(RefusedError):
        assert len(read(body(**{field: value})).report) == len(REPORT)
