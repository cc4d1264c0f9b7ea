"""Connections of callers over real sockets: one request at a time, and nobody holds one longer than is allowed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from sekisho.gateway.wire.connection import Connection, Host, Times
from sekisho.gateway.wire.heads import RequestHead, WireError

LONG = 600.0
PATIENT = Times(head=LONG, idle=LONG, linger=0.05)
GET = b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n"
Work = Callable[["Desk", Connection, RequestHead], Awaitable[None]]


@dataclass(eq=False)
class Desk:
    """Answers with what it was asked and what came as the body; notes what it saw."""

    work: Work
    seen: list[str] = field(default_factory=list)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    connections: set[Connection] = field(default_factory=set)
    all_gone: asyncio.Event = field(default_factory=asyncio.Event)
    port: int = 0

    async def serve(self, connection: Connection, head: RequestHead) -> None:
        self.seen.append(head.path)
        self.begun.set()
        try:
            await self.work(self, connection, head)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        except (WireError, ConnectionError, TimeoutError) as error:
            self.seen.append(type(error).__name__)
            connection.abort()

    def came(self, connection: Connection) -> bool:
        self.connections.add(connection)
        return True

    def left(self, connection: Connection) -> None:
        self.connections.discard(connection)
        self.all_gone.set()


async def echo(desk: Desk, connection: Connection, head: RequestHead) -> None:
    body = b""
    while chunk := await connection.read():
        body += chunk
    told = head.path.encode() + b" " + body
    connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(told), told))
    connection.finish(keep=head.framing.keeps)


async def refuse_unread(desk: Desk, connection: Connection, head: RequestHead) -> None:
    connection.write(b"HTTP/1.1 413 Too much\r\nContent-Length: 2\r\n\r\nno")
    connection.finish(keep=True)


async def wait_forever(desk: Desk, connection: Connection, head: RequestHead) -> None:
    await asyncio.Event().wait()


@asynccontextmanager
async def open_desk(work: Work = echo, times: Times = PATIENT) -> AsyncIterator[Desk]:
    desk = Desk(work)
    host = Host(times, desk.came, desk.left, desk.serve, lambda message: b"HTTP/1.1 400 Bad\r\n\r\n" + message.encode())
    server = await asyncio.get_running_loop().create_server(lambda: Connection(host), "127.0.0.1", 0)
    desk.port = server.sockets[0].getsockname()[1]
    try:
        yield desk
    finally:
        server.close()
        tasks = [item.task for item in desk.connections if item.task is not None]
        for item in list(desk.connections):
            item.abort()
        await asyncio.gather(*tasks, return_exceptions=True)
        while desk.connections:
            await asyncio.sleep(0)


@asynccontextmanager
async def call(desk: Desk) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", desk.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()
        await asyncio.gather(writer.wait_closed(), return_exceptions=True)


async def read_all(reader: asyncio.StreamReader) -> bytes:
    """Return what comes until the connection ends, whichever way it ends."""
    heard = b""
    try:
        async with asyncio.timeout(60):
            while data := await reader.read(1 << 16):
                heard += data
    except ConnectionError:
        pass
    return heard


async def until(is_so: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not is_so():
            await asyncio.sleep(0.005)


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /1 HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    "sent",
    [
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        POST + b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
        POST + b"Content-Length: 0, 5\r\n\r\n" + SMUGGLED,
        POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + SMUGGLED,
        POST + b"X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
        POST + b"X: y\nContent-Length: 3\r\n\r\n" + SMUGGLED,
        POST + b"X: y\rContent-Length: 3\r\n\r\n" + SMUGGLED,
        POST + b"X\0: y\r\n\r\n" + SMUGGLED,
        b"POST http://other/ HTTP/1.1\r\nHost: x\r\n\r\n" + SMUGGLED,
        b"CONNECT other:443 HTTP/1.1\r\nHost: x\r\n\r\n" + SMUGGLED,
        b"GET / HTTP/1.1\r\n\r\n" + SMUGGLED,
        b"GET /\n\n" + SMUGGLED,
        b"\r\n" + SMUGGLED,
        b"\x16\x03\x01\x02\x00\r\n\r\n" + SMUGGLED,
    ],
    ids=range(16),
)  # fmt: skip
async def test_what_is_no_plain_request_is_refused_and_nothing_after_it_is_read(sent: bytes) -> None:
    async with open_desk() as desk, call(desk) as (reader, writer):
        writer.write(sent)
        heard = await read_all(reader)
    assert heard.startswith(b"HTTP/1.1 400 Bad\r\n\r\n")
    assert heard.count(b"HTTP/1.1") <= 2  # the message of one refusal names it
    assert desk.seen == []


@pytest.mark.parametrize("body", [b"5\r\nhelloX\r\n", b"5;a=b\r\nhello\r\n", b"0\r\nX: y\r\n\r\n", b"zz\r\n"])
async def test_a_body_whose_chunks_are_malformed_ends_the_connection(body: bytes) -> None:
    async with open_desk() as desk, call(desk) as (reader, writer):
        writer.write(POST + b"Transfer-Encoding: chunked\r\n\r\n" + body + SMUGGLED)
        assert await read_all(reader) == b""
    assert desk.seen == ["/1", "WireError"]


async def test_requests_that_are_sent_ahead_are_answered_one_after_another() -> None:
    async with open_desk() as desk, call(desk) as (reader, writer):
        chunked = b"POST /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        writer.write(
            GET % 1 + POST + b"Content-Length: 3\r\n\r\nxyz" + chunked + GET % 2 + b"GET /last HTTP/1.0\r\n\r\n"
        )
        heard = await read_all(reader)
    assert [part.partition(b"\r\n\r\n")[2] for part in heard.split(b"HTTP/1.1 200 OK")[1:]] == [
        b"/1 ", b"/1 xyz", b"/b abc", b"/2 ", b"/last ",
    ]  # fmt: skip


async def test_a_request_that_comes_byte_by_byte_is_answered_and_the_connection_stays() -> None:
    async with open_desk() as desk, call(desk) as (reader, writer):
        for turn in range(2):
            for byte in POST + b"Content-Length: 2\r\n\r\nhi":
                writer.write(bytes((byte,)))
                await asyncio.sleep(0)
            assert (await asyncio.wait_for(reader.readuntil(b"hi"), 60)).endswith(b"/1 hi"), turn
    assert desk.seen == ["/1", "/1"]


async def test_what_is_sent_ahead_is_bounded() -> None:
    async with open_desk(wait_forever) as desk, call(desk) as (_, writer):
        writer.write(GET % 1)
        await until(desk.begun.is_set)
        (connection,) = desk.connections
        for _ in range(1000):
            writer.write(b"x" * 65536)
        await until(lambda: not connection.transport.is_reading())
        assert desk.seen == ["/1"]


async def test_a_caller_who_goes_while_it_is_not_read_on_cancels_the_work_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sekisho.gateway.wire.connection._LOOK_SECONDS", 0.02)
    async with open_desk(wait_forever) as desk:
        async with call(desk) as (_, writer):
            writer.write(GET % 1 + b"x" * (100 << 10))
            await asyncio.wait_for(desk.begun.wait(), 60)
            (connection,) = desk.connections
            await until(lambda: not connection.transport.is_reading())
        await asyncio.wait_for(desk.cancelled.wait(), 60)
        await asyncio.wait_for(desk.all_gone.wait(), 60)


async def test_a_body_that_nobody_reads_is_not_taken_and_one_that_is_read_is_taken_whole() -> None:
    go = asyncio.Event()

    async def read_late(desk: Desk, connection: Connection, head: RequestHead) -> None:
        await go.wait()
        size = 0
        while chunk := await connection.read():
            size += len(chunk)
        connection.write(b"%d\n" % size)
        connection.finish(keep=True)

    async with open_desk(read_late) as desk, call(desk) as (reader, writer):
        size = 8 << 20
        writer.write(POST + b"Content-Length: %d\r\n\r\n" % size + b"x" * size)
        await until(lambda: any(not item.transport.is_reading() for item in desk.connections))
        go.set()
        assert await asyncio.wait_for(reader.readline(), 60) == b"%d\n" % size
        writer.write(GET % 2)
        assert await asyncio.wait_for(reader.readline(), 60) == b"0\n"


async def test_a_refusal_is_read_by_a_caller_who_still_sends_and_the_connection_ends() -> None:
    async with open_desk(refuse_unread) as desk, call(desk) as (reader, writer):
        writer.write(POST + b"Content-Length: 100000000\r\n\r\n" + b"x" * 300_000)
        assert await asyncio.wait_for(reader.readuntil(b"no"), 60)
        await read_all(reader)
        assert desk.seen == ["/1"]


async def test_a_body_that_nobody_read_but_that_came_whole_does_not_end_the_connection() -> None:
    async with open_desk(refuse_unread) as desk, call(desk) as (reader, writer):
        for _ in range(2):
            writer.write(POST + b"Content-Length: 4\r\n\r\nbody")
            assert await asyncio.wait_for(reader.readuntil(b"no"), 60)
        assert desk.seen == ["/1", "/1"]


async def test_a_caller_who_waits_for_a_word_before_its_body_gets_it() -> None:
    async with open_desk() as desk, call(desk) as (reader, writer):
        writer.write(POST + b"Expect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60) == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"body")
        assert (await asyncio.wait_for(reader.readuntil(b"body"), 60)).startswith(b"HTTP/1.1 200 OK")
        writer.write(POST + b"Expect: 100-continue\r\nContent-Length: 4\r\n\r\nbody")
        assert (await asyncio.wait_for(reader.readuntil(b"body"), 60)).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize("sent", [b"", b"G", GET[:-2]], ids=range(3))
async def test_who_sends_no_whole_head_in_time_is_let_go(sent: bytes) -> None:
    async with open_desk(times=Times(head=0.05, idle=LONG)) as desk, call(desk) as (reader, writer):
        writer.write(sent)
        assert await read_all(reader) == b""
        await asyncio.wait_for(desk.all_gone.wait(), 60)


async def test_bytes_that_trickle_in_do_not_buy_time() -> None:
    async with open_desk(times=Times(head=0.2, idle=LONG)) as desk, call(desk) as (_, writer):
        writer.write(b"GET / HTTP/1.1\r\n")
        while not desk.all_gone.is_set():
            writer.write(b"X")
            await asyncio.sleep(0.02)
        assert desk.seen == []


async def test_a_second_head_has_its_time_too_and_between_two_there_is_more() -> None:
    times = Times(head=LONG, idle=LONG)
    async with open_desk(times=times) as desk, call(desk) as (reader, writer):
        writer.write(GET % 1)
        await asyncio.wait_for(reader.readuntil(b"/1 "), 60)
        object.__setattr__(times, "head", 0.01)
        await asyncio.sleep(0.05)
        writer.write(GET % 2)
        await asyncio.wait_for(reader.readuntil(b"/2 "), 60)
        writer.write(b"GET /3")
        assert await read_all(reader) == b""
    assert desk.seen == ["/1", "/2"]


async def test_a_connection_that_nobody_uses_is_ended() -> None:
    async with open_desk(times=Times(head=LONG, idle=0.05)) as desk, call(desk) as (reader, writer):
        writer.write(GET % 1)
        assert (await read_all(reader)).endswith(b"/1 ")


@pytest.mark.parametrize("sent", [GET % 1, POST + b"Content-Length: 9\r\n\r\nhalf"], ids=["asked", "asking"])
async def test_a_caller_who_goes_cancels_the_work_for_it(sent: bytes) -> None:
    async def wait(desk: Desk, connection: Connection, head: RequestHead) -> None:
        while await connection.read():
            pass
        await asyncio.Event().wait()

    async with open_desk(wait) as desk:
        async with call(desk) as (_, writer):
            writer.write(sent)
            await asyncio.wait_for(desk.begun.wait(), 60)
        await asyncio.wait_for(desk.cancelled.wait(), 60)
        await asyncio.wait_for(desk.all_gone.wait(), 60)


@pytest.mark.parametrize("reads", [True, False])
async def test_writing_waits_for_a_caller_who_reads_slowly_and_not_for_one_who_does_not(reads: bool) -> None:
    total, written, turns = 32 << 20, list[int](), 32 << 4

    async def flood(desk: Desk, connection: Connection, head: RequestHead) -> None:
        for _ in range(turns):
            connection.write(b"x" * 65536)
            written.append(connection.transport.get_write_buffer_size())
            await connection.drain(LONG if reads else 0.1)
        connection.finish(keep=False)

    async with open_desk(flood) as desk, call(desk) as (reader, writer):
        writer.write(GET % 1)
        if reads:
            while data := await asyncio.wait_for(reader.read(1 << 20), 60):
                total -= len(data)
            assert total == 0
        else:
            await asyncio.wait_for(desk.all_gone.wait(), 60)
            assert desk.seen == ["/1", "TimeoutError"]
            assert len(written) < turns
        assert max(written) < 1 << 20


async def test_a_caller_who_does_not_read_the_last_of_its_answers_does_not_keep_the_connection() -> None:
    async def fill(desk: Desk, connection: Connection, head: RequestHead) -> None:
        while not connection.transport.get_write_buffer_size():
            connection.write(b"x" * 65536)
        connection.finish(keep=False)

    async with open_desk(fill) as desk, call(desk) as (_, writer):
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(GET % 1)
        await asyncio.wait_for(desk.all_gone.wait(), 60)
        assert (desk.seen, desk.connections) == (["/1"], set())


async def test_nothing_can_be_written_once_the_caller_has_gone() -> None:
    async with open_desk(wait_forever) as desk:
        async with call(desk) as (_, writer):
            writer.write(GET % 1)
            await asyncio.wait_for(desk.begun.wait(), 60)
            (connection,) = desk.connections
        await asyncio.wait_for(desk.all_gone.wait(), 60)
        with pytest.raises(ConnectionResetError, match="the caller has gone"):
            connection.write(b"x")


@pytest.mark.slow
async def test_very_many_idle_connections_leave_the_next_caller_its_answer() -> None:
    async with open_desk() as desk:
        writers: list[asyncio.StreamWriter] = []
        try:
            while len(writers) < 1000:
                _, writer = await asyncio.open_connection("127.0.0.1", desk.port)
                writers.append(writer)
            await until(lambda: len(desk.connections) == 1000)
            async with call(desk) as (reader, writer):
                writer.write(GET % 1)
                assert (await asyncio.wait_for(reader.readuntil(b"/1 "), 60)).startswith(b"HTTP/1.1 200 OK")
        finally:
            for item in writers:
                item.transport.abort()
            await asyncio.gather(*(item.wait_closed() for item in writers), return_exceptions=True)
