"""Keys for an engine that decrypts by itself, on a lease: released by evidence at each start, never beyond its end."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sekisho.agent import desk, fetch
from sekisho.agent.lease import Phase
from sekisho.errors import UnavailableError
from tests.simulators.broker import SimulatedBroker, serve_broker
from tests.unit.agent.sealed import RELEASE, RELEASE_TOKEN
from tests.unit.agent.test_broker import ChipAttester
from tests.unit.agent.test_desk import TENSORS, handing, place, start_engine
from tests.unit.agent.test_leasing import POD, Leased, refuses, run_engine, settle
from tests.unit.agent.test_leasing import soon as soon  # noqa: PLC0414 - a fixture
from tests.unit.depot.parts import FileServer
from tests.unit.seal.sealing import KEY


@pytest.fixture
async def leased(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Leased]:
    monkeypatch.setattr(fetch, "_LOOK_SECONDS", 0.02)
    monkeypatch.setattr(desk, "_BETWEEN_SECONDS", 0.0)
    monkeypatch.setattr(desk, "wait_refused", lambda _n: 0.05)
    monkeypatch.setattr(desk, "wait_unavailable", lambda _n: 0.05)
    async with handing(tmp_path) as stage:
        with serve_broker(SimulatedBroker({RELEASE_TOKEN: POD}, KEY), stage.tls) as broker:
            stage.attesters = (ChipAttester(),)
            scene = Leased(stage, broker, FileServer({"/health": b"ok"}))
            scene.running.enter_context(run_engine(scene.engine))
            port = int(scene.engine.host.rpartition(":")[2])
            release = {"host": "127.0.0.1", "port": broker.port, "serverName": RELEASE, "protocol": "broker"}
            stage.write_config(release=release, engine={"port": port, "healthPath": "/health"})
            scene.start_agent()
            yield scene
            scene.stop_engine()
            broker.refuse = lambda _purpose: None
            await scene.end_agent()


async def serve(leased: Leased) -> None:
    await leased.stage.step()
    await settle(lambda: leased.stage.condition.get("status") == "True" and place(leased.stage).exists())


@pytest.mark.slow
async def test_each_start_of_the_engine_is_a_release_of_its_own_and_prolongs_the_lease(leased: Leased) -> None:
    await serve(leased)
    first = (await leased.phase(Phase.HELD)).ends
    asked = leased.broker.count("release")
    for _ in range(2):
        leased.passed += 5
        assert await asyncio.to_thread(start_engine, leased.stage) == TENSORS
    assert leased.lease.phase is Phase.HELD
    assert leased.lease.ends > first + 5
    assert leased.broker.count("release") == asked + 2


@pytest.mark.slow
async def test_a_lease_that_is_refused_closes_the_desk(leased: Leased) -> None:
    await serve(leased)
    leased.broker.refuse = refuses("GrantExpired", purposes=("renew", "release"))
    leased.passed += 500
    await leased.phase(Phase.DRAINING)
    await settle(lambda: not place(leased.stage).exists())
    with pytest.raises(UnavailableError, match="no keys were handed over"):
        await asyncio.to_thread(start_engine, leased.stage, seconds=0.3)
