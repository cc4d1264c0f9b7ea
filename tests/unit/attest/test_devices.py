"""The devices of one machine: one nonce, none missing, none twice, and wired to each other."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from sekisho.attest.claims import Claims
from sekisho.attest.devices import ExpectedDevices, check_devices
from sekisho.attest.verifiers.nvidia import NvidiaCollateral, verify_nvidia
from sekisho.errors import Reason, RefusedError
from tests.simulators.hardware.authorities import NOW
from tests.simulators.hardware.nvidia import Device, Maker, wire
from tests.unit.attest.verifiers.test_nvidia import AT, recorded_list

NONCE = bytes(range(32))
MAKER = Maker()
GPUS = [MAKER.make(number) for number in (1, 2)]
SWITCHES = [MAKER.make(number, kind="nvidia-switch") for number in (11, 12)]


def claim(device: Device, nonce: bytes = NONCE, **fields: bytes | None) -> Claims:
    evidence = device.evidence(nonce, fields=device.fields(**fields))
    return verify_nvidia(evidence, NvidiaCollateral((MAKER.root.der,)), at=NOW)


def machine(gpus: Sequence[Device] = GPUS, switches: Sequence[Device] = SWITCHES) -> list[Claims]:
    of_gpus, of_switches = wire(gpus, switches)
    return [claim(each, f22=of_gpus[22]) for each in gpus] + [claim(each, f26=of_switches[26]) for each in switches]


def refused(claims: Sequence[Claims], expected: ExpectedDevices, nonce: bytes = NONCE) -> tuple[Reason, str]:
    with pytest.raises(RefusedError) as caught:
        check_devices(claims, expected, nonce=nonce)
    return caught.value.reason, caught.value.message


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        (ExpectedDevices(3, 2), "there is evidence of 2 GPUs, 3 must be there"),
        (ExpectedDevices(1, 2), "there is evidence of 2 GPUs, 1 must be there"),
        (ExpectedDevices(2, 0), "there is evidence of 2 NVSwitches, 0 must be there"),
        (ExpectedDevices(2, 4), "there is evidence of 2 NVSwitches, 4 must be there"),
    ],
)
def test_too_few_and_too_many_devices_are_refused(expected: ExpectedDevices, message: str) -> None:
    assert refused(machine(), expected) == (Reason.EVIDENCE_MISSING, message)


def test_a_gpu_that_signed_another_nonce_is_refused() -> None:
    claims = [claim(GPUS[0]), claim(GPUS[1], b"\xff" * 32)]
    assert refused(claims, ExpectedDevices(2)) == (
        Reason.EVIDENCE_NOT_BOUND,
        f"nvidia-gpu NVIDIA:GH100:{2:016X} signed nonce ffffffffffffffff…, 0001020304050607… was asked",
    )


def test_devices_that_agree_on_another_nonce_than_was_asked_are_refused() -> None:
    assert refused([claim(each) for each in GPUS], ExpectedDevices(2), bytes(32))[0] is Reason.EVIDENCE_NOT_BOUND


def test_one_gpu_that_stands_for_two_is_refused() -> None:
    claims = [claim(GPUS[0]), claim(GPUS[0])]  # two reports, both genuine and fresh
    assert refused(claims, ExpectedDevices(2)) == (
        Reason.EVIDENCE_INVALID,
        f"2 of 2 devices have the identity of nvidia-gpu NVIDIA:GH100:{1:016X}",
    )


def test_one_signing_key_under_two_identities_is_refused() -> None:
    first, second = claim(GPUS[0]), claim(GPUS[1])
    facts = tuple(sorted({**dict(second.facts), "key": first.fact("key") or ""}.items()))
    reason, message = refused([first, replaced(second, facts=facts)], ExpectedDevices(2))
    assert reason is Reason.EVIDENCE_INVALID
    assert "2 of 2 devices have the signing key of" in message


def test_one_report_under_two_identities_is_refused() -> None:
    first, second = claim(GPUS[0]), claim(GPUS[1])
    claims = [first, replaced(second, evidence_digest=first.evidence_digest)]
    assert refused(claims, ExpectedDevices(2)) == (
        Reason.EVIDENCE_INVALID,
        f"2 of 2 devices have the report of nvidia-gpu NVIDIA:GH100:{1:016X}",
    )


def test_a_device_that_nothing_tells_apart_is_refused() -> None:
    assert refused([replaced(claim(GPUS[0]), chip_id=None)], ExpectedDevices(1)) == (
        Reason.EVIDENCE_INVALID,
        f"nvidia-gpu NVIDIA:GH100:{1:016X} has no identity, so nothing tells it apart",
    )
    nameless = replaced(claim(GPUS[0]), chip_id=None, facts=())
    assert "nvidia-gpu (no identity) has no identity" in refused([nameless], ExpectedDevices(1))[1]


def test_gpus_in_different_modes_are_refused() -> None:
    claims = [claim(GPUS[0], f36=b"\1\0"), claim(GPUS[1], f36=None)]
    assert refused(claims, ExpectedDevices(2)) == (
        Reason.APPRAISAL_FAILED,
        "the GPUs are in different modes: none told, MPT",
    )


def test_a_gpu_of_another_machine_is_refused() -> None:
    stranger = MAKER.make(3)
    foreign = wire([stranger], [MAKER.make(13, kind="nvidia-switch")])[0]
    claims = [machine()[0], claim(stranger, f22=foreign[22]), *machine()[2:]]
    assert refused(claims, ExpectedDevices(2, 2)) == (
        Reason.APPRAISAL_FAILED,
        (
            f"nvidia-gpu NVIDIA:GH100:{3:016X} is wired to {13:016x} switches without evidence here, "
            f"and not to {11:016x}, {12:016x} of those with it"
        ),
    )


def test_a_switch_that_sees_a_gpu_without_evidence_is_refused() -> None:
    of_gpus, _ = wire(GPUS, SWITCHES)
    of_switches = wire([*GPUS, MAKER.make(3)], SWITCHES)[1]
    claims = [claim(each, f22=of_gpus[22]) for each in GPUS] + [claim(each, f26=of_switches[26]) for each in SWITCHES]
    assert refused(claims, ExpectedDevices(2, 2)) == (
        Reason.APPRAISAL_FAILED,
        (
            f"nvidia-switch NVIDIA:LS_10:{11:016X} is wired to {3:016x} gpus without evidence here, "
            "and not to none of those with it"
        ),
    )


def test_switches_that_no_gpu_is_wired_to_are_refused() -> None:
    claims = [claim(each) for each in GPUS] + machine()[2:]
    reason, message = refused(claims, ExpectedDevices(2, 2))
    assert reason is Reason.APPRAISAL_FAILED
    assert "is wired to no switches without evidence here, and not to" in message


def test_the_devices_of_one_machine_pass() -> None:
    check_devices(machine(), ExpectedDevices(2, 2), nonce=NONCE)
    check_devices([claim(GPUS[0])], ExpectedDevices(1), nonce=NONCE)
    check_devices([], ExpectedDevices(0), nonce=NONCE)


def test_a_recorded_machine_passes_and_no_part_of_it_does() -> None:
    gpus = [verify_nvidia(*each[::2], at=AT) for each in recorded_list("h100x8_gpu_evidence.json")]
    switches = [verify_nvidia(*each[::2], at=AT) for each in recorded_list("nvswitchx4_evidence.json")]
    nonce = gpus[0].bound_data
    check_devices([*gpus, *switches], ExpectedDevices(8, 4), nonce=nonce)
    assert refused([*gpus[1:], gpus[1], *switches], ExpectedDevices(8, 4), nonce)[0] is Reason.EVIDENCE_INVALID
    assert refused([*gpus[1:], *switches], ExpectedDevices(7, 4), nonce)[0] is Reason.APPRAISAL_FAILED
    assert refused([*gpus, *switches[1:]], ExpectedDevices(8, 3), nonce)[0] is Reason.APPRAISAL_FAILED


def replaced(claims: Claims, **changes: Any) -> Claims:
    return replace(claims, **changes)
