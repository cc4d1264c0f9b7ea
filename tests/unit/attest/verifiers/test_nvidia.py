"""Measurements of GPUs and NVSwitches: made by this device, for this nonce, with the firmware it was certified for."""

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.attest.claims import Claims, TcbStatus, Tee
from sekisho.attest.evidence import UnverifiedEvidence
from sekisho.attest.verifiers.nvidia import NvidiaCollateral, verify_nvidia
from sekisho.errors import Reason, RefusedError
from tests.simulators.hardware.authorities import NOW, build_crl
from tests.simulators.hardware.nvidia import BLACKWELL_DICE, FIRMWARE, MEASUREMENTS, Maker
from tests.unit.attest.recorded import read_recorded

NONCE = bytes(range(32))
MAKER = Maker()
GPU = MAKER.make(7)
SWITCH = MAKER.make(9, kind="nvidia-switch")
COLLATERAL = NvidiaCollateral((MAKER.root.der,))
# The root that every published chain of NVIDIA's devices ends in.
NVIDIA_ROOT = "NVIDIA Device Identity CA"


def verify(evidence: UnverifiedEvidence, collateral: NvidiaCollateral = COLLATERAL, at: datetime = NOW) -> Claims:
    return verify_nvidia(evidence, collateral, at=at)


def refused(
    evidence: UnverifiedEvidence, collateral: NvidiaCollateral = COLLATERAL, at: datetime = NOW
) -> tuple[Reason, str]:
    with pytest.raises(RefusedError) as caught:
        verify(evidence, collateral, at)
    return caught.value.reason, caught.value.message


def test_a_report_under_certificates_of_another_gpu_is_refused() -> None:
    swapped = UnverifiedEvidence("nvidia-gpu", GPU.report(NONCE), MAKER.make(8).certificates)
    assert refused(swapped) == (
        Reason.EVIDENCE_UNTRUSTED,
        "the signature of the GPU report does not hold under the key that should have made it",
    )


def test_a_report_under_certificates_of_another_switch_is_refused() -> None:
    other = MAKER.make(9, kind="nvidia-switch")
    swapped = UnverifiedEvidence("nvidia-switch", SWITCH.report(NONCE), other.certificates)
    assert refused(swapped)[1].startswith("the signature of the NVSwitch report does not hold under the key")


def test_a_device_of_another_maker_is_refused() -> None:
    assert refused(Maker().make(7).evidence(NONCE))[0] is Reason.EVIDENCE_UNTRUSTED


def test_a_chain_that_lacks_a_certificate_is_refused() -> None:
    for left_out in range(3):
        chain = tuple(der for index, der in enumerate(GPU.certificates) if index != left_out)
        assert refused(UnverifiedEvidence("nvidia-gpu", GPU.report(NONCE), chain))[0] is Reason.EVIDENCE_UNTRUSTED


def test_evidence_without_certificates_is_refused() -> None:
    assert refused(UnverifiedEvidence("nvidia-gpu", GPU.report(NONCE)))[0] is Reason.EVIDENCE_UNTRUSTED


def test_firmware_other_than_certified_is_refused() -> None:
    other = bytes(48)
    reason, message = refused(GPU.evidence(NONCE, fields=GPU.fields(f20=other)))
    assert reason is Reason.EVIDENCE_UNTRUSTED
    assert message == (
        f"the GPU report tells firmware {other.hex()[:16]}…, its certificate is for {FIRMWARE.hex()[:16]}…"
    )


def test_firmware_that_no_certificate_speaks_of_is_refused() -> None:
    reason, message = refused(MAKER.make(7, fwids=()).evidence(NONCE))
    assert reason is Reason.EVIDENCE_UNTRUSTED
    assert message.endswith("its certificate is for none")


