"""What callers see of HTTP itself: how answers are framed, what is no request, what becomes of connections."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from sekisho.errors import SekishoError
from sekisho.gateway.admission import Admission, AdmissionLimits
from sekisho.gateway.front import Call, Front
from sekisho.gateway.relay import Sink
from sekisho.gateway.server import HttpServer, WireLimits
from tests.unit.gateway.house import House, build_chat

LIMITS = WireLimits(1000, max_connections=100, head_seconds=60.0, body_seconds=60.0, stall_seconds=60.0)
ASKED = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
TOO_LARGE = "RequestTooLarge: the body is larger than 1000 bytes, which is what may be sent; send less"
SENT = {
    "Server", "Date", "Content-Type", "Cache-Control", "X-Request-Id", "Content-Length", "Retry-After",
    "WWW-Authenticate", "Connection",
}  # fmt: skip
Answering = Callable[[Call, Sink, Admission], Awaitable[None]]


class Desk:
    """Stands for what decides."""

    def __init__(self, answering: Answering, admission: Admission) -> None:
        self._answering = answering
        self._admission = admission

    async def answer(self, call: Call, sink: Sink, *, request_id: str) -> None:
        try:
            with self._admission.enter():
                await self._answering(call, sink, self._admission)
        except SekishoError as error:
            told = f"{error.reason}: {error.message}".encode()
            await sink.begin(413 if "large" in error.message else 400, "text/plain", length=len(told))
            await sink.write(told)
            await sink.end()


async def echo(call: Call, sink: Sink, admission: Admission) -> None:
    body = await call.read_body(admission)
    await sink.begin(200, "text/plain", length=len(body))
    await sink.write(body)
    await sink.end()


async def stream(call: Call, sink: Sink, admission: Admission) -> None:
    await sink.begin(200, "text/event-stream", headers={"sekisho-receipt": "r"})
    for piece in (b"data: a\n\n", b"", b"data: b\n\n"):
        await sink.write(piece)
    await sink.end()


async def refuse(call: Call, sink: Sink, admission: Admission) -> None:
    await sink.begin(401, "application/json", length=2, retry_seconds=7)
    await sink.write(b"{}")
    await sink.end()


@asynccontextmanager
async def open_server(answering: Answering, limits: WireLimits = LIMITS) -> AsyncIterator[tuple[HttpServer, int]]:
    admission = Admission(AdmissionLimits())
    server = HttpServer(cast("Front", Desk(answering, admission)), admission, limits)
    port = await server.start("127.0.0.1", 0, tls=None)
    try:
        yield server, port
    finally:
        await server.drain(delay_seconds=0, seconds=0)


@asynccontextmanager
async def call(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def read_answer(reader: asyncio.StreamReader) -> tuple[str, Mapping[str, str], bytes]:
    """Return the status line, the headers, and a body that is told by its length."""
    async with asyncio.timeout(60):
        line, *fields = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        headers = dict(field.split(": ", 1) for field in fields)
        return line, headers, await reader.readexactly(int(headers.get("Content-Length", 0)))


async def ask(port: int, request: bytes) -> tuple[str, Mapping[str, str], bytes]:
    async with call(port) as (reader, writer):
        writer.write(request)
        return await read_answer(reader)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (b"", "Content-Type must be application/json in UTF-8"),
        (b"Content-Type: text/plain\r\n", "Content-Type must be application/json in UTF-8"),
        (b"Content-Type: application/json; charset=latin-1\r\n", "Content-Type must be application/json in UTF-8"),
        (b"Content-Type: application/json\r\n" * 2, "Content-Type must be application/json in UTF-8"),
        (b"Content-Type: application/json\r\nContent-Encoding: gzip\r\n", "Content-Encoding must not be used"),
        (b"Content-Type: application/json\r\nContent-Encoding: identity\r\n", None),
        (b"Content-Type: Application/JSON; Charset=UTF-8\r\n", None),
        (b'Content-Type: application/json;charset="utf-8"; x=y\r\n', None),
    ],
    ids=range(8),
)  # fmt: skip
async def test_a_body_is_json_in_utf_8_or_refused(kind: bytes, message: str | None) -> None:
    async with open_server(echo) as (_, port):
        line, _, body = await ask(port, b"POST / HTTP/1.1\r\nHost: x\r\n" + kind + b"Content-Length: 2\r\n\r\n{}")
    assert line == ("HTTP/1.1 400 Bad Request" if message else "HTTP/1.1 200 OK")
    assert body.decode() == (f"RequestInvalid: {message}" if message else "{}")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        (b"Content-Length: 1001\r\n\r\n", TOO_LARGE),
        (b"Transfer-Encoding: chunked\r\n\r\n3e9\r\n" + b"x" * 1001 + b"\r\n", TOO_LARGE),
        (b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", "RequestInvalid: the body did not arrive whole"),
    ],
    ids=["told", "sent", "malformed"],
)  # fmt: skip
async def test_a_body_that_is_too_large_or_malformed_is_refused_and_ends_the_connection(
    how: bytes, message: str
) -> None:
    async with open_server(echo) as (_, port):
        _, headers, body = await ask(port, ASKED + how)
    assert body.decode() == message
    assert headers["Connection"] == "close"


async def test_a_body_of_many_records_comes_whole(house: House) -> None:
    text = "x" * 300_000
    answer = await house.chat(build_chat(messages=[{"role": "user", "content": text}]))
    assert answer.status == 200
    ((_, body),) = house.engine.requests
    assert body["messages"][0]["content"] == text


async def test_what_is_no_request_is_refused_in_words_and_ends_the_connection() -> None:
    async with open_server(echo) as (_, port):
        line, headers, body = await ask(port, ASKED + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}")
    assert line == "HTTP/1.1 400 Bad Request"
    assert (headers["Connection"], headers["Content-Type"], headers["Server"]) == (
        "close",
        "application/json",
        "sekisho",
    )
    error = json.loads(body)["error"]
    assert (error["code"], error["type"]) == ("request_invalid", "invalid_request_error")
    assert error["message"] == (
        "this is not HTTP as it is taken here: Content-Length must stand once and be a plain number"
    )


async def test_an_answer_says_whose_it_is_and_that_it_is_not_to_be_kept() -> None:
    ids = set()
    for _ in range(2):
        async with open_server(refuse) as (_, port), call(port) as (reader, writer):
            writer.write(ASKED + b"\r\n")
            line, headers, body = await read_answer(reader)
            assert (line, body) == ("HTTP/1.1 401 Unauthorized", b"{}")
            assert headers.keys() == SENT
            assert (headers["Server"], headers["Cache-Control"]) == ("sekisho", "no-store")
            assert (headers["Retry-After"], headers["WWW-Authenticate"]) == ("7", "Bearer")
            assert headers["Connection"] == "close"
            ids.add(headers["X-Request-Id"])
    assert len(ids) == 2


async def test_a_stream_comes_in_chunks_and_to_old_callers_until_the_connection_ends() -> None:
    async with open_server(stream) as (_, port):
        async with call(port) as (reader, writer):
            writer.write(ASKED + b"\r\n")
            _, headers, _ = await read_answer(reader)
            assert headers["sekisho-receipt"] == "r"
            assert "Content-Length" not in headers
            told = await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 60)
            assert told == b"9\r\ndata: a\n\n\r\n9\r\ndata: b\n\n\r\n0\r\n\r\n"
        async with call(port) as (reader, writer):
            writer.write(b"POST / HTTP/1.0\r\n\r\n")
            _, headers, _ = await read_answer(reader)
            assert headers["Connection"] == "close"
            assert await asyncio.wait_for(reader.read(), 60) == b"data: a\n\ndata: b\n\n"


@pytest.mark.parametrize("answering", [echo, stream])
async def test_who_asks_for_the_head_gets_no_body(answering: Answering) -> None:
    async with open_server(answering) as (_, port), call(port) as (reader, writer):
        writer.write(b"HEAD /v1/models HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
        for _ in range(2):
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
            assert head.startswith(b"HTTP/1.1 ")


async def test_a_header_that_would_end_its_line_is_never_sent(caplog: pytest.LogCaptureFixture) -> None:
    async def split(call: Call, sink: Sink, admission: Admission) -> None:
        await sink.begin(200, "text/plain", length=0, headers={"a": "b\r\nSet-Cookie: c"})
        await sink.end()

    async with open_server(split) as (_, port):
        line, headers, body = await ask(port, ASKED + b"\r\n")
    assert line == "HTTP/1.1 500 Internal Server Error"
    assert json.loads(body)["error"]["code"] == "internal_error"
    assert "Set-Cookie" not in headers
    assert "Set-Cookie" not in caplog.text


async def test_an_answer_that_fails_once_begun_is_cut_off() -> None:
    async def fail(call: Call, sink: Sink, admission: Admission) -> None:
        await sink.begin(200, "text/plain")
        await sink.write(b"half")
        raise ZeroDivisionError

    async with open_server(fail) as (_, port), call(port) as (reader, writer):
        writer.write(ASKED + b"\r\n")
        heard = b""
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            heard += await asyncio.wait_for(reader.readuntil(b"0\r\n\r\n"), 60)
        assert heard == b""


async def test_a_replica_that_is_about_to_end_says_so_with_its_answers_and_ends_idle_connections() -> None:
    async with open_server(echo) as (server, port), call(port) as (reader, writer):
        request = ASKED + b"Content-Length: 2\r\n\r\n{}"
        writer.write(request)
        assert "Connection" not in (await read_answer(reader))[1]
        async with call(port) as (idle, _):
            server.draining = True
            writer.write(request)
            assert (await read_answer(reader))[1]["Connection"] == "close"
            assert await asyncio.wait_for(reader.read(), 60) == b""
            await server.drain(delay_seconds=0, seconds=60)
            assert await asyncio.wait_for(idle.read(), 60) == b""


@pytest.mark.slow
async def test_work_that_does_not_end_is_cancelled_when_the_time_to_drain_is_over() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def work(call: Call, sink: Sink, admission: Admission) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with open_server(work) as (server, port), call(port) as (reader, writer):
        writer.write(ASKED + b"\r\n")
        await asyncio.wait_for(begun.wait(), 60)
        await server.drain(delay_seconds=0, seconds=0.05)
        assert ended.is_set()
        heard: list[Any] = await asyncio.gather(reader.read(), return_exceptions=True)
        assert heard[0] == b"" or isinstance(heard[0], ConnectionError)
