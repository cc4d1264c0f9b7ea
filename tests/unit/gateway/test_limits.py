"""What bounds the gateway: counts, bytes, memories, and callers who are too slow."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from sekisho.errors import Reason, UnavailableError
from sekisho.gateway.admission import Admission, AdmissionLimits
from sekisho.gateway.caching import BriefCache
from sekisho.gateway.relay import HttpRelay
from tests.unit.gateway.engine import Engine, answer_well
from tests.unit.gateway.house import House, build_chat, build_house


def test_more_requests_than_possible_are_refused_and_counted_down_again() -> None:
    admission = Admission(AdmissionLimits(max_requests=1, max_requests_per_caller=1))
    with admission.enter(), admission.enter_caller("a"):
        with pytest.raises(UnavailableError) as refusal, admission.enter():
            pass
        assert refusal.value.reason is Reason.OVERLOADED
        assert refusal.value.message.startswith("1 requests are under way, 1 are possible")
        with pytest.raises(UnavailableError, match="1 requests of yours"), admission.enter_caller("a"):
            pass
        with admission.enter_caller("b"):
            pass
    with admission.enter(), admission.enter_caller("a"):
        assert admission.in_flight == 1
    assert admission.in_flight == 0


def test_more_bytes_of_bodies_than_possible_are_refused() -> None:
    admission = Admission(AdmissionLimits(max_buffered_bytes=100))
    admission.reserve(60)
    with pytest.raises(UnavailableError, match="60 bytes of bodies are held, 100 are possible"):
        admission.reserve(60)
    admission.release(60)
    admission.reserve(100)


async def test_answers_are_remembered_briefly_boundedly_and_failures_not_at_all() -> None:
    cache: BriefCache[int, int] = BriefCache(2)
    asked: list[int] = []

    async def ask(key: int, seconds: float = 60) -> int:
        async def answer() -> tuple[int, float]:
            asked.append(key)
            await asyncio.sleep(0)
            if key < 0:
                raise ValueError("no")
            return key, seconds

        return await cache.get(key, answer)

    assert set(await asyncio.gather(ask(1), ask(1), ask(1))) == {1}
    assert asked == [1]
    for key in (2, 3, 1):
        await ask(key)
    assert asked.count(1) == 2  # forgotten once two others were asked for
    assert len(cache) == 2
    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            await ask(-1)
    assert asked[-2:] == [-1, -1]
    await ask(9, 0)
    await ask(9, 0)
    assert asked[-2:] == [9, 9]


async def test_an_answer_is_known_without_asking_while_it_holds_and_a_refusal_to_answer_is_none() -> None:
    cache: BriefCache[int, bool | None] = BriefCache(2)

    async def keep(key: int, value: bool | None, seconds: float) -> None:
        async def answer() -> tuple[bool | None, float]:
            return value, seconds

        await cache.get(key, answer)

    assert cache.known(1) is None
    await keep(1, False, 60)
    await keep(2, True, 60)
    assert (cache.known(1), cache.known(2)) == (False, True)
    assert cache.known(1) is False  # used last, so the other is forgotten first
    await keep(3, None, 60)
    assert (cache.known(1), cache.known(2), cache.known(3)) == (False, None, None)
    await keep(4, True, 1e-9)
    assert cache.known(4) is None
    assert len(cache) == 1


async def test_whoever_asked_first_may_leave_and_the_others_get_their_answer() -> None:
    cache: BriefCache[int, str] = BriefCache(2)
    step = asyncio.Event()

    async def answer() -> tuple[str, float]:
        await step.wait()
        return "yes", 1

    first, second = (asyncio.create_task(cache.get(1, answer)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    step.set()
    assert await second == "yes"


@pytest.mark.parametrize("sent", [b"", b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-A: "])
async def test_a_connection_that_sends_no_whole_head_is_ended(tmp_path: Path, sent: bytes) -> None:
    async with build_house(tmp_path, head_seconds=3.0) as house:
        reader, writer = await asyncio.open_connection("127.0.0.1", house.gateway.ports.https, ssl=house.trust)
        writer.write(sent)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readexactly(1), 60)
        writer.close()
        assert (await house.chat()).status == 200


async def test_a_body_that_does_not_arrive_is_refused_in_time(tmp_path: Path) -> None:
    async with build_house(tmp_path, body_seconds=0.3) as house:
        reader, writer = await asyncio.open_connection("127.0.0.1", house.gateway.ports.https, ssl=house.trust)
        head = f"Authorization: Bearer {house.token}\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{{"
        writer.write(f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n{head}".encode())
        answer = await asyncio.wait_for(reader.readuntil(b"}}"), 60)
        writer.close()
        assert answer.startswith(b"HTTP/1.1 400")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["message"] == (
            "the body did not arrive within 0.3 s"
        )


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def connect(house: House) -> Streams:
    return await asyncio.open_connection("127.0.0.1", house.gateway.ports.https, ssl=house.trust)


async def ask(house: House, streams: Streams, token: str | None = None) -> bytes:
    """Ask for the models, and return the status line; the connection stays where the gateway keeps it."""
    reader, writer = streams
    token = house.token if token is None else token
    writer.write(f"GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
    async with asyncio.timeout(60):
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.split(b"\r\n") if line.startswith(b"Content-Length: "))
        await reader.readexactly(int(length[16:]))
    return head.partition(b"\r\n")[0]


async def is_ended(streams: Streams) -> bool:
    try:
        async with asyncio.timeout(60):
            return await streams[0].read(1) == b""
    except ConnectionError:
        return True


async def test_whoever_gives_no_name_does_not_keep_its_connection(tmp_path: Path) -> None:
    async with build_house(tmp_path) as house:
        stranger = await connect(house)
        assert await ask(house, stranger, "x") == b"HTTP/1.1 401 Unauthorized"
        assert await is_ended(stranger)
        stranger[1].close()


async def test_where_there_are_too_many_connections_strangers_make_way_first_the_oldest_before_others(
    tmp_path: Path,
) -> None:
    async with build_house(tmp_path, max_connections=3) as house:
        known = await connect(house)
        assert await ask(house, known) == b"HTTP/1.1 200 OK"
        older, newer = await connect(house), await connect(house)
        fourth = await connect(house)
        assert await is_ended(older)
        for streams in (newer, fourth, known):
            assert await ask(house, streams) == b"HTTP/1.1 200 OK"
        for streams in (known, older, newer, fourth):
            streams[1].close()


async def test_where_all_connections_are_known_the_one_that_rests_longest_makes_way(tmp_path: Path) -> None:
    async with build_house(tmp_path, max_connections=3) as house:
        first, second, third = [await connect(house) for _ in range(3)]
        for streams in (first, second, third, first):
            assert await ask(house, streams) == b"HTTP/1.1 200 OK"
        fourth = await connect(house)
        assert await is_ended(second)
        for streams in (fourth, first, third):
            assert await ask(house, streams) == b"HTTP/1.1 200 OK"
        for streams in (first, second, third, fourth):
            streams[1].close()


async def test_where_all_connections_are_at_work_one_more_is_ended(tmp_path: Path) -> None:
    started, go_on = asyncio.Event(), asyncio.Event()

    async def wait(engine: Engine, request: web.Request, body: Any) -> web.StreamResponse:
        started.set()
        await go_on.wait()
        return await answer_well(engine, request, body)

    async with build_house(tmp_path, max_connections=1) as house:
        house.engine.behave = wait
        asked = asyncio.create_task(house.chat())
        await asyncio.wait_for(started.wait(), 60)
        late = await connect(house)
        assert await is_ended(late)
        late[1].close()
        go_on.set()
        assert (await asked).status == 200


async def test_bodies_in_memory_are_bounded_over_all_callers(tmp_path: Path) -> None:
    async with build_house(tmp_path, max_buffered=2048) as house:
        answer = await house.chat(build_chat(messages=[{"role": "user", "content": "x" * 4000}]))
        assert (answer.status, answer.code) == (429, "overloaded")
        assert "2048 are possible" in answer.message
        assert (await house.chat()).status == 200


async def test_a_failure_that_nobody_foresaw_tells_nothing_of_the_request(
    house: House, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: HttpRelay, *what: object, **__: object) -> None:
        raise RuntimeError(f"nobody foresaw this: {what!r}")

    monkeypatch.setattr(HttpRelay, "relay", fail)
    answer = await house.chat()
    assert (answer.status, answer.code) == (500, "internal_error")
    assert "秘密" not in answer.text
    assert "What is a class" not in caplog.text