@pytest.mark.parametrize("told", [bytes(48), bytes(range(48))], ids=["zeros", "other"])
def test_firmware_other_than_in_the_standards_form_is_refused(told: bytes) -> None:
    gpu = MAKER.make(7, fwids=(FIRMWARE, bytes(48)), dice=BLACKWELL_DICE)
    reason, message = refused(gpu.evidence(NONCE, fields=gpu.fields(f20=told)))
    assert reason is Reason.EVIDENCE_UNTRUSTED
    assert message.endswith(f"its certificate is for {FIRMWARE.hex()[:16]}…")


def test_a_place_that_no_firmware_was_loaded_to_certifies_none() -> None:
    gpu = MAKER.make(7, fwids=(bytes(48),), dice=BLACKWELL_DICE)
    assert refused(gpu.evidence(NONCE, fields=gpu.fields(f20=bytes(48))))[1].endswith("its certificate is for none")


def test_a_switch_that_poses_as_a_gpu_is_refused() -> None:
    evidence = UnverifiedEvidence("nvidia-gpu", SWITCH.report(NONCE), SWITCH.certificates)
    assert refused(evidence) == (
        Reason.EVIDENCE_INVALID,
        "nvidia-gpu evidence does not tell the version of a driver; GPUs do, NVSwitches do not",
    )


def test_a_gpu_that_poses_as_a_switch_is_refused() -> None:
    evidence = UnverifiedEvidence("nvidia-switch", GPU.report(NONCE), GPU.certificates)
    assert refused(evidence) == (
        Reason.EVIDENCE_INVALID,
        "nvidia-switch evidence tells the version of a driver; GPUs do, NVSwitches do not",
    )


def test_a_device_that_hides_its_vbios_is_refused() -> None:
    assert refused(GPU.evidence(NONCE, fields=GPU.fields(f6=None))) == (
        Reason.EVIDENCE_INVALID,
        "nvidia-gpu evidence does not tell the version of its VBIOS",
    )


def test_a_switch_under_the_name_of_another_is_refused() -> None:
    reason, message = refused(SWITCH.evidence(NONCE, fields=SWITCH.fields(f22=b"stranger")))
    assert reason is Reason.EVIDENCE_UNTRUSTED
    assert message == (f"the NVSwitch names itself {b'stranger'.hex()}, its certificate names 50{9:016x}")


def test_a_device_is_believed_only_while_its_certificates_are_valid() -> None:
    assert refused(GPU.evidence(NONCE), at=NOW + timedelta(days=400))[0] is Reason.EVIDENCE_UNTRUSTED


def test_a_revoked_device_is_refused() -> None:
    identity, family, _ = GPU.above
    crl = build_crl(family, identity.certificate.serial_number)
    reason, message = refused(GPU.evidence(NONCE), NvidiaCollateral((MAKER.root.der,), (crl,)))
    assert reason is Reason.EVIDENCE_REVOKED
    assert "GH100 BROM" in message


def test_another_curve_is_refused() -> None:
    evidence = UnverifiedEvidence("nvidia-gpu", GPU.report(NONCE), MAKER.make(7, curve=ec.SECP256R1()).certificates)
    assert refused(evidence) == (
        Reason.EVIDENCE_UNTRUSTED,
        "the key that signs the GPU report is not an ECDSA key on secp384r1",
    )


def test_a_gpu_that_holds_says_what_it_is() -> None:
    claims = verify(GPU.evidence(NONCE))
    assert claims.tee is Tee.NVIDIA_GPU
    assert (claims.debug, claims.tcb_status, claims.measurement) == (False, TcbStatus.UNKNOWN, b"")
    assert claims.bound_data == NONCE
    assert claims.chip_id == bytes.fromhex(f"41{7:016x}")
    assert claims.registers == tuple((f"m{index:03}", value) for index, value in enumerate(MEASUREMENTS, 1))
    assert claims.fact("driver") == "550.90.07"
    assert claims.fact("vbios") == "96.00.9f.00.01"
    assert claims.fact("mode") == "SPT"
    assert claims.fact("fwid") == FIRMWARE.hex()
    assert claims.fact("device") == f"NVIDIA:GH100:{7:016X}"
    assert claims.fact("pdi") == f"{7:016x}"
    spki = GPU.leaf.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert claims.fact("key") == hashlib.sha256(spki).hexdigest()
    assert claims.fact("measurements") == "unchecked"
    assert list(claims.facts) == sorted(claims.facts)
    assert claims.window.covers(NOW)


