"""One live read serves all who wait for it, and nobody is told what was read before its own cause."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from sekisho.controller import sharing
from sekisho.controller.sharing import SharedReads
from sekisho.errors import UnavailableError
from sekisho.kube.client import KubeClient
from sekisho.kube.credentials import Credentials
from sekisho.kube.resources import MODELS, NAMESPACES


@dataclass
class Stand:
    """An API server that holds back its answers until it may give them, and what was taken of them."""

    reads: list[str] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    status: int = 200
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    shared: SharedReads | None = None

    async def answer(self, request: web.Request) -> web.Response:
        self.reads.append(request.path.rpartition("/")[2])
        await self.may_answer.wait()
        return web.json_response({"metadata": {"name": self.reads[-1]}, "message": "no"}, status=self.status)

    async def learn(self, name: str = "legal", *, since: float = 0.0) -> bool:
        assert self.shared is not None
        return await self.shared.learn(NAMESPACES, name, namespace="", since=since)


@pytest.fixture
async def stand() -> AsyncIterator[Stand]:
    made = Stand()
    made.may_answer.set()
    app = web.Application()
    app.router.add_route("GET", "/{path:.*}", made.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    credentials = Credentials(f"http://127.0.0.1:{runner.addresses[0][1]}", token="t")

    def take(_: Any, raw: dict[str, Any]) -> None:
        made.taken.append(raw["metadata"]["name"])

    async with KubeClient(credentials, process="test") as client:
        made.shared = SharedReads(client, take)
        yield made
    await runner.cleanup()


@pytest.fixture
def for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Share for as long as a slow machine may take for a test."""
    monkeypatch.setattr(sharing, "SHARED_SECONDS", 3600.0)


async def test_many_who_ask_together_cause_one_read(stand: Stand, for_long: None) -> None:
    assert await asyncio.gather(*(stand.learn() for _ in range(20))) == [True] * 20
    assert (stand.reads, stand.taken) == (["legal"], ["legal"])


async def test_each_object_is_read_by_itself(stand: Stand, for_long: None) -> None:
    assert stand.shared is not None
    await asyncio.gather(
        stand.learn("legal"), stand.learn("sales"), stand.shared.learn(MODELS, "legal", namespace="sales", since=0.0)
    )
    assert sorted(stand.reads) == ["legal", "legal", "sales"]


async def test_a_read_that_began_before_the_cause_does_not_count(stand: Stand, for_long: None) -> None:
    await stand.learn()
    await stand.learn(since=time.monotonic() + 1e-6)
    assert stand.reads == ["legal", "legal"]


async def test_who_has_a_newer_cause_reads_anew_though_an_older_read_is_under_way(stand: Stand, for_long: None) -> None:
    stand.may_answer.clear()
    async with asyncio.timeout(60):
        first = asyncio.create_task(stand.learn())
        while not stand.reads:
            await asyncio.sleep(0.001)
        second = asyncio.create_task(stand.learn(since=time.monotonic()))
        stand.may_answer.set()
        assert await asyncio.gather(first, second) == [True, True]
    assert stand.reads == ["legal", "legal"]


async def test_what_was_read_long_ago_is_read_anew(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "SHARED_SECONDS", 0.0)
    await stand.learn()
    await stand.learn()
    assert stand.reads == ["legal", "legal"]


async def test_that_there_is_none_is_told_to_all(stand: Stand, for_long: None) -> None:
    stand.status = 404
    assert await asyncio.gather(stand.learn(), stand.learn()) == [False, False]
    assert (stand.reads, stand.taken) == (["legal"], [])


async def test_a_failure_is_told_to_all_who_waited_and_the_next_tries_again(stand: Stand, for_long: None) -> None:
    stand.status = 503
    failures = await asyncio.gather(*(stand.learn() for _ in range(3)), return_exceptions=True)
    assert all(isinstance(failure, UnavailableError) for failure in failures)
    assert {failure.message for failure in failures if isinstance(failure, UnavailableError)} == {
        "the API server fails for now: no"
    }
    assert stand.reads == ["legal"]
    stand.status = 200
    assert await stand.learn() is True


async def test_what_is_kept_of_reads_is_bounded(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "_MOST_KEPT", 3)
    monkeypatch.setattr(sharing, "SHARED_SECONDS", 0.0)
    for index in range(10):
        await stand.learn(f"n{index}")
        assert stand.shared is not None
        assert len(stand.shared._reads) <= 3
