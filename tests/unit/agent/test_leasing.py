"""A pod on a lease: outages within it harm nobody; at its end requests, key, weights and engine go, in that order."""

import asyncio
import contextlib
import functools
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sekisho.agent import broker as client
from sekisho.agent import fetch, leasing, loop
from sekisho.agent.lease import DRAIN_SECONDS, Lease, Phase
from sekisho.agent.lease_record import read_boot_id, read_record
from sekisho.agent.loop import Agent
from sekisho.agent.server import build_server
from sekisho.agent.state import Health
from sekisho.errors import Reason
from sekisho.kernel import read_boot_seconds
from tests.simulators.broker import RefusedAnswerError, SimulatedBroker, serve_broker
from tests.unit.agent.sealed import PLAIN, RELEASE, RELEASE_TOKEN, SILENT, SealedStage, run_stage
from tests.unit.agent.test_broker import ChipAttester
from tests.unit.depot.parts import NAMESPACE, FileServer, serve_files
from tests.unit.depot.parts import settle as settle_soon
from tests.unit.seal.sealing import KEY

POD = (NAMESPACE, "chat-0", "uid-0")
settle = functools.partial(settle_soon, seconds=40.0)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "_POLL_SECONDS", 0.05)
    monkeypatch.setattr(fetch, "wait_refused", lambda _n: 0.05)
    monkeypatch.setattr(fetch, "wait_unavailable", lambda _n: 0.05)
    monkeypatch.setattr(leasing, "wait_unavailable", lambda _n: 0.1)
    monkeypatch.setattr(leasing, "_IDLE_SECONDS", 0.02)
    monkeypatch.setattr(leasing, "_BUSY_SECONDS", 0.02)
    monkeypatch.setattr(leasing, "_TOLD_PAUSE_SECONDS", 0.02)
    monkeypatch.setattr(client, "_PAUSE_SECONDS", 0.01)


@dataclass(repr=False)
class Leased:
    """A pod with a real depot, a simulated broker and an engine; time passes when a test says so.

    Attributes:
        busy: Whether a request is running in the engine.
    """

    stage: SealedStage
    broker: SimulatedBroker
    engine: FileServer
    passed: float = 0.0
    busy: bool = False
    running: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def agent(self) -> Agent:
        return self.stage.agent

    @property
    def lease(self) -> Lease:
        return self.agent.state.lease()

    def start_agent(self) -> None:
        self.stage.agent = self.stage.make_agent()
        self.agent.state.boot_clock = lambda: read_boot_seconds() + self.passed

    async def end_agent(self) -> None:
        """End the agent as a kill would: nothing is told to anybody."""
        self.agent.stop.set()
        self.agent.keeper.stop.set()  # a test may have given it another
        await asyncio.to_thread(self.agent.run)
        if self.agent._keeping is not None:
            await asyncio.to_thread(self.agent._keeping.join, 60)
            assert not self.agent._keeping.is_alive()

    async def serve(self) -> None:
        await self.stage.step()
        await settle(lambda: self.stage.condition.get("status") == "True")
        assert {path: (self.stage.volume / path).read_bytes() for path in self.stage.models} == PLAIN

    async def phase(self, phase: Phase) -> Lease:
        await settle(lambda: self.lease.phase is phase)
        return self.lease

    def ask(self, path: str) -> Health:
        """Ask what the kubelet asks."""
        server = build_server(("127.0.0.1", 0), self.agent.state, engine=lambda: self.agent.config.engine)  # type: ignore[union-attr]
        try:
            return server.answers[path]()
        finally:
            server.server_close()

    def stop_engine(self) -> None:
        self.running.close()


@contextlib.contextmanager
def run_engine(engine: FileServer) -> Iterator[None]:
    with serve_files(engine, None):
        yield


