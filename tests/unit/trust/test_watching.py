"""What is seen of nodes and policy, beside what was written here a moment ago; and collateral that changes."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sekisho.errors import Reason, UnavailableError
from sekisho.kube.client import KubeClient
from sekisho.kube.collateral import CollateralStore
from sekisho.kube.credentials import Credentials
from sekisho.trust.collateral import CollateralFolder
from sekisho.trust.watching import WatchedNodes, WatchedPolicy
from tests.simulators.nodes_api import ApiServer
from tests.simulators.tpm.simulated import Maker, SimulatedTpm
from tests.unit.trust.house import pem_of, settle, spell_policy


@pytest.fixture
async def api() -> AsyncIterator[ApiServer]:
    async with ApiServer().serve() as served:
        served.add_node("n1")
        yield served


@pytest.fixture
async def client(api: ApiServer) -> AsyncIterator[KubeClient]:
    async with KubeClient(Credentials(api.url), process="test") as made:
        yield made


async def test_what_was_written_here_is_known_before_the_watch_shows_it(api: ApiServer, client: KubeClient) -> None:
    nodes = WatchedNodes(client)
    watching = asyncio.create_task(nodes.reflector.run())
    await settle(lambda: nodes.find("n1") is not None)
    watching.cancel()
    node = nodes.find("n1")
    assert node is not None
    await nodes.write(node, {"annotations": {"sekisho.node-restriction.kubernetes.io/ak-name": "000b"}})
    assert [seen.ak_name for seen in nodes.all()] == ["000b"]
    watching = asyncio.create_task(nodes.reflector.run())
    api.add_node("n1", ak_name="00ff")
    await settle(lambda: (found := nodes.find("n1")) is not None and found.ak_name == "00ff")
    api.remove("nodes", "n1")
    await settle(lambda: nodes.find("n1") is None)
    watching.cancel()


async def test_a_policy_that_is_missing_or_cannot_be_read_is_our_trouble_and_no_nodes(
    api: ApiServer, client: KubeClient
) -> None:
    policy = WatchedPolicy(client, "nodes")
    watching = asyncio.create_task(policy.reflector.run())
    with pytest.raises(UnavailableError, match='there is no EvidencePolicy "nodes" for nodes') as raised:
        policy.rules()
    assert raised.value.reason is Reason.POLICY_MISSING
    spelt = spell_policy(SimulatedTpm(Maker()))
    api.put("evidencepolicies", {**spelt, "spec": {"anyOf": []}})
    await settle(lambda: policy.is_there)
    with pytest.raises(UnavailableError, match='EvidencePolicy "nodes": ') as raised:
        policy.rules()
    assert raised.value.reason is Reason.POLICY_INVALID
    api.put("evidencepolicies", spelt)
    await settle(lambda: policy.reflector.objects[("", "nodes")] == spelt["spec"])
    digest = policy.rules().digest
    api.put("evidencepolicies", spell_policy(SimulatedTpm(Maker()), 4, 7))
    await settle(lambda: policy.rules().digest != digest)
    watching.cancel()


async def test_collateral_that_changes_is_followed_and_what_breaks_it_is_survived(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sekisho.trust.collateral.FOLLOW_SECONDS", 0.01)
    makers, hardware = CollateralFolder(tmp_path), CollateralStore(tmp_path)
    jobs = [asyncio.create_task(makers.follow()), asyncio.create_task(hardware.follow(seconds=0.01))]
    root = Maker().root
    (tmp_path / "tpm-roots.pem").write_text(pem_of(root))
    await settle(lambda: makers.makers.roots == (root,))
    (tmp_path / "tpm-crls.pem").write_text("nothing")
    await settle(lambda: {problem.file for problem in hardware.problems} >= {"tpm-crls.pem"})
    (tmp_path / "tpm-crls.pem").unlink()
    (tmp_path / "tpm-roots.pem").write_text(pem_of(root, root))
    await settle(lambda: makers.makers.roots == (root, root))
    for job in jobs:
        assert not job.done()
        job.cancel()
