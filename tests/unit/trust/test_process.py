"""Attesters and the trust controller, over TLS, with TPMs that behave: what is written, refused, taken back."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import pytest

from sekisho.errors import Reason, RefusedError, UnavailableError
from tests.simulators.tpm.simulated import Maker, SimulatedTpm
from tests.unit.trust.house import House, open_house, settle, spell_policy


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path) as made:
        yield made


@pytest.fixture
async def tpm(house: House) -> SimulatedTpm:
    made = SimulatedTpm(house.maker)
    house.api.put("evidencepolicies", spell_policy(made))
    await settle(lambda: house.running.policy.is_there)
    return made


async def test_a_node_is_enrolled_once_and_attested_again_and_again(house: House, tpm: SimulatedTpm) -> None:
    async with house.attester("n1", tpm) as attestation:
        before = int(time.time())
        assert await attestation.attest() == 300.0
        said = house.api.said("n1")
        assert before <= int(said["tpm-attested-at"]) <= time.time()
        assert said["attested"] == "tpm"
        assert said["evidence-digest"].startswith("sha256:")
        assert 3590 <= datetime.fromisoformat(said["expires-at"]).timestamp() - time.time() <= 3600
        assert len(said["ak-name"]) == 68
        assert len(said["ek-digest"]) == 64
        assert "refusal" not in said
        assert await attestation.attest() == 300.0
        assert tpm.commands.count(0x147) == 1
        assert house.api.said("n1")["evidence-digest"] != said["evidence-digest"]
    assert house.api.said("n2") == {}
    assert house.api.objects["nodes"]["n1"]["metadata"]["labels"]["zone"] == "a"


async def test_a_tpm_of_another_maker_is_not_enrolled(house: House, tpm: SimulatedTpm) -> None:
    stranger = SimulatedTpm(Maker("unknown maker"))
    async with house.attester("n1", stranger) as attestation:
        with pytest.raises(RefusedError, match="which is no pinned root") as raised:
            await attestation.attest()
    assert raised.value.reason is Reason.EVIDENCE_UNTRUSTED
    assert house.api.said("n1") == {}


async def test_a_tpm_that_is_another_nodes_is_not_enrolled(house: House, tpm: SimulatedTpm) -> None:
    async with house.attester("n1", tpm) as attestation:
        await attestation.attest()
    async with house.attester("n2", tpm) as other:
        with pytest.raises(RefusedError, match="is that of node n1; node n2 may not show its TPM") as raised:
            await other.attest()
    assert raised.value.reason is Reason.CHIP_UNKNOWN
    assert house.api.said("n2") == {}


async def test_a_node_whose_tpm_was_exchanged_is_refused_until_an_administrator_says_so(
    house: House, tpm: SimulatedTpm
) -> None:
    async with house.attester("n1", tpm) as attestation:
        await attestation.attest()
    other = SimulatedTpm(house.maker, pcrs=tpm.pcrs)
    async with house.attester("n1", other) as attestation:
        with pytest.raises(RefusedError, match="remove the Node's annotation ek-digest") as raised:
            await attestation.attest()
        assert raised.value.reason is Reason.CHIP_UNKNOWN
        house.api.add_node("n1")
        await settle(lambda: any(node.name == "n1" and not node.ek_digest for node in house.running.nodes.all()))
        await attestation.attest()
    assert house.api.said("n1")["attested"] == "tpm"


async def test_an_attester_speaks_of_its_own_node_alone(house: House, tpm: SimulatedTpm) -> None:
    token = house.api.add_attester("n1")
    async with house.attester("n1", tpm, token=token, pretends="n2") as attestation:
        with pytest.raises(RefusedError, match="the attester of node n1 speaks of node 'n2'") as raised:
            await attestation.attest()
    assert raised.value.reason is Reason.NOT_ALLOWED
    assert house.api.said("n2") == house.api.said("n1") == {}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"audience": "sekisho-broker"}, "the token is not valid for audience sekisho-trust"),
        ({"account": "sekisho-depot"}, "the token is that of sekisho-system/sekisho-depot"),
        ({"namespace": "legal"}, "the token is that of legal/sekisho-attester"),
        ({"told": False}, "of the token does not run on a node"),
    ],
)
async def test_only_an_attester_may_speak(house: House, tpm: SimulatedTpm, changes: dict[str, str], told: str) -> None:
    token = house.api.add_attester("n1", **changes)
    async with house.attester("n1", tpm, token=token) as attestation:
        with pytest.raises(RefusedError) as raised:
            await attestation.attest()
    assert (raised.value.reason, told in raised.value.message) == (Reason.UNAUTHENTICATED, True)


async def test_where_tokens_name_no_node_the_pod_is_asked_for(house: House, tpm: SimulatedTpm) -> None:
    token = house.api.add_attester("n1", told=False)
    pod = {
        "metadata": {"name": "attester-n1", "namespace": "sekisho-system", "uid": "pod-uid-n1"},
        "spec": {"nodeName": "n1"},
        "status": {"phase": "Running"},
    }
    house.api.put("pods", pod)
    async with house.attester("n1", tpm, token=token) as attestation:
        await attestation.attest()
    assert house.api.said("n1")["attested"] == "tpm"


async def test_another_measurement_is_refused_and_takes_back_what_was_proven(house: House, tpm: SimulatedTpm) -> None:
    async with house.attester("n1", tpm) as attestation:
        await attestation.attest()
        tpm.pcrs[4] = bytes(range(32))
        with pytest.raises(RefusedError, match="register pcr4") as raised:
            await attestation.attest()
    assert raised.value.reason is Reason.MEASUREMENT_UNKNOWN
    said = house.api.said("n1")
    assert "tpm-attested-at" not in said
    assert "attested" not in said
    assert said["refusal"].startswith("MeasurementUnknown: evidence policy")
    assert said["ak-name"]


@pytest.mark.slow
async def test_what_cannot_be_taken_back_at_once_is_taken_back_later(house: House, tpm: SimulatedTpm) -> None:
    async with house.attester("n1", tpm) as attestation:
        await attestation.attest()
        good, tpm.pcrs[4] = tpm.pcrs[4], bytes(range(32))
        house.api.forbid = True
        with pytest.raises(RefusedError, match="register pcr4") as raised:
            await attestation.attest()
        assert raised.value.reason is Reason.MEASUREMENT_UNKNOWN
        assert "tpm-attested-at" in house.api.said("n1")
        house.api.forbid = False
        await settle(lambda: "tpm-attested-at" not in house.api.said("n1"))
        assert house.api.said("n1")["refusal"].startswith("MeasurementUnknown: ")
        tpm.pcrs[4] = good
        await attestation.attest()
        assert house.api.said("n1")["attested"] == "tpm"


async def test_without_a_policy_nothing_is_attested_and_nothing_taken_back(house: House, tpm: SimulatedTpm) -> None:
    async with house.attester("n1", tpm) as attestation:
        await attestation.attest()
        before = house.api.said("n1")
        house.api.remove("evidencepolicies", "nodes")
        await settle(lambda: not house.running.policy.is_there)
        with pytest.raises(UnavailableError, match='there is no EvidencePolicy "nodes"') as raised:
            await attestation.attest()
    assert raised.value.reason is Reason.POLICY_MISSING
    assert house.api.said("n1") == before


async def test_who_does_not_lead_writes_nothing(house: House, tpm: SimulatedTpm) -> None:
    house.leads[0] = False
    async with house.attester("n1", tpm) as attestation:
        with pytest.raises(UnavailableError, match="another trust controller leads"):
            await attestation.attest()
    assert house.api.said("n1") == {}
    assert "TokenReview" not in house.api.requests


async def test_what_the_api_server_forbids_is_told(house: House, tpm: SimulatedTpm) -> None:
    house.api.forbid = True
    async with house.attester("n1", tpm) as attestation:
        with pytest.raises(RefusedError, match="node n1 cannot be written: the policy says no") as raised:
            await attestation.attest()
    assert raised.value.reason is Reason.NOT_ALLOWED


async def test_the_loop_goes_on_after_failures_and_counts_them(
    house: House, tpm: SimulatedTpm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sekisho.attester.attesting.FIRST_PAUSE_SECONDS", 0.05)
    house.leads[0], seen = False, list[Reason]()
    async with house.attester("n1", tpm) as attestation:
        attestation.outcome = seen.append
        loop = asyncio.create_task(attestation.run())
        await settle(lambda: len(seen) >= 2)
        house.leads[0] = True
        await settle(lambda: Reason.ATTESTED in seen)
        loop.cancel()
    assert set(seen) == {Reason.API_UNAVAILABLE, Reason.ATTESTED}
    assert attestation.attested_at > 0


@pytest.mark.slow
async def test_an_attestation_that_was_not_renewed_is_taken_back(house: House) -> None:
    past = "2026-01-01T00:00:00Z"
    house.api.add_node("n1", attested="tpm,snp", expires_at=past, evidence_digest="sha256:a", ak_name="000b")
    labels = {f"sekisho.node-restriction.kubernetes.io/{tee}-attested-at": "1" for tee in ("tpm", "snp")}
    node = house.api.objects["nodes"]["n1"]
    node["metadata"]["labels"] |= labels | {"sekisho.node-restriction.kubernetes.io/site": "tokyo"}
    house.api.put("nodes", node)
    await settle(lambda: "attested" not in house.api.said("n1"))
    said = house.api.said("n1")
    assert said.keys() == {"ak-name", "refusal", "site"}
    assert said["refusal"].startswith("EvidenceStale: the last attestation ended")