@pytest.fixture
async def leased(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Leased]:
    async with run_stage(tmp_path) as stage:
        with serve_broker(SimulatedBroker({RELEASE_TOKEN: POD}, KEY), stage.tls) as broker:
            stage.attesters = (ChipAttester(),)
            scene = Leased(stage, broker, FileServer({"/health": b"ok"}))
            monkeypatch.setattr(leasing, "has_callers", lambda _port: scene.busy)
            scene.running.enter_context(run_engine(scene.engine))
            port = int(scene.engine.host.rpartition(":")[2])
            release = {"host": "127.0.0.1", "port": broker.port, "serverName": RELEASE, "protocol": "broker"}
            stage.write_config(release=release, engine={"port": port, "healthPath": "/health"})
            scene.start_agent()
            yield scene
            scene.stop_engine()
            broker.refuse = lambda _purpose: None
            await scene.end_agent()


def refuses(reason: str, status: int = 403, *, purposes: tuple[str, ...] = ("renew",)) -> Callable[[str], None]:
    def refuse(purpose: str) -> None:
        if purpose in purposes:
            raise RefusedAnswerError(status, reason, f"{reason} it is")

    return refuse


def away(_purpose: str) -> None:
    raise RefusedAnswerError(503, "ApiUnavailable", "nobody is there")


