"""What happens between caller and engine: streams, failures, slow ones, callers who leave."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from sekisho.errors import Reason, UnavailableError
from sekisho.gateway.decide import Backend
from sekisho.gateway.relay import HttpRelay, Outcome, RelayLimits
from tests.unit.gateway.engine import Engine, answer_well, begin_stream, chunk_of, spell_event
from tests.unit.gateway.house import MODEL, USER, House, build_chat, build_house
from tests.unit.recording.reading import read_record

STREAM = build_chat(stream=True)


def events_of(text: str) -> list[str]:
    return [part.removeprefix("data: ") for part in text.split("\n\n") if part]


async def test_an_engine_that_is_down_is_told_and_recorded(house: House) -> None:
    await house.engine.stop()
    answer = await house.chat()
    assert (answer.status, answer.code) == (502, "upstream_failed")
    assert answer.message == f"the engine of {MODEL} could not be reached; try again shortly"
    request, completion = await house.entries()
    assert request["decision"] == "relayed"
    assert (completion["ended"], completion["reason"], completion["status"]) == ("failed", "UpstreamFailed", 502)


async def test_an_engine_that_is_silent_is_given_up_after_the_time_set(tmp_path: Path) -> None:
    async def sleep(_: Engine, __: web.Request, ___: Any) -> web.StreamResponse:
        await asyncio.sleep(60)
        return web.Response()

    async with build_house(tmp_path, answer_seconds=0.3) as house:
        house.engine.behave = sleep
        answer = await house.chat()
        assert (answer.status, answer.code) == (504, "upstream_timeout")
        await asyncio.wait_for(house.engine.left.wait(), 60)


async def test_an_engine_that_has_as_many_requests_as_it_may_have_is_overloaded_not_out_of_reach() -> None:
    async def sleep(_: Engine, __: web.Request, ___: Any) -> web.StreamResponse:
        await asyncio.sleep(60)
        return web.Response()

    limits = RelayLimits(connections_per_backend=1)
    async with Engine(sleep) as engine, HttpRelay(limits) as relay:
        nowhere: Any = None  # nothing is answered

        async def ask() -> None:
            backend, body = Backend("127.0.0.1", engine.port, MODEL), json.dumps(build_chat()).encode()
            await relay.relay(backend, "/v1/chat/completions", body, nowhere, stream=False, outcome=Outcome())

        first = asyncio.create_task(ask())
        async with asyncio.timeout(60):
            while not engine.under_way:
                await asyncio.sleep(0.01)
        object.__setattr__(relay._pool._limits, "connect_seconds", 0.05)  # not before: to connect may take longer
        with pytest.raises(UnavailableError) as refusal:
            await ask()
        assert refusal.value.reason is Reason.OVERLOADED
        assert refusal.value.message.startswith(f"the engine of {MODEL} has 1 requests of this gateway under way")
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)


async def test_a_stream_that_stalls_ends_with_an_error_event(tmp_path: Path) -> None:
    async def stall(_: Engine, request: web.Request, body: Any) -> web.StreamResponse:
        response = await begin_stream(request)
        await response.write(spell_event(chunk_of("a", body["model"])))
        await asyncio.sleep(60)
        return response

    async with build_house(tmp_path, idle_seconds=0.3) as house:
        house.engine.behave = stall
        answer = await house.chat(STREAM)
        assert answer.status == 200
        assert json.loads(events_of(answer.text)[-1])["error"]["code"] == "upstream_timeout"


@pytest.mark.parametrize("half", [b"", b'data: {"choices":[{"del'])
async def test_an_engine_that_dies_in_a_stream_ends_it_with_one_error_and_no_half_event(
    house: House, half: bytes
) -> None:
    arrived = asyncio.Event()

    async def die(_: Engine, request: web.Request, body: Any) -> web.StreamResponse:
        response = await begin_stream(request)
        await response.write(spell_event(chunk_of("a", body["model"])) + half)
        await arrived.wait()
        assert request.transport is not None
        request.transport.abort()
        return response

    house.engine.behave = die
    headers = {"Authorization": f"Bearer {house.token}"}
    async with house.session.post(house.url + "/v1/chat/completions", json=STREAM, headers=headers) as response:
        begun = await response.content.readuntil(b"\n\n")
        arrived.set()
        first, last = events_of((begun + await response.content.read()).decode())
    assert json.loads(first)["choices"]
    assert json.loads(last)["error"]["code"] == "upstream_failed"
    assert json.loads(last)["error"]["message"] == f"the engine of {MODEL} ended in the middle of its answer"
    assert (await house.entries())[-1]["ended"] == "failed"


@pytest.mark.parametrize("said", ["a", "[DONE]"])
async def test_a_stream_that_ends_without_its_last_word_is_an_error(house: House, said: str) -> None:
    async def stop_early(_: Engine, request: web.Request, body: Any) -> web.StreamResponse:
        response = await begin_stream(request)
        await response.write(spell_event(chunk_of(said, body["model"])))
        return response

    house.engine.behave = stop_early
    assert json.loads(events_of((await house.chat(STREAM)).text)[-1])["error"]["code"] == "upstream_failed"


async def test_an_engine_that_dies_in_an_answer_is_a_clean_error(house: House) -> None:
    async def die(_: Engine, request: web.Request, __: Any) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        await response.write(b'{"choices":[')
        await asyncio.sleep(0.05)
        assert request.transport is not None
        request.transport.abort()
        return response

    house.engine.behave = die
    answer = await house.chat()
    assert (answer.status, answer.code) == (502, "upstream_failed")


@pytest.mark.parametrize(("said", "told"), [(b'{"choices":[{"index":0}', 502), (b'{"choices":[]}', 200)])
async def test_an_answer_without_length_is_passed_on_where_it_is_whole(house: House, said: bytes, told: int) -> None:
    async def say(_: Engine, request: web.Request, __: Any) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + said)
        request.transport.close()
        return web.Response()

    house.engine.behave = say
    answer = await house.chat()
    assert answer.status == told
    if told == 200:
        assert answer.text.encode() == said
    else:
        assert answer.message == f"the engine of {MODEL} ended in the middle of its answer"


@pytest.mark.parametrize(
    ("status", "body", "told", "code", "said"),
    [
        (400, '{"error":{"message":"long\\ntokens"}}', 400, "request_invalid", "refused the request: long tokens"),
        (400, "nonsense", 400, "request_invalid", "refused the request: status 400"),
        (500, "Traceback: secret", 502, "upstream_failed", "answered with status 500"),
        (404, "{}", 502, "upstream_failed", "answered with status 404"),
        (302, "", 502, "upstream_failed", "answered with status 302"),
        (503, "{}", 429, "overloaded", "is overloaded (status 503)"),
        (200, "<html>", 502, "upstream_failed", "did not answer with a JSON object"),
    ],
)  # fmt: skip
async def test_what_an_engine_answers_amiss_is_told_in_our_words(
    house: House, status: int, body: str, told: int, code: str, said: str
) -> None:
    async def misbehave(_: Engine, __: web.Request, ___: Any) -> web.StreamResponse:
        headers = {"Location": "http://169.254.169.254/"} if status == 302 else {}
        return web.Response(status=status, text=body, content_type="application/json", headers=headers)

    house.engine.behave = misbehave
    answer = await house.chat()
    assert (answer.status, answer.code) == (told, code)
    assert said in answer.message
    assert "secret" not in answer.text


@pytest.mark.parametrize(("kind", "told"), [("text/html", "text/html"), ("secret/word", "something else")])
async def test_a_stream_of_another_type_is_an_error_in_our_words(house: House, kind: str, told: str) -> None:
    async def misbehave(_: Engine, __: web.Request, ___: Any) -> web.StreamResponse:
        return web.Response(text="<html>", content_type=kind)

    house.engine.behave = misbehave
    answer = await house.chat(STREAM)
    assert (answer.status, answer.code) == (502, "upstream_failed")
    assert f"answered with {told}, text/event-stream was expected" in answer.message


async def test_an_answer_and_an_event_without_end_are_cut_off(tmp_path: Path) -> None:
    async def flood(engine: Engine, request: web.Request, body: Any) -> web.StreamResponse:
        kind = "text/event-stream" if body["stream"] else "application/json"
        response = web.StreamResponse(headers={"Content-Type": kind})
        await response.prepare(request)
        while True:
            await response.write(b"{" + b"x" * 65536)

    async with build_house(tmp_path, max_answer=1 << 20) as house:
        house.engine.behave = flood
        answer = await house.chat()
        assert (answer.status, answer.code) == (502, "upstream_failed")
        assert "more than 1048576 bytes" in answer.message
        answer = await house.chat(STREAM)
        assert (answer.status, answer.code) == (502, "upstream_failed")
        assert "an event longer than 262144 bytes" in answer.message


async def test_a_stream_of_good_words_without_end_ends_with_an_error_event(tmp_path: Path) -> None:
    async def flood(_: Engine, request: web.Request, body: Any) -> web.StreamResponse:
        response = await begin_stream(request)
        while True:
            await response.write(spell_event(chunk_of("word " * 2000, body["model"])))

    async with build_house(tmp_path, max_stream=1 << 20) as house:
        house.engine.behave = flood
        answer = await house.chat(STREAM)
        assert answer.status == 200
        error = json.loads(events_of(answer.text)[-1])["error"]
        assert error["code"] == "upstream_failed"
        assert error["message"] == "the engine sent a stream of more than 1048576 bytes; the answer ends"
        assert len(answer.text) < 2 << 20
        await asyncio.wait_for(house.engine.left.wait(), 60)


async def test_nothing_of_the_caller_reaches_the_engine_and_no_header_of_the_engine_comes_back(house: House) -> None:
    headers = {"Cookie": "s=1", "X-Forwarded-For": "10.0.0.9", "X-Secret": "x", "traceparent": "00-1-2-01"}
    answer = await house.chat(build_chat(user="alice"), headers=headers)
    ((sent, body),) = house.engine.requests
    assert sent.keys() == {"Host", "Content-Type", "Content-Length", "Accept", "Accept-Encoding", "User-Agent"}
    assert body == build_chat(stream=False)
    assert not {"X-Node", "Set-Cookie"} & answer.headers.keys()
    assert answer.headers["Server"] == "sekisho"
    assert house.resolver.names == []


async def test_a_request_is_recorded_before_the_engine_sees_it(house: House) -> None:
    seen: list[int] = []

    async def look(engine: Engine, request: web.Request, body: Any) -> web.StreamResponse:
        entries = read_record(house.folder / "record")
        seen.extend(number for number, entry in enumerate(entries) if entry.get("decision") == "relayed")
        return await answer_well(engine, request, body)

    house.engine.behave = look
    assert (await house.chat()).status == 200
    assert seen == [1]
    request, completion = await house.entries()
    assert request["id"] == completion["id"]
    assert request["caller"] == {"username": USER, "uid": f"uid-{USER}"}
    assert (completion["ended"], completion["tokens"]) == ("relayed", {"prompt": 7, "completion": 5})


async def test_each_event_arrives_when_it_is_said_not_at_the_end(house: House) -> None:
    step = asyncio.Event()

    async def wait(_: Engine, request: web.Request, body: Any) -> web.StreamResponse:
        response = await begin_stream(request)
        await response.write(spell_event(chunk_of("first", body["model"])))
        await step.wait()
        await response.write(spell_event(b"[DONE]"))
        return response

    house.engine.behave = wait
    headers = {"Authorization": f"Bearer {house.token}"}
    async with house.session.post(house.url + "/v1/chat/completions", json=STREAM, headers=headers) as response:
        assert b"first" in await asyncio.wait_for(response.content.readuntil(b"\n\n"), 60)
        step.set()
        assert await response.content.read() == b"data: [DONE]\n\n"


@pytest.mark.parametrize("stream", [True, False])
async def test_a_caller_who_leaves_cancels_the_engine(house: House, stream: bool) -> None:
    async def talk(engine: Engine, request: web.Request, body: Any) -> web.StreamResponse:
        if not stream:
            await asyncio.sleep(60)
        response = await begin_stream(request)
        while True:
            await response.write(spell_event(chunk_of("a", body["model"])))
            await asyncio.sleep(0.02)

    house.engine.behave = talk
    headers = {"Authorization": f"Bearer {house.token}"}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=house.trust)) as leaving:
        call = leaving.post(house.url + "/v1/chat/completions", json=build_chat(stream=stream), headers=headers)
        if stream:
            async with call as response:
                await response.content.readuntil(b"\n\n")
        else:
            task = asyncio.create_task(call._coro)
            await house.settle(lambda: house.engine.under_way, what="the engine to be asked")
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    await asyncio.wait_for(house.engine.left.wait(), 60)
    assert (await house.entries())[-1]["ended"] == "cancelled"
    assert "sekisho_gateway_in_flight 0" in house.metrics()


@pytest.mark.slow
async def test_a_caller_who_does_not_read_slows_the_engine_and_is_given_up(tmp_path: Path) -> None:
    async def flood(engine: Engine, request: web.Request, body: Any) -> web.StreamResponse:
        response = await begin_stream(request)
        event = spell_event(chunk_of("x" * 60000, body["model"]))
        for _ in range(2000):
            await response.write(event)
            engine.pause_seconds += len(event)
        return response

    async with build_house(tmp_path, caller_stall_seconds=1.0) as house:
        house.engine.behave = flood
        headers = {"Authorization": f"Bearer {house.token}"}
        async with house.session.post(house.url + "/v1/chat/completions", json=STREAM, headers=headers):
            await asyncio.wait_for(house.engine.left.wait(), 60)
        assert house.engine.pause_seconds < 40 << 20
        assert (await house.entries())[-1]["ended"] == "cancelled"


@pytest.mark.slow
async def test_many_streams_at_once_are_carried_whole(tmp_path: Path) -> None:
    async with build_house(tmp_path, max_requests_per_caller=300) as house:
        house.engine.pause_seconds = 0.01
        answers = await asyncio.gather(*(house.chat(STREAM) for _ in range(200)))
        assert {answer.status for answer in answers} == {200}
        (text,) = {answer.text for answer in answers}
        assert events_of(text)[-1] == "[DONE]"
        entries = await house.entries()
        assert len([item for item in entries if item["kind"] == "completion"]) == 200


@pytest.mark.slow
async def test_a_replica_that_ends_lets_streams_end_and_takes_no_new_connections(tmp_path: Path) -> None:
    async with build_house(tmp_path, drain_seconds=60) as house:
        house.engine.pause_seconds = 0.1
        running = asyncio.create_task(house.chat(STREAM))
        await house.settle(lambda: house.engine.under_way, what="the stream to begin")
        await house.gateway.__aexit__(None, None, None)
        answer = await running
        assert events_of(answer.text)[-1] == "[DONE]"
        assert (await house.entries())[-1]["ended"] == "relayed"
        with pytest.raises(aiohttp.ClientConnectorError):
            await house.chat()
