"""What a follower shows: everything once as listed, then each change, over failures and versions that are too old."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sekisho.controller.following import Follower
from sekisho.kube.client import KubeClient
from sekisho.kube.credentials import Credentials
from sekisho.kube.resources import PODS, Resource
from tests.unit.gateway.api_server import ApiServer

Event = tuple[str | None, str]


class Screen:
    """Holds what was shown; wakes who waits for more."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._news = asyncio.Event()

    def show(self, resource: Resource, kind: str | None, raw: Mapping[str, Any]) -> None:
        assert resource == PODS
        self.events.append((kind, raw["metadata"]["name"]))
        self._news.set()

    async def shows(self, *expected: Event) -> None:
        """Return once exactly these were shown since the last time, in any order; fails where that does not come."""
        async with asyncio.timeout(20):
            while len(self.events) < len(expected):
                self._news.clear()
                await self._news.wait()
        assert sorted(self.events, key=str) == sorted(expected, key=str)
        self.events.clear()


def build_pod(name: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "a", "labels": labels}}


@asynccontextmanager
async def following(api: ApiServer, *, selector: str = "", seconds: int = 60) -> AsyncIterator[Screen]:
    async with KubeClient(Credentials(server=api.url), process="test") as client:
        screen = Screen()
        follower = Follower(client, PODS, screen.show, selector=selector, seconds=seconds, quiet_seconds=70)
        task = asyncio.create_task(follower.run())
        try:
            yield screen
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled(), "it had ended by itself"


async def test_all_is_listed_once_and_then_every_change_is_shown() -> None:
    async with ApiServer() as api:
        api.put("pods", build_pod("p"))
        async with following(api) as screen:
            await screen.shows((None, "p"))
            api.put("pods", build_pod("q"))
            api.put("pods", build_pod("p"))
            api.remove("pods", "p", "a")
            await screen.shows(("ADDED", "q"), ("MODIFIED", "p"), ("DELETED", "p"))


async def test_only_objects_with_the_label_are_shown() -> None:
    async with ApiServer() as api:
        api.put("pods", build_pod("p", ours="yes"))
        api.put("pods", build_pod("q"))
        async with following(api, selector="ours") as screen:
            await screen.shows((None, "p"))
            api.put("pods", build_pod("r"))
            api.put("pods", build_pod("s", ours="yes"))
            await screen.shows(("ADDED", "s"))


@pytest.mark.parametrize("fails_meanwhile", [False, True])
async def test_after_the_end_of_a_watch_the_next_goes_on_where_it_ended(
    fails_meanwhile: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with ApiServer() as api:
        api.put("pods", build_pod("p"))
        async with following(api, seconds=1) as screen:
            await screen.shows((None, "p"))
            await is_watched(api, by=1)
            if fails_meanwhile:
                api.down = True
                await has_told(caplog, "a watch is opened again")
            else:
                await is_watched(api, by=0)
            api.put("pods", build_pod("q"))
            api.down = False
            await screen.shows(("ADDED", "q"))
            await is_watched(api, by=0)
            await is_watched(api, by=1)
            assert screen.events == [], "something was shown twice"


async def test_a_bookmark_is_not_shown_and_moves_the_place_from_which_it_goes_on() -> None:
    async with ApiServer() as api, following(api, seconds=1) as screen:
        await is_watched(api, by=1)
        api.version = 90
        api._tell("pods", {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "90"}}})
        # What came before the bookmark is told to nobody who goes on from it.
        api._past.append(("pods", 80, {"type": "ADDED", "object": build_pod("old")}))
        await is_watched(api, by=0)
        api.put("pods", build_pod("new"))
        await screen.shows(("ADDED", "new"))


async def test_where_the_version_is_too_old_everything_is_listed_anew() -> None:
    async with ApiServer() as api:
        api.put("pods", build_pod("p"))
        async with following(api) as screen:
            await screen.shows((None, "p"))
            await is_watched(api, by=1)
            api._tell("pods", {"type": "ERROR", "object": {"message": "too old resource version"}})
            await screen.shows((None, "p"))
            await is_watched(api, by=1)
            api.put("pods", build_pod("q"))
            await screen.shows(("ADDED", "q"))


async def test_a_server_that_is_not_there_yet_is_asked_until_it_is(caplog: pytest.LogCaptureFixture) -> None:
    async with ApiServer() as api:
        api.put("pods", build_pod("p"))
        api.down = True
        async with following(api) as screen:
            await has_told(caplog, "a watch is opened again")
            assert screen.events == []
            api.down = False
            await screen.shows((None, "p"))


async def is_watched(api: ApiServer, *, by: int) -> None:
    """Return once so many watches of pods are open."""
    async with asyncio.timeout(20):
        while len(api._watchers.get("pods", ())) != by:
            await asyncio.sleep(0.01)


async def has_told(caplog: pytest.LogCaptureFixture, message: str) -> None:
    """Return once this was logged."""
    async with asyncio.timeout(20):
        while message not in caplog.messages:
            await asyncio.sleep(0.01)