@pytest.mark.slow
async def test_a_pod_that_is_refused_before_the_broker_sees_it_whole_asks_again_soon_and_gets_its_key(
    leased: Leased, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[tuple[str, int]] = []
    monkeypatch.setattr(fetch, "wait_refused", lambda n: waits.append(("refused", n)) or 0.05)
    monkeypatch.setattr(fetch, "wait_unavailable", lambda n: waits.append(("unavailable", n)) or 0.05)
    answers = iter(["WorkloadMismatch", "ChipUnknown", "ReleaseNotGranted", "WorkloadMismatch"])

    def refuse(purpose: str) -> None:
        if purpose == "release" and (reason := next(answers, "")):
            raise RefusedAnswerError(403, reason, f"{reason} it is")

    leased.broker.refuse = refuse
    await leased.serve()
    assert [wait for wait in waits if wait[0] == "refused"] == [("refused", 0)]
    assert waits[-1] == ("unavailable", 0), "counted anew after the refusal"
    assert len(waits) >= 4


async def test_weights_that_need_a_lease_are_served_with_one(leased: Leased) -> None:
    assert leased.agent.state.startup().ok is False
    await leased.serve()
    assert leased.lease.phase is Phase.HELD
    for path in ("/startup", "/engine-ready", "/engine-live"):
        assert leased.ask(path).ok, path
    assert [purpose for purpose, _ in leased.broker.answered] == ["challenge", "release"]


async def test_a_pod_that_is_refused_its_key_serves_nothing_and_says_why(leased: Leased) -> None:
    leased.broker.refuse = refuses("ReleaseNotGranted", purposes=("release",))
    await leased.stage.step()
    await settle(lambda: leased.stage.condition.get("reason") == "ReleaseNotGranted")
    for path in ("/startup", "/engine-ready", "/engine-live"):
        assert not leased.ask(path).ok, path
    assert leased.ask("/startup").reason is Reason.RELEASE_NOT_GRANTED
    assert leased.ask("/engine-ready").message == "no data key has been released to this pod yet"
    assert leased.stage.models == []


@pytest.mark.slow
async def test_a_lease_is_renewed_half_way_and_again(leased: Leased) -> None:
    await leased.serve()
    for turn in (1, 2):
        leased.passed += 500
        await settle(lambda turn=turn: leased.broker.count("renew") == turn)
        await settle(lambda: leased.lease.ends - leased.agent.state.boot_clock() > 850)
    assert leased.ask("/engine-ready").ok
    assert leased.broker.count("release") == 1


@pytest.mark.slow
async def test_a_broker_that_is_away_within_the_lease_harms_nobody(leased: Leased) -> None:
    await leased.serve()
    leased.broker.refuse = away
    leased.passed += 600
    await settle(lambda: leased.lease.failures >= 2)
    leased.passed += 250
    for path in ("/engine-ready", "/engine-live"):
        assert leased.ask(path).ok, path
    assert leased.stage.models == sorted(PLAIN)
    leased.broker.refuse = lambda _purpose: None
    await settle(lambda: leased.broker.count("renew"))
    assert leased.ask("/engine-ready").ok


@pytest.mark.slow
async def test_a_lease_that_ends_in_the_middle_of_a_request_lets_it_end_and_nothing_else(leased: Leased) -> None:
    await leased.serve()
    leased.busy = True
    leased.broker.refuse = away
    leased.passed += 901
    await leased.phase(Phase.DRAINING)
    ready = leased.ask("/engine-ready")
    assert (ready.ok, ready.reason) == (False, Reason.LEASE_EXPIRED)
    assert "the lease of 900 s on the data key has ended" in ready.message
    assert leased.ask("/engine-live").ok, "the request runs on"
    assert leased.stage.models == sorted(PLAIN)
    await settle(lambda: leased.stage.condition.get("reason") == "LeaseExpired")
    leased.passed += 20
    await asyncio.sleep(0.1)
    assert leased.lease.phase is Phase.DRAINING
    leased.busy = False
    await leased.phase(Phase.STOPPING)
    await settle(lambda: leased.stage.models == [])
    assert not leased.ask("/engine-live").ok
    assert not leased.ask("/startup").ok


async def test_a_request_that_does_not_end_is_not_waited_for_beyond_a_minute(leased: Leased) -> None:
    await leased.serve()
    leased.busy = True
    leased.broker.refuse = away
    leased.passed += 901
    await leased.phase(Phase.DRAINING)
    leased.passed += DRAIN_SECONDS
    await leased.phase(Phase.STOPPING)
    await settle(lambda: leased.stage.models == [])


@pytest.mark.slow
async def test_what_has_ended_is_told_with_evidence_once_the_engine_is_gone_and_begins_anew(leased: Leased) -> None:
    await leased.serve()
    leased.broker.refuse = refuses("GrantExpired")
    leased.passed += 500
    await leased.phase(Phase.DRAINING)
    leased.passed += 6
    await leased.phase(Phase.STOPPING)
    assert leased.broker.count("evicted") == 0
    leased.stop_engine()
    await leased.phase(Phase.NONE)
    assert leased.broker.count("evicted") == 1
    assert leased.broker.bindings[-1].purpose == "evicted"
    assert not leased.stage.agent.paths.lease.exists()
    condition = leased.stage.condition
    assert (condition["status"], condition["reason"]) == ("False", "GrantExpired")
    assert condition["message"] == "the broker does not renew the lease: GrantExpired it is"
    leased.broker.refuse = lambda _purpose: None
    await leased.serve()
    assert leased.lease.phase is Phase.HELD


@pytest.mark.slow
async def test_a_broker_that_cannot_be_told_of_an_eviction_holds_up_nothing(leased: Leased) -> None:
    await leased.serve()
    leased.broker.refuse = away
    leased.passed += 901
    await leased.phase(Phase.DRAINING)
    leased.passed += 6
    leased.stop_engine()
    await leased.phase(Phase.NONE)
    assert leased.stage.models == []
    assert leased.broker.count("evicted") == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reason", "status", "told"),
    [
        ("WorkloadMismatch", 403, "WorkloadMismatch"),
        ("TcbTooOld", 403, "TcbTooOld"),
        ("KeyVersionRevoked", 403, "KeyVersionRevoked"),
        ("PodNotKnown", 403, "KeyDenied"),
    ],
)
async def test_a_refused_renewal_ends_the_lease_at_once_with_the_brokers_reason(
    leased: Leased, reason: str, status: int, told: str
) -> None:
    await leased.serve()
    leased.broker.refuse = refuses(reason, status)
    leased.passed += 500
    lease = await leased.phase(Phase.DRAINING)
    assert lease.reason == told
    await settle(lambda: leased.stage.condition.get("reason") == told)
    assert not leased.ask("/engine-ready").ok


@pytest.mark.slow
@pytest.mark.parametrize("reason", ["IsolationProofIncomplete", "IsolationProofStale", "Unauthenticated"])
async def test_a_refusal_that_time_heals_is_an_outage_within_the_lease(leased: Leased, reason: str) -> None:
    await leased.serve()
    leased.broker.refuse = refuses(reason)
    leased.passed += 500
    await settle(lambda: leased.lease.failures >= 2)
    assert leased.ask("/engine-ready").ok
    assert leased.lease.trouble == f"{reason} it is"


