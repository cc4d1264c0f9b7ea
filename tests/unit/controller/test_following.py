"""What a follower shows: everything once as listed, then each change, over failures and versions that are too old."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sekisho.controller.following import Follower, slow_down
from sekisho.controller.store import Name
from sekisho.errors import SekishoError
from sekisho.kube.client import KubeClient
from sekisho.kube.credentials import Credentials
from sekisho.kube.failures import ApiConflictError, ApiRefusedError, ApiUnavailableError
from sekisho.kube.resources import PODS, Resource
from tests.unit.gateway.api_server import ApiServer

Event = tuple[str | None, str]


class Screen:
    """Holds what was shown; wakes who waits for more."""

    follower: Follower

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.reached: list[tuple[int, dict[Name, int] | None]] = []
        self._news = asyncio.Event()

    def show(self, resource: Resource, kind: str | None, raw: Mapping[str, Any]) -> None:
        assert resource == PODS
        self.events.append((kind, raw["metadata"]["name"]))
        self._news.set()

    def reach(self, resource: Resource, version: int, listed: Mapping[Name, int] | None) -> None:
        assert resource == PODS
        self.reached.append((version, None if listed is None else dict(listed)))
        self._news.set()

    async def reaches(self, version: int, listed: dict[Name, int] | None) -> None:
        """Return once this was told; fails where that does not come."""
        async with asyncio.timeout(20):
            while (version, listed) not in self.reached:
                self._news.clear()
                await self._news.wait()

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
        follower = screen.follower = Follower(
            client, PODS, screen.show, screen.reach, selector=selector, seconds=seconds, quiet_seconds=70
        )
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
        await screen.reaches(90, None)
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


async def test_what_vanished_while_nobody_watched_is_missing_in_the_list_that_follows(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with ApiServer() as api:
        api.put("pods", build_pod("p"))
        api.put("pods", build_pod("q"))
        async with following(api) as screen:
            await screen.reaches(3, {("a", "p"): 2, ("a", "q"): 3})
            await is_watched(api, by=1)
            api.down = True
            api._tell("pods", {"type": "ERROR", "object": {"message": "too old resource version"}})
            await has_told(caplog, "a watch is opened again")
            del api.objects["pods"]["a", "p"]
            api.version = 9
            api.down = False
            await screen.reaches(9, {("a", "q"): 3})


async def test_after_an_outage_a_version_that_is_too_old_is_listed_anew_at_once() -> None:
    async with ApiServer() as api, following(api) as screen:
        seen: set[asyncio.Queue[Any]] = set()
        await find_new_watch(api, seen)
        api.put("pods", build_pod("p"))
        await screen.shows(("ADDED", "p"))
        screen.follower._pause = 600.0  # as after a long outage: another rest would outlive this test
        for each in seen:
            each.put_nowait({"type": "ERROR", "object": {"message": "too old resource version"}})
        await screen.shows((None, "p"))
        assert screen.follower._pause == pytest.approx(0.1)


async def test_a_watch_that_is_accepted_and_breaks_at_once_is_opened_less_and_less_often(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with ApiServer() as api, following(api) as screen:
        async with asyncio.timeout(30):
            seen: set[asyncio.Queue[Any]] = set()
            while screen.follower._pause < 0.5:
                opened = await find_new_watch(api, seen)
                opened.put_nowait({"type": "ERROR", "object": {"message": "too old resource version"}})
        assert "a watch is opened again" in caplog.messages
        await find_new_watch(api, seen)
        api.put("pods", build_pod("p"))
        await screen.shows(("ADDED", "p"))
        assert screen.follower._pause < 0.2


@pytest.mark.parametrize(
    ("pause", "error", "expected"),
    [
        (0.1, ApiConflictError("too old"), 0.2),
        (0.1, ApiUnavailableError("away"), 0.2),
        (0.1, ApiUnavailableError("initializing", after_seconds=1.0), 1.0),
        (3.0, ApiUnavailableError("initializing", after_seconds=1.0), 4.0),
        (60.0, ApiRefusedError("no", status=403), 4.0),
    ],
)
def test_the_pause_doubles_to_a_bound_and_is_no_shorter_than_the_server_asks(
    pause: float, error: SekishoError, expected: float
) -> None:
    assert slow_down(pause, error) == pytest.approx(expected)


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


async def find_new_watch(api: ApiServer, seen: set[asyncio.Queue[Any]]) -> asyncio.Queue[Any]:
    """Return a watch that was opened since the last time; the simulator keeps those that the client has left."""
    async with asyncio.timeout(20):
        while not (new := api._watchers.get("pods", set()) - seen):
            await asyncio.sleep(0.01)
    seen |= new
    (found,) = new
    return found


async def has_told(caplog: pytest.LogCaptureFixture, message: str) -> None:
    """Return once this was logged."""
    async with asyncio.timeout(20):
        while message not in caplog.messages:
            await asyncio.sleep(0.01)
