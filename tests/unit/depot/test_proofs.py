"""Proofs over time: silence, recovery, other replicas, and how little is written."""

from dataclasses import replace

import pytest

from sekisho.api.names import ISOLATED_POD_CONDITION
from sekisho.attest.isolation import CanaryResult, IsolationProof, seal_datagram
from sekisho.depot.canary import CanaryListener
from sekisho.depot.proofs import ProofBook
from sekisho.errors import Reason, RefusedError, UnavailableError
from tests.unit.depot.parts import NAMESPACE, SERVICE, TOKEN, SimulatedCluster, build_pod

START = 1_800_000_000.0


class Stage:
    def __init__(self) -> None:
        self.now = START
        self.cluster = SimulatedCluster()
        self.cluster.add_pod(build_pod(started_at=START), TOKEN)
        canaries = [{"name": "out", "host": "192.0.2.1", "port": 1, "protocols": ["tcp"]}]
        self.cluster.configs[NAMESPACE, SERVICE] = {"canaries": canaries}
        self.canary = CanaryListener("127.0.0.1", 0, clock=lambda: self.now)
        self.book = self.restart()

    def restart(self) -> ProofBook:
        self.book = ProofBook(self.cluster, self.canary, 90.0, clock=lambda: self.now)
        return self.book

    @property
    def pod(self):
        return self.cluster.pods[NAMESPACE, "chat-0"]

    async def prove(self, outcome: str = "blocked", *, key: bytes = b""):
        result = CanaryResult("out", "192.0.2.1", 1, "tcp", outcome)  # type: ignore[arg-type]
        return await self.book.submit(self.pod, IsolationProof(self.now, (result,), key))

    def status(self) -> tuple[str, str]:
        condition = self.cluster.condition(ISOLATED_POD_CONDITION)
        return condition["status"], condition["reason"]


async def test_a_service_without_readable_canaries_is_never_isolated() -> None:
    stage = Stage()
    stage.cluster.configs.clear()
    verdict = await stage.prove()
    assert (verdict.ok, verdict.reason) == (False, Reason.ISOLATION_PROOF_INCOMPLETE)
    assert "has no agent.json" in verdict.message
    assert stage.status() == ("False", "IsolationProofIncomplete")


async def test_nothing_is_concluded_while_the_api_server_cannot_be_told() -> None:
    stage = Stage()
    stage.cluster.down = True
    with pytest.raises(UnavailableError):
        await stage.prove()
    with pytest.raises(RefusedError, match="has not proven its isolation yet"):
        stage.book.require_fresh(stage.pod)


async def test_silence_is_called_stale_once_and_a_new_proof_ends_it() -> None:
    stage = Stage()
    await stage.prove()
    stage.now += 91
    with pytest.raises(RefusedError, match="the last proof is 91 s old, 90 s allowed"):
        stage.book.require_fresh(stage.pod)
    assert await stage.book.sweep() == 1
    assert await stage.book.sweep() == 0
    assert stage.status() == ("False", "IsolationProofStale")
    assert "no proof of isolation for 91 s, 90 s allowed" in stage.cluster.condition(ISOLATED_POD_CONDITION)["message"]
    await stage.prove()
    assert stage.status() == ("True", "IsolationProven")
    stage.book.require_fresh(stage.pod)


async def test_a_depot_that_starts_anew_lets_nobody_pass_before_a_proof_of_its_own() -> None:
    stage = Stage()
    await stage.prove()
    stage.restart()
    assert await stage.book.adopt() == 1
    with pytest.raises(RefusedError) as caught:
        stage.book.require_fresh(stage.pod)
    assert caught.value.reason is Reason.ISOLATION_NOT_PROVEN
    stage.now += 91
    assert await stage.book.sweep() == 1


async def test_a_pod_that_another_replica_heard_is_not_called_stale() -> None:
    stage = Stage()
    await stage.prove()
    other = stage.book
    stage.restart()
    await stage.book.adopt()
    mine, stage.book = stage.book, other
    stage.now += 80
    await stage.prove()
    stage.now += 20
    assert await mine.sweep() == 0
    assert stage.status()[0] == "True"


async def test_a_depot_of_one_node_takes_over_the_pods_of_that_node_alone() -> None:
    stage = Stage()
    await stage.prove()
    stage.cluster.nodes = {stage.pod.uid: "a"}
    for node, count in (("a", 1), ("b", 0)):
        stage.restart()
        stage.book.node = node
        assert await stage.book.adopt() == count