@pytest.mark.slow
async def test_a_late_renewal_brings_nothing_back(leased: Leased) -> None:
    await leased.serve()
    leased.broker.slow_seconds = 2.0
    leased.passed += 500
    await settle(lambda: leased.agent.keeper._renewal is not None)
    leased.passed += 401
    await leased.phase(Phase.DRAINING)
    await settle(lambda: leased.broker.count("renew") == 1)
    await asyncio.sleep(0.1)
    assert leased.lease.phase is Phase.DRAINING
    assert not leased.ask("/engine-ready").ok


@pytest.mark.slow
async def test_a_leak_ends_the_lease_without_waiting_for_requests(leased: Leased) -> None:
    await leased.serve()
    leased.busy = True
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        leaky = {"name": "leaky", "host": "127.0.0.1", "port": port, "protocols": ["tcp"]}
        leased.stage.write_config(canaries=[SILENT, leaky])
        await leased.stage.step()
    lease = await leased.phase(Phase.STOPPING)
    assert lease.reason is Reason.ISOLATION_LEAK
    assert leased.stage.models == []
    assert not leased.ask("/engine-live").ok
    leased.stage.write_config(canaries=[SILENT])
    leased.stop_engine()
    await leased.phase(Phase.NONE)
    await leased.serve()


async def test_what_nobody_foresaw_does_not_end_the_keeping_of_a_lease(leased: Leased) -> None:
    await leased.serve()
    looked = threading.Event()

    def break_off() -> None:
        looked.set()
        raise RuntimeError("can't start new thread")

    leased.agent.keeper.engine = break_off
    await settle(looked.is_set)
    leased.agent.keeper.engine = leased.agent._engine
    leased.broker.refuse = refuses("GrantExpired")
    leased.passed += 500
    await leased.phase(Phase.DRAINING)


async def test_weights_are_wiped_before_anybody_is_told(leased: Leased) -> None:
    await leased.serve()
    keeper, order = leased.agent.keeper, list[str]()
    wipe, tell = keeper.wipe, keeper.tell
    keeper.wipe = lambda: order.append("wipe") or wipe()  # type: ignore[func-returns-value]
    keeper.tell = lambda reason, message: order.append("tell") or tell(reason, message)  # type: ignore[func-returns-value]
    keeper.abandon(Reason.ISOLATION_LEAK, "open")
    await settle(lambda: "tell" in order)
    assert order[0] == "wipe"


