"""A GPU node from its attester to its labels: what is written, what is taken back, and what no other node may show."""

import functools
import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sekisho.api.names import API_VERSION
from sekisho.attest.collateral import parse_collateral
from sekisho.attest.evidence import UnverifiedEvidence
from sekisho.errors import Reason, RefusedError
from tests.simulators.hardware.nvidia import Device, Maker
from tests.simulators.hardware.snp import BEGAN, ENDS, SimulatedSnp
from tests.simulators.tpm.simulated import SimulatedTpm
from tests.unit.trust.house import House, open_house, settle, spell_policy

MAKER, CHIP = Maker.lasting({"begin": BEGAN, "end": ENDS}), SimulatedSnp("Genoa")
GPUS = tuple(MAKER.make(number) for number in range(1, 5))
MACHINE = {
    "tee": "snp",
    "measurements": [CHIP.report()[0x90:0xC0].hex()],
    "minimumTcb": [{"component": "microcode", "version": 1}],
}
DEVICES = {"tee": "nvidia-gpu", "facts": [{"name": "measurements", "values": ["unchecked"]}]}


@dataclass
class Guest:
    """A confidential machine and its GPUs: its own report comes by the same way here."""

    gpus: Sequence[Device]

    def read(self, nonce: bytes) -> tuple[UnverifiedEvidence, ...]:
        return (CHIP.evidence(nonce), *(each.evidence(nonce) for each in self.gpus))


@pytest.fixture
async def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    """Run a trust controller whose code, for this test alone, pins made-up roots: no setting could."""
    pins = {name: frozenset({hashlib.sha256(der).hexdigest()}) for name, der in list_roots().items()}
    monkeypatch.setattr("sekisho.kube.collateral.parse_collateral", functools.partial(parse_collateral, pins=pins))
    folder = tmp_path / "hardware"
    folder.mkdir()
    for name, der in list_roots().items():
        (folder / f"{name}-root.made-up.der").write_bytes(der)
    (folder / "amd-ca.made-up.der").write_bytes(CHIP.ask)
    async with open_house(tmp_path, hardware_dir=folder) as made:
        for name in ("n1", "n2"):
            node = made.api.objects["nodes"][name] | {"status": {"capacity": {"nvidia.com/gpu": "2"}}}
            made.api.put("nodes", node)
        await settle(lambda: all(node.gpus == 2 for node in made.running.nodes.all()))
        yield made


def list_roots() -> dict[str, bytes]:
    """Return the made-up roots by name; not while tests are looked for, since their keys take a second to make."""
    return {"amd": CHIP.ark, "nvidia": MAKER.root.der}


async def allow(house: House, tpm: SimulatedTpm, *alternatives: list[dict[str, Any]]) -> None:
    """Apply a policy of a boot by TPM, and of these alternatives."""
    policy = spell_policy(tpm)
    spelt = [{"name": f"a{number}", "evidence": each} for number, each in enumerate(alternatives)]
    spec = {"anyOf": [*policy["spec"]["anyOf"], *spelt]}
    house.api.put("evidencepolicies", policy | {"apiVersion": API_VERSION, "spec": spec})
    await settle(lambda: house.running.policy.is_there)


async def test_a_gpu_node_is_labelled_until_one_of_its_gpus_is_gone(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    tpm, guest = SimulatedTpm(house.maker), Guest(GPUS[:2])
    await allow(house, tpm, [MACHINE, DEVICES])
    async with house.attester("n1", tpm, devices=guest) as attestation:
        await attestation.attest()
        said = house.api.said("n1")
        assert said["attested"] == "nvidia-cc,snp,tpm"
        assert int(said["nvidia-cc-attested-at"]) == int(said["snp-attested-at"])
        assert said["nvidia-devices"] == f"41{1:016x},41{2:016x}"
        assert said["evidence-digest"].count("sha256:") == 4
        assert "refusal" not in said
        guest.gpus = GPUS[:1]
        await attestation.attest()
    said = house.api.said("n1")
    assert (said["attested"], "nvidia-cc-attested-at" in said, "nvidia-devices" in said) == ("snp,tpm", False, False)
    assert said["refusal"].startswith("EvidenceMissing: node n1 offers 2 nvidia.com/gpu, its evidence is of 1 GPUs")
    told = [record for record in caplog.records if record.getMessage() == "not all evidence of the node counts"]
    assert [record.detail for record in told] == [said["refusal"]]


async def test_a_gpu_that_is_swapped_for_a_strangers_takes_all_trust_from_the_node(house: House) -> None:
    tpm, guest = SimulatedTpm(house.maker), Guest(GPUS[:2])
    await allow(house, tpm, [MACHINE, DEVICES])
    async with house.attester("n1", tpm, devices=guest) as attestation:
        await attestation.attest()
        guest.gpus = (GPUS[0], Maker.lasting(MAKER.window).make(2))
        with pytest.raises(RefusedError) as raised:
            await attestation.attest()
    assert raised.value.reason is Reason.EVIDENCE_UNTRUSTED
    said = house.api.said("n1")
    assert said.keys() == {"ak-name", "ek-digest", "refusal"}
    assert said["refusal"].startswith("EvidenceUntrusted: ")


async def test_a_node_that_shows_the_gpus_of_another_one_is_refused(house: House) -> None:
    first, second = SimulatedTpm(house.maker), SimulatedTpm(house.maker)
    await allow(house, first, [MACHINE, DEVICES])
    async with house.attester("n1", first, devices=Guest(GPUS[:2])) as attestation:
        await attestation.attest()
    guest = Guest(GPUS[1:3])
    async with house.attester("n2", second, devices=guest) as attestation:
        with pytest.raises(RefusedError, match="is one of node n1; node n2 may not show it") as raised:
            await attestation.attest()
        assert raised.value.reason is Reason.CHIP_UNKNOWN
        assert "attested" not in house.api.said("n2")
        guest.gpus = GPUS[2:]
        await attestation.attest()
    assert house.api.said("n2")["nvidia-devices"] == f"41{3:016x},41{4:016x}"
    assert house.api.said("n1")["attested"] == "nvidia-cc,snp,tpm"


async def test_gpus_without_a_confidential_machine_are_told_as_such(house: House) -> None:
    tpm = SimulatedTpm(house.maker)
    await allow(house, tpm, [DEVICES])
    async with house.attester("n1", tpm, devices=Guest(GPUS[:2])) as attestation:
        await attestation.attest()
    said = house.api.said("n1")
    assert said["attested"] == "tpm"
    assert said["refusal"] == (
        "AppraisalFailed: the GPUs of node n1 are proven, the machine they are in is not: beside them counts tpm, and "
        "snp or tdx is wanted"
    )


async def test_a_node_that_no_longer_shows_what_the_policy_wants_loses_all_that_it_had(house: House) -> None:
    tpm, guest = SimulatedTpm(house.maker), Guest(GPUS[:2])
    policy = spell_policy(tpm)
    policy["spec"] = {"anyOf": [{"name": "gpu", "evidence": [MACHINE, DEVICES]}]}
    house.api.put("evidencepolicies", policy)
    await settle(lambda: house.running.policy.is_there)
    async with house.attester("n1", tpm, devices=guest) as attestation:
        await attestation.attest()
        assert house.api.said("n1")["attested"] == "nvidia-cc,snp"
        guest.gpus = ()
        with pytest.raises(RefusedError) as raised:
            await attestation.attest()
    assert raised.value.reason is Reason.EVIDENCE_MISSING
    assert house.api.said("n1").keys() == {"ak-name", "ek-digest", "refusal"}