async def test_a_pod_whose_own_depot_is_gone_is_called_stale_by_the_one_that_looks_after_silent_pods() -> None:
    stage = Stage()
    await stage.prove()
    stage.cluster.nodes = {stage.pod.uid: "a"}
    stage.restart()
    stage.book.node = "b"
    stage.now += 200
    assert await stage.book.adopt_silent() == 0, "its own depot may be a minute late with a word that goes on to hold"
    stage.now += 20
    assert await stage.book.adopt_silent() == 1
    assert await stage.book.adopt_silent() == 0
    assert await stage.book.sweep() == 1
    status, reason = stage.status()[:2]
    assert (status, reason) == ("False", Reason.ISOLATION_PROOF_STALE)


async def test_a_silent_pod_that_was_heard_by_its_own_depot_meanwhile_is_left_alone() -> None:
    stage = Stage()
    await stage.prove()
    own = stage.book
    stage.restart()
    stage.now += 220
    assert await stage.book.adopt_silent() == 1
    mine, stage.book = stage.book, own
    await stage.prove()
    writes = len(stage.cluster.writes)
    assert await mine.sweep() == 0
    assert len(stage.cluster.writes) == writes
    assert stage.status()[0] == "True"


async def test_a_pod_that_is_gone_or_has_a_namesake_is_forgotten_without_a_write() -> None:
    stage = Stage()
    await stage.prove()
    stage.cluster.pods[NAMESPACE, "chat-0"] = replace(stage.pod, uid="another")
    writes = len(stage.cluster.writes)
    stage.now += 91
    assert await stage.book.sweep() == 0
    assert len(stage.cluster.writes) == writes
    assert stage.book.live_pods() == frozenset()


async def test_an_hour_of_good_proofs_is_one_write_a_minute_and_one_transition() -> None:
    stage = Stage()
    for _ in range(180):
        await stage.prove()
        stage.now += 20
    writes = [condition for _, condition in stage.cluster.writes]
    assert len(writes) == 60
    assert {condition.since_at for condition in writes} == {START}


async def test_a_leak_is_written_at_once_and_a_visit_at_the_canary_counts_from_the_pods_start() -> None:
    stage = Stage()
    stage.canary.note("10.8.0.5")
    assert (await stage.prove()).reason is Reason.ISOLATION_LEAK
    stage.now += 1
    assert (await stage.prove()).ok
    assert (await stage.prove("reached")).reason is Reason.ISOLATION_LEAK
    assert stage.status() == ("False", "IsolationLeak")
    older = Stage()
    older.now = START - 60
    older.canary.note("10.8.0.5")  # a pod that had the address before
    older.now = START
    assert (await older.prove()).ok


KEY = b"k" * 16


async def test_what_others_send_in_the_name_of_a_pod_is_no_leak_of_it_once_its_agent_is_known() -> None:
    stage = Stage()
    assert (await stage.prove(key=KEY)).ok
    for data in (
        b"",
        b"x",
        b"sekisho " + bytes(32),
        seal_datagram(b"o" * 16, bytes(16)),
        seal_datagram(b"", bytes(16)),
    ):
        stage.canary.note_datagram("10.8.0.5", data)
    stage.now += 1
    assert (await stage.prove(key=KEY)).ok
    stage.canary.note_datagram("10.8.0.5", seal_datagram(KEY, bytes(16)))
    leak = await stage.prove(key=KEY)
    assert leak.reason is Reason.ISOLATION_LEAK
    assert "find what lets packets of the pod pass" in leak.message
    stage.now += 1
    stage.canary.note("10.8.0.5")  # a connection is nobody's who does not have the address
    assert (await stage.prove(key=KEY)).reason is Reason.ISOLATION_LEAK


async def test_a_datagram_counts_whoever_sent_it_while_no_agent_is_known_by_a_key() -> None:
    stage = Stage()
    stage.canary.note_datagram("10.8.0.5", b"x")
    assert (await stage.prove(key=KEY)).reason is Reason.ISOLATION_LEAK
    stage.now += 1
    assert (await stage.prove(key=KEY)).ok
    stage.now += 1
    assert (await stage.prove()).ok  # an agent of before
    stage.canary.note_datagram("10.8.0.5", b"x")
    assert (await stage.prove()).reason is Reason.ISOLATION_LEAK


async def test_a_datagram_of_an_agent_that_started_anew_counts_once_its_key_is_told() -> None:
    stage = Stage()
    assert (await stage.prove(key=b"o" * 16)).ok
    stage.now += 1
    stage.canary.note_datagram("::ffff:10.8.0.5", seal_datagram(KEY, bytes(16)))
    assert (await stage.prove(key=b"o" * 16)).ok
    assert (await stage.prove(key=KEY)).reason is Reason.ISOLATION_LEAK
    stage.now += 1
    assert (await stage.prove(key=KEY)).ok
