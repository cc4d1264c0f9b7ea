"""Engines are asked for their load: what is no answer changes nothing, and only those asked lately are asked."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from sekisho.gateway.choosing.experience import Experience
from sekisho.gateway.choosing.polling import Poller, PollLimits, Target, Watched
from sekisho.gateway.choosing.preferring import Load

PAGE = b"llamacpp:requests_processing 1\nllamacpp:requests_deferred 3\n"


async def answer(request: web.Request) -> web.StreamResponse:
    match request.match_info["what"]:
        case "good":
            return web.Response(body=PAGE)
        case "moved":
            return web.Response(status=302, headers={"Location": "/good"})
        case "huge":
            return web.Response(body=PAGE + b"x" * (1 << 20))
        case "nonsense":
            return web.Response(body=b"<html>")
        case "cut":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        case _:
            return web.Response(status=500, body=PAGE)


@pytest.fixture
async def server() -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/{what}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.mark.parametrize("what", ["moved", "huge", "nonsense", "cut", "broken"])
async def test_what_is_no_answer_changes_nothing_and_keeps_nobody_from_the_others(server: str, what: str) -> None:
    watched, experience = Watched(), Experience()
    limits = PollLimits(timeout_seconds=12.0, idle_seconds=600.0)
    now = asyncio.get_running_loop().time()
    for uid, path in (("bad", what), ("well", "good")):
        watched.note(uid, Target(f"{server}/{path}", "llamacpp"), now)
    watched.note("gone", Target("http://127.0.0.1:1/metrics", "llamacpp"), now)
    async with Poller(watched, experience, limits) as poller:
        await poller.ask_all()
    now = asyncio.get_running_loop().time()
    assert experience.load("well", now) == Load(running=1.0, waiting=3.0)
    assert experience.load("bad", now) == experience.load("gone", now) == Load()


def test_only_those_that_were_candidates_lately_are_asked_and_so_many_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sekisho.gateway.choosing.polling._MAX_TARGETS", 2)
    watched, target = Watched(), Target("http://127.0.0.1:1/", "vllm")
    for number, uid in enumerate(("a", "b", "a", "c")):
        watched.note(uid, target, 100.0 + number)
    assert list(watched.current(103.0, idle_seconds=30.0)) == ["a", "c"]
    assert list(watched.current(132.5, idle_seconds=30.0)) == ["c"]
    assert watched.current(200.0, idle_seconds=30.0) == {}


async def test_a_poller_outside_its_context_is_a_mistake_of_ours() -> None:
    watched = Watched()
    watched.note("a", Target("http://127.0.0.1:1/", "vllm"), asyncio.get_running_loop().time())
    with pytest.raises(RuntimeError, match="outside its context"):
        await Poller(watched, Experience(), PollLimits()).ask_all()