def test_a_gpu_with_firmware_in_the_standards_form_holds() -> None:
    claims = verify(MAKER.make(7, fwids=(FIRMWARE, bytes(48)), dice=BLACKWELL_DICE).evidence(NONCE))
    assert claims.fact("fwid") == FIRMWARE.hex()


def test_a_switch_that_holds_says_what_it_is() -> None:
    claims = verify(SWITCH.evidence(NONCE))
    assert claims.tee is Tee.NVIDIA_SWITCH
    assert claims.fact("pdi") == f"{9:016x}"
    assert claims.fact("position") == "1"


def test_firmware_is_told_from_the_certificate_where_the_report_is_silent() -> None:
    assert verify(GPU.evidence(NONCE, fields=GPU.fields(f20=None))).fact("fwid") == FIRMWARE.hex()
    assert verify(MAKER.make(7, fwids=()).evidence(NONCE, fields=GPU.fields(f20=None))).fact("fwid") is None


@pytest.mark.parametrize("serial", [None, "no digits"])
def test_a_device_without_a_serial_number_is_named_by_the_key_of_its_identity(serial: str | None) -> None:
    device = MAKER.make(7, serial=serial)
    chip = verify(device.evidence(NONCE)).chip_id
    assert chip is not None
    assert len(chip) == 32
    assert chip != verify(MAKER.make(7, serial=serial).evidence(NONCE)).chip_id


def test_a_device_whose_certificate_has_no_name_by_dmtf_is_not_named() -> None:
    names = x509.SubjectAlternativeName([x509.DNSName("gpu")])
    for extensions in ((), ((names, False),)):
        device = MAKER.make(7, extensions=extensions)
        assert verify(device.evidence(NONCE, fields=GPU.fields(f20=None))).fact("device") is None


def test_an_identity_that_is_pinned_itself_names_the_device() -> None:
    device = MAKER.make(7)
    evidence = UnverifiedEvidence("nvidia-gpu", device.report(NONCE), device.certificates[:2])
    claims = verify(evidence, NvidiaCollateral((device.above[0].der,)))
    assert claims.chip_id == bytes.fromhex(f"41{7:016x}")


def test_a_name_that_is_no_plain_text_is_told_as_far_as_it_can_be() -> None:
    other = x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.412.274.1"), b"\x0c\x02A\xff")
    device = MAKER.make(7, extensions=[(x509.SubjectAlternativeName([other]), False)])
    assert verify(device.evidence(NONCE, fields=GPU.fields(f20=None))).fact("device") == "A\ufffd"


def test_a_key_directly_below_the_root_is_its_own_identity() -> None:
    device = MAKER.make(7)
    collateral = NvidiaCollateral((device.above[0].der,))
    evidence = UnverifiedEvidence("nvidia-gpu", device.report(NONCE), device.certificates[:1])
    assert len(verify(evidence, collateral).chip_id or b"") == 32


# Recorded evidence


def chain_of(pem: bytes) -> tuple[bytes, ...]:
    return tuple(each.public_bytes(Encoding.DER) for each in x509.load_pem_x509_certificates(pem))


def recorded_list(name: str) -> list[tuple[UnverifiedEvidence, bytes, NvidiaCollateral]]:
    """Return pieces of evidence of one machine, the nonce that was asked, and the root they came with."""
    kind = "nvidia-gpu" if "gpu" in name else "nvidia-switch"
    result = []
    for item in json.loads(read_recorded(f"nvidia/{name}")):
        chain = chain_of(base64.b64decode(item["certificate"]))
        evidence = UnverifiedEvidence(kind, base64.b64decode(item["evidence"]), chain)
        result.append((evidence, bytes.fromhex(item["nonce"]), pin(chain)))
    return result


