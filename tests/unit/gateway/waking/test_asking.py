"""That a service is asked for is told seldom, by whoever finds it old enough, and only while it is used."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from sekisho.api.times import format_time, parse_time
from sekisho.errors import RefusedError, SekishoError, UnavailableError
from sekisho.gateway.decide import ServiceFacts
from sekisho.gateway.facts import Facts
from sekisho.gateway.waking import asking as module
from sekisho.gateway.waking.asking import Asking, find_interval_seconds
from sekisho.kube.client import KubeClient
from sekisho.kube.credentials import Credentials
from sekisho.kube.reflecting import Freshness
from tests.unit.gateway.api_server import ApiServer
from tests.unit.gateway.house import build_service


@dataclass
class Rig:
    """A gateway's word on demand, an API server, and what is known of one service, written by hand."""

    api: ApiServer
    facts: Facts
    asking: Asking

    def show(self, *, ago: float | None = None, uid: str = "u1", **predictor: Any) -> ServiceFacts:
        raw = build_service("chat", spec={"predictor": {"minReplicas": 0, "idleSeconds": 600, **predictor}})
        raw["metadata"]["uid"] = uid
        if ago is not None:
            raw["status"]["demand"] = {"askedAt": format_time(time.time() - ago)}
        if ("legal", "chat") not in self.api.objects["inferenceservices"]:
            self.api.put("inferenceservices", raw)
        self.facts._services._take({"type": "MODIFIED", "object": raw})
        found = self.facts.find("legal", "chat")
        assert found is not None
        return found

    async def told(self, count: int) -> list[tuple[str, dict[str, Any]]]:
        async with asyncio.timeout(60):
            while len(self.api.applied) < count:
                await asyncio.sleep(0.01)
        return self.api.applied


@asynccontextmanager
async def running(rig: Rig) -> AsyncIterator[None]:
    task = asyncio.create_task(rig.asking.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with ApiServer() as api, KubeClient(Credentials(server=api.url), process="test") as client:
        facts = Facts(client, Freshness(max_age_seconds=600))
        for reflector in facts._reflectors:
            reflector._hear()
        yield Rig(api, facts, Asking(client, facts, by="sekisho-gateway-0"))


async def test_a_service_that_is_used_is_asked_for_under_a_name_of_its_own(rig: Rig) -> None:
    service = rig.show()
    async with running(rig):
        with rig.asking.using(service):
            ((manager, body),) = await rig.told(1)
    assert manager == "sekisho-gateway"
    assert body["metadata"] == {"namespace": "legal", "name": "chat", "uid": "u1"}
    assert list(body["status"]) == ["demand"]
    assert body["status"]["demand"]["by"] == "sekisho-gateway-0"
    asked_at = parse_time(body["status"]["demand"]["askedAt"])
    assert asked_at is not None
    assert abs(time.time() - asked_at) < 3600


async def test_many_requests_are_told_once(rig: Rig) -> None:
    service = rig.show()
    async with running(rig):
        for _ in range(50):
            with rig.asking.using(service):
                await asyncio.sleep(0)
        await rig.told(1)
        for _ in range(50):
            with rig.asking.using(service):
                await asyncio.sleep(0)
        assert not [key for key, use in rig.asking._uses.items() if rig.asking._is_due(key, use)]
    assert len(rig.api.applied) == 1


async def test_what_another_gateway_told_a_moment_ago_is_not_told_again(rig: Rig) -> None:
    service = rig.show(ago=10)
    with rig.asking.using(service):
        ((key, use),) = rig.asking._uses.items()
        assert not rig.asking._is_due(key, use)
        rig.show(ago=61)
        assert rig.asking._is_due(key, use)


async def test_a_time_that_cannot_be_so_keeps_nobody_from_telling(rig: Rig) -> None:
    with rig.asking.using(rig.show(ago=-7200)):
        ((key, use),) = rig.asking._uses.items()
        assert rig.asking._is_due(key, use)


async def test_a_service_that_always_runs_is_never_told_of(rig: Rig) -> None:
    with rig.asking.using(rig.show(minReplicas=1)):
        assert rig.asking._uses == {}


async def test_a_use_that_is_over_is_told_and_then_forgotten(rig: Rig) -> None:
    service = rig.show()
    with rig.asking.using(service):
        pass
    ((key, use),) = rig.asking._uses.items()
    assert rig.asking._is_due(key, use)
    await rig.asking._tell(key, use)
    assert not rig.asking._is_due(key, use)
    assert rig.asking._uses
    use.tried_at -= 3600
    assert not rig.asking._is_due(key, use)
    assert rig.asking._uses == {}


async def test_another_service_of_the_name_is_not_told_of(rig: Rig) -> None:
    with rig.asking.using(rig.show()):
        ((key, use),) = rig.asking._uses.items()
        rig.show(uid="u2")
        assert not rig.asking._is_due(key, use)
    assert not rig.asking._is_due(key, use)
    assert rig.asking._uses == {}


async def test_nothing_is_told_by_knowledge_that_is_too_old(rig: Rig) -> None:
    with rig.asking.using(rig.show()):
        ((key, use),) = rig.asking._uses.items()
        rig.facts._pods.heard_at = float("-inf")
        assert not rig.asking._is_due(key, use)


@pytest.mark.parametrize(("status", "kind"), [(403, RefusedError), (500, UnavailableError), (409, UnavailableError)])
async def test_what_cannot_be_told_is_tried_again_until_it_is(rig: Rig, status: int, kind: type[SekishoError]) -> None:
    service = rig.show()
    rig.api.refuses = status
    with rig.asking.using(service):
        ((key, use),) = rig.asking._uses.items()
        await rig.asking._tell(key, use)
        assert isinstance(rig.asking.find_failure(service), kind)
        assert not rig.asking._is_due(key, use)
        use.tried_at -= 2
        assert rig.asking._is_due(key, use)
        rig.api.refuses = 0
        await rig.asking._tell(key, use)
        assert rig.asking.find_failure(service) is None


async def test_what_nobody_needs_any_more_is_not_tried_for_ever(rig: Rig) -> None:
    service = rig.show()
    rig.api.refuses = 403
    with rig.asking.using(service):
        pass
    ((key, use),) = rig.asking._uses.items()
    await rig.asking._tell(key, use)
    use.tried_at -= 10
    assert not rig.asking._is_due(key, use)


async def test_the_end_of_a_long_use_counts_too(rig: Rig) -> None:
    service = rig.show()
    with rig.asking.using(service):
        ((key, use),) = rig.asking._uses.items()
        await rig.asking._tell(key, use)
    assert not rig.asking._is_due(key, use)
    use.tried_at -= 61
    assert rig.asking._is_due(key, use)


async def test_an_api_server_that_does_not_answer_is_not_waited_for_for_ever(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE_SECONDS", 0.0)
    service = rig.show()
    with rig.asking.using(service):
        ((key, use),) = rig.asking._uses.items()
        await rig.asking._tell(key, use)
        assert use.used
        assert use.failure is not None
        assert use.failure.message == "the API server did not answer"
        assert rig.asking.find_failure(service) is use.failure
    assert rig.api.applied == []


@pytest.mark.parametrize(("idle", "every"), [(10, 10 / 3), (90, 30), (180, 60), (604800, 60)])
def test_it_is_told_often_enough_for_what_is_in_use(idle: float, every: float) -> None:
    assert find_interval_seconds(idle) == every