async def test_a_pod_in_which_no_round_can_be_made_loses_its_weights_by_age(
    leased: Leased, monkeypatch: pytest.MonkeyPatch
) -> None:
    await leased.serve()

    def break_off(*_: object, **__: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(loop, "probe_canaries", break_off)
    await leased.stage.step()
    assert leased.ask("/engine-ready").ok, "the last proof still counts"
    leased.agent.state.clock = lambda: time.monotonic() + 91
    await leased.stage.step()
    assert leased.stage.models == []
    assert "RuntimeError: can't start new thread" in leased.ask("/engine-live").message


# --- agents that are started again


async def test_an_agent_that_was_killed_takes_up_its_lease_without_the_broker(leased: Leased) -> None:
    await leased.serve()
    ends = leased.lease.ends
    await leased.end_agent()
    leased.broker.refuse = away
    leased.start_agent()
    await leased.stage.step()
    assert leased.lease.ends == ends
    await settle(lambda: leased.agent.state.startup().ok)
    assert leased.ask("/engine-ready").ok
    assert leased.broker.count("release") == 1


@pytest.mark.slow
@pytest.mark.parametrize("why", ["expired", "another boot", "garbage", "empty"])
async def test_an_agent_whose_predecessors_lease_does_not_hold_leaves_nothing_of_it(leased: Leased, why: str) -> None:
    await leased.serve()
    await leased.end_agent()
    record = leased.agent.paths.lease
    if why == "expired":
        leased.passed += 901
    elif why == "another boot":
        record.write_text(json.dumps(json.loads(record.read_text()) | {"boot": "another"}))
    else:
        record.write_text("{" if why == "garbage" else "")
    leased.broker.refuse = away
    leased.start_agent()
    await leased.stage.step()
    await leased.phase(Phase.STOPPING)
    await settle(lambda: leased.stage.models == [])
    assert leased.ask("/engine-live").reason is Reason.LEASE_EXPIRED
    leased.broker.refuse = lambda _purpose: None
    leased.stop_engine()
    await leased.phase(Phase.NONE)
    await leased.serve()


async def test_an_agent_that_was_killed_while_a_lease_ended_does_not_bring_it_back(leased: Leased) -> None:
    await leased.serve()
    leased.busy = True
    leased.broker.refuse = refuses("GrantExpired")
    leased.passed += 500
    await leased.phase(Phase.DRAINING)
    await settle(lambda: leased.stage.condition.get("reason") == "GrantExpired")
    await leased.end_agent()
    leased.broker.refuse = away
    leased.start_agent()
    await leased.stage.step()
    await leased.phase(Phase.STOPPING)
    assert not leased.ask("/engine-ready").ok
    await settle(lambda: leased.stage.models == [])


@pytest.mark.parametrize("why", ["full", "gone"])
async def test_an_end_that_cannot_be_noted_leaves_no_note_that_says_otherwise(leased: Leased, why: str) -> None:
    await leased.serve()
    record = leased.agent.paths.lease
    record.with_suffix(".partial").mkdir()  # as on a disk that is full, nothing can be written there
    if why == "gone":
        record.unlink()
    leased.broker.refuse = refuses("GrantExpired")
    leased.passed += 500
    await leased.phase(Phase.DRAINING)
    await settle(lambda: leased.stage.condition.get("reason") == "GrantExpired")
    assert not record.exists()


async def test_weights_without_a_note_of_a_lease_are_not_kept(leased: Leased) -> None:
    await leased.serve()
    await leased.end_agent()
    leased.agent.paths.lease.unlink()
    leased.broker.refuse = away
    leased.start_agent()
    await leased.stage.step()
    assert leased.stage.models == []
    assert not leased.ask("/engine-live").ok


async def test_the_note_of_a_lease_holds_nothing_secret(leased: Leased) -> None:
    await leased.serve()
    text = leased.agent.paths.lease.read_text()
    assert KEY.hex() not in text
    assert RELEASE_TOKEN not in text
    assert set(json.loads(text)) == {"boot", "ends", "due", "terms", "question"}
    found = read_record(leased.agent.paths.lease, boot_id=read_boot_id())
    assert found is not None
    assert found[0].terms == leased.lease.terms
    assert read_record(leased.agent.paths.lease, boot_id="") == (
        Lease(Phase.HELD, found[0].terms, due=found[0].due),
        found[1],
    )


# --- clocks


@pytest.mark.slow
async def test_a_wall_clock_that_jumps_renews_at_once_and_ends_nothing(
    leased: Leased, monkeypatch: pytest.MonkeyPatch
) -> None:
    await leased.serve()
    await settle(lambda: leased.agent.keeper._looked is not None)
    real = leasing.time.time
    monkeypatch.setattr(leasing.time, "time", lambda: real() + 86400)
    await settle(lambda: leased.broker.count("renew") == 1)
    assert leased.ask("/engine-ready").ok


@pytest.mark.slow
async def test_a_machine_that_slept_beyond_its_lease_serves_nothing_when_it_wakes(leased: Leased) -> None:
    await leased.serve()
    leased.agent.keeper.stop = threading.Event()
    leased.passed += 1e6
    assert not leased.ask("/engine-ready").ok
    assert not leased.ask("/engine-live").ok


# --- a configuration that changes


async def test_a_broker_that_the_configuration_no_longer_names_renews_nothing(leased: Leased) -> None:
    await leased.serve()
    leased.stage.write_config(release=None)
    await leased.stage.step()
    leased.passed += 500
    await settle(lambda: leased.lease.failures >= 1)
    assert leased.lease.trouble == "agent.json names no broker"
