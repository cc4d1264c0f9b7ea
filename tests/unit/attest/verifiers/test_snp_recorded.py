"""Reports of real chips of AMD, at the time when they were made."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from sekisho.attest.chains import verify_chain
from sekisho.attest.claims import Claims
from sekisho.attest.evidence import UnverifiedEvidence
from sekisho.attest.verifiers.snp import SnpCollateral, verify_snp
from sekisho.attest.verifiers.snp_endorsement import parse_endorsement
from sekisho.errors import Reason, RefusedError
from tests.unit.attest.recorded import read_certificates, read_recorded
from tests.unit.fuzz import attempt

BEFORE = datetime(2024, 1, 1, tzinfo=UTC)
LATER = datetime(2026, 7, 1, tzinfo=UTC)


def verify(report: bytes, leaf: bytes, authority: str, at: datetime) -> Claims:
    ask, ark = read_certificates(f"snp/{authority}_ask_ark.pem")
    return verify_snp(UnverifiedEvidence("snp", report, (leaf, ask)), SnpCollateral((ark,)), at=at)


def read_leaf(name: str) -> bytes:
    return read_certificates(f"snp/{name}")[0]


def milan() -> bytes:
    return bytes.fromhex(read_recorded("snp/milan_v2_report.hex").decode().strip())


def reported(claims: Claims) -> dict[str, int]:
    return {name: version for name, version in claims.tcb if "." not in name}


def test_the_report_of_milan_is_verified() -> None:
    claims = verify(milan(), read_leaf("milan_v2_vcek.der"), "milan", BEFORE)
    assert (claims.debug, claims.fact("product"), claims.fact("vmpl")) == (False, "Milan", "0")
    assert reported(claims) == {"bootloader": 3, "microcode": 115, "snp": 8, "tee": 0}


def test_the_report_of_version_3_is_verified_and_no_other_byte_may_stand_in_it() -> None:
    report, leaf = read_recorded("snp/milan_v3_at_byte4.bin")[4 : 4 + 1184], read_leaf("milan_v3_vcek.pem")
    claims = verify(report, leaf, "milan", LATER)
    assert (claims.debug, claims.fact("product"), claims.fact("report-version")) == (False, "Milan", "3")
    assert reported(claims) == {"bootloader": 4, "microcode": 213, "snp": 23, "tee": 0}
    for offset in range(0, len(report), 7):
        flipped = bytearray(report)
        flipped[offset] ^= 1
        outcome = attempt(lambda data=bytes(flipped): verify(data, leaf, "milan", LATER))  # type: ignore[misc]
        assert isinstance(outcome, RefusedError), f"byte {offset}"


def test_the_report_of_a_guest_that_may_be_debugged_says_so() -> None:
    leaf = read_leaf("milan_debug_policy_vcek.der")
    assert verify(read_recorded("snp/milan_debug_policy_report.bin"), leaf, "milan", BEFORE).debug is True


def test_a_report_with_the_certificate_of_another_chip_is_refused() -> None:
    with pytest.raises(RefusedError, match="the SNP report says that the bootloader has security version") as caught:
        verify(milan(), read_leaf("milan_debug_policy_vcek.der"), "milan", BEFORE)
    assert caught.value.reason is Reason.EVIDENCE_UNTRUSTED


@pytest.mark.parametrize("at", [datetime(2023, 4, 3, tzinfo=UTC), datetime(2030, 4, 4, tzinfo=UTC)])
def test_a_report_at_a_time_without_certificate_is_refused(at: datetime) -> None:
    with pytest.raises(RefusedError, match="the certificate of CN=SEV-VCEK") as caught:
        verify(milan(), read_leaf("milan_v2_vcek.der"), "milan", at)
    assert caught.value.reason is Reason.EVIDENCE_UNTRUSTED


@pytest.mark.parametrize("leaf", ["vcek_invalid_legacy.der", "vcek_invalid_new.der"])
@pytest.mark.parametrize("authority", ["milan", "genoa", "turin"])
def test_certificates_that_lead_to_no_root_are_refused(leaf: str, authority: str) -> None:
    for at in (datetime(2023, 6, 1, tzinfo=UTC), LATER):
        with pytest.raises(RefusedError) as caught:
            verify(milan(), read_leaf(leaf), authority, at)
        assert caught.value.reason is Reason.EVIDENCE_UNTRUSTED


def test_the_certificate_of_turin_is_read() -> None:
    ask, ark = read_certificates("snp/turin_ask_ark.pem")
    endorsement = parse_endorsement(verify_chain([read_leaf("turin_vcek.der"), ask], [ark], at=LATER).leaf)
    assert (endorsement.product, endorsement.hardware_id.hex()) == ("Turin", "1e550a8ee5cf9f4d")
    assert dict(endorsement.tcb) == {"bootloader": 0, "fmc": 0, "microcode": 9, "snp": 0, "tee": 0}


def number(value: int, size: int) -> bytes:
    return value.to_bytes(size, "little")


def spell(report: dict[str, Any]) -> bytes:
    """Put the fields of a report of version 3 back where they stood."""

    def tcb(name: str) -> bytes:
        of = report[name]
        return bytes([of["bootloader"], of["tee"], 0, 0, 0, 0, of["snp"], of["microcode"]])

    def version(name: str) -> bytes:
        return bytes([report[name]["build"], report[name]["minor"], report[name]["major"], 0])

    head = b"".join(number(report[name], size) for name, size in (("version", 4), ("guest_svn", 4), ("policy", 8)))
    head += bytes(report["family_id"]) + bytes(report["image_id"])
    head += number(report["vmpl"], 4) + number(report["sig_algo"], 4) + tcb("current_tcb")
    head += number(report["plat_info"], 8) + number(report["key_info"], 4) + bytes(4)
    for name in (
        "report_data",
        "measurement",
        "host_data",
        "id_key_digest",
        "author_key_digest",
        "report_id",
        "report_id_ma",
    ):
        head += bytes(report[name])
    head += tcb("reported_tcb") + bytes(report[f"cpuid_{name}"] for name in ("fam_id", "mod_id", "step")) + bytes(21)
    head += (
        bytes(report["chip_id"]) + tcb("committed_tcb") + version("current") + version("committed") + tcb("launch_tcb")
    )
    signature = report["signature"]
    return head.ljust(0x2A0, bytes(1)) + bytes(signature["r"]) + bytes(signature["s"]) + bytes(368)


def test_the_report_of_genoa_is_verified() -> None:
    evidence = json.loads(read_recorded("snp/genoa_v3_evidence.json"))
    claims = verify(spell(evidence["attestation_report"]), bytes(evidence["cert_chain"][0]["data"]), "genoa", LATER)
    assert (claims.fact("product"), claims.fact("cpuid")) == ("Genoa", "19-a0-02")
    assert reported(claims) == {"bootloader": 10, "microcode": 25, "snp": 23, "tee": 0}