def recorded_hopper(case: int = 1) -> tuple[UnverifiedEvidence, NvidiaCollateral]:
    report = bytes.fromhex(read_recorded("nvidia/hopperAttestationReport.txt").decode().strip())
    collateral = pin(chain_of(read_recorded("nvidia/hopper_cert_chain_case1.txt")))
    chain = chain_of(read_recorded(f"nvidia/hopper_cert_chain_case{case}.txt"))
    return UnverifiedEvidence("nvidia-gpu", report, chain), collateral


def pin(chain: tuple[bytes, ...]) -> NvidiaCollateral:
    root = x509.load_der_x509_certificate(chain[-1])
    assert root.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value == NVIDIA_ROOT
    assert root.fingerprint(SHA256())
    return NvidiaCollateral((chain[-1],))


AT = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_recorded_hopper_verifies_and_says_its_versions() -> None:
    evidence, collateral = recorded_hopper()
    claims = verify(evidence, collateral, AT)
    assert claims.bound_data.hex() == "931d8dd0add203ac3d8b4fbde75e115278eefcdceac5b87671a748f32364dfcb"
    assert claims.fact("driver") == "550.90.07"
    assert claims.fact("vbios") == "96.00.9f.00.01"
    assert claims.fact("device") == "NVIDIA:GH100:48B02D92494BADF4"
    assert len(claims.registers) == 64


@pytest.mark.parametrize("case", [2, 3, 4])
def test_recorded_chains_that_are_shortened_or_damaged_are_refused(case: int) -> None:
    evidence, collateral = recorded_hopper(case)
    assert refused(evidence, collateral, AT)[0] is Reason.EVIDENCE_UNTRUSTED


@pytest.mark.parametrize(("name", "count"), [("h100x8_gpu_evidence.json", 8), ("nvswitchx4_evidence.json", 4)])
def test_recorded_machines_verify_device_by_device(name: str, count: int) -> None:
    pieces = recorded_list(name)
    claims = [verify(evidence, collateral, AT) for evidence, _, collateral in pieces]
    assert len({each.chip_id for each in claims}) == count
    assert {each.bound_data for each in claims} == {nonce for _, nonce, _ in pieces}


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_recorded_report_with_any_byte_flipped_is_refused(data: st.DataObject) -> None:
    evidence, collateral = recorded_hopper()
    place, mask = data.draw(st.integers(0, len(evidence.report) - 1)), data.draw(st.integers(1, 255))
    report = bytearray(evidence.report)
    report[place] ^= mask
    refused(UnverifiedEvidence("nvidia-gpu", bytes(report), evidence.certificates), collateral, AT)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_a_recorded_report_that_is_cut_is_refused(data: st.DataObject) -> None:
    evidence, collateral = recorded_hopper()
    report = evidence.report[: data.draw(st.integers(0, len(evidence.report) - 1))]
    refused(UnverifiedEvidence("nvidia-gpu", report, evidence.certificates), collateral, AT)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_a_recorded_certificate_with_any_byte_flipped_is_refused(data: st.DataObject) -> None:
    evidence, collateral = recorded_hopper()
    chain = list(evidence.certificates[:-1])  # the root is pinned; the one that came along is not needed
    which = data.draw(st.integers(0, len(chain) - 1))
    place, mask = data.draw(st.integers(0, len(chain[which]) - 1)), data.draw(st.integers(1, 255))
    flipped = bytearray(chain[which])
    flipped[place] ^= mask
    chain[which] = bytes(flipped)
    refused(UnverifiedEvidence("nvidia-gpu", evidence.report, tuple(chain)), collateral, AT)
