"""Connections to engines, some of which speak no HTTP, hang up, or say more than they were asked."""

import asyncio
import os
import select
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from sekisho.gateway.wire.heads import WireError
from sekisho.gateway.wire.upstream import (
    Line,
    NoRoomError,
    NotReachedError,
    Pool,
    PoolLimits,
    SystemResolver,
)

ASKED = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n"
FINE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HOST = "engine.test.svc"
Speak = Callable[["Engine", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(eq=False)
class Engine:
    """Speaks bytes; also the resolver of its own name, and of none else."""

    speak: Speak
    port: int = 0
    connections: int = 0
    requests: int = 0
    lookups: int = 0
    addresses: list[str] = field(default_factory=lambda: ["127.0.0.1"])
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def resolve(self, host: str, port: int) -> list[str]:
        self.lookups += 1
        if host != HOST:
            raise OSError("no such name")
        return self.addresses

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self.speak(self, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.gone.set()
            writer.transport.abort()


async def hear(engine: Engine, reader: asyncio.StreamReader) -> None:
    await reader.readuntil(b"\r\n\r\n")
    await reader.readexactly(2)
    engine.requests += 1


def saying(*answers: bytes, then_close: bool = False) -> Speak:
    """Answer each request of a connection with the next of these bytes, and then no more."""

    async def speak(engine: Engine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await hear(engine, reader)
            writer.write(answer)
            await writer.drain()
        if then_close:
            writer.close()
            await writer.wait_closed()
        await reader.read()

    return speak


@asynccontextmanager
async def open_engine(speak: Speak, **limits: float) -> AsyncIterator[tuple[Engine, Pool]]:
    engine, tasks, writers = Engine(speak), set[asyncio.Task[None]](), list[asyncio.StreamWriter]()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        tasks.add(asyncio.create_task(engine.handle(reader, writer)))

    server = await asyncio.start_server(begin, "127.0.0.1", 0, limit=1 << 20)
    engine.port = server.sockets[0].getsockname()[1]
    pool = Pool(PoolLimits(**{"keep_seconds": 600.0, "connect_seconds": 30.0, **limits}), engine)  # type: ignore[arg-type]
    try:
        yield engine, pool
    finally:
        await pool.close()
        server.close()
        for _ in range(5):
            await asyncio.sleep(0)  # who was taken in a moment ago is begun with
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in writers:  # a task that is cancelled before it begins ends nothing
            writer.transport.abort()


async def read_all(line: Line) -> bytes:
    body = b""
    while data := await line.read():
        body += data
    return body


async def ask(engine: Engine, pool: Pool, *, body: bytes = b"hi") -> tuple[int, bytes]:
    line = await pool.take(HOST, engine.port)
    try:
        async with asyncio.timeout(60):
            head = await line.ask(ASKED, body)
            return head.status, await read_all(line)
    finally:
        pool.give(HOST, engine.port, line)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "the status line is not HTTP/1.1 STATUS"),
        (b"HTTP/1.1 200 OK\r\nX: y\r\n folded\r\n\r\n", "field 2 of the head is malformed or longer than 16384 bytes"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 40000, "the head is longer than 32768 bytes"),
        (b"HTTP/1.1 200 OK\n\n", "a line of the head ends with a bare LF"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "Content-Length must stand once"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "Transfer-Encoding must stand once"),
        (b"HTTP/1.1 101 Switching\r\n\r\n", "there are too many interim answers, or one that changes the protocol"),
        (b"HTTP/1.1 103 Hints\r\n\r\n" * 9, "there are too many interim answers, or one that changes the protocol"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "a chunk's size is malformed"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n", "a chunk is longer or shorter"),
    ],
    ids=range(10),
)  # fmt: skip
async def test_an_engine_that_speaks_no_plain_http_is_hung_up_on(answer: bytes, message: str) -> None:
    async with open_engine(saying(answer)) as (engine, pool):
        with pytest.raises(WireError) as refusal:
            await ask(engine, pool)
        assert str(refusal.value).startswith(message)
        await asyncio.wait_for(engine.gone.wait(), 60)
        assert (engine.connections, engine.requests) == (1, 1)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ],
    ids=range(5),
)
async def test_a_request_whose_engine_hangs_up_is_never_sent_again(answer: bytes) -> None:
    async with open_engine(saying(answer, then_close=True)) as (engine, pool):
        with pytest.raises(ConnectionResetError):
            await ask(engine, pool)
        assert (engine.connections, engine.requests) == (1, 1)


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (FINE, b"ok"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" + FINE, b"ok"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", b"ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    ],
    ids=["length", "interim", "chunks", "nothing"],
)
async def test_a_connection_whose_answer_was_read_whole_is_used_again(answer: bytes, body: bytes) -> None:
    async with open_engine(saying(*[answer] * 3)) as (engine, pool):
        for _ in range(3):
            assert (await ask(engine, pool))[1] == body
        assert (engine.connections, engine.requests, engine.lookups) == (1, 3, 1)


@pytest.mark.parametrize(
    "answer",
    [
        FINE + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    ],
    ids=["says-more", "closes", "old"],
)
async def test_a_connection_that_may_not_be_used_again_is_not(answer: bytes) -> None:
    async with open_engine(saying(answer, answer)) as (engine, pool):
        for turn in (1, 2):
            assert await ask(engine, pool) == (200, b"ok")
            assert (engine.connections, engine.requests) == (turn, turn)


async def test_an_answer_without_length_ends_with_its_connection() -> None:
    async with open_engine(saying(b"HTTP/1.1 200 OK\r\n\r\nok", then_close=True)) as (engine, pool):
        for turn in (1, 2):
            assert await ask(engine, pool) == (200, b"ok")
            assert engine.connections == turn


async def test_an_answer_without_length_is_not_whole_where_its_connection_breaks() -> None:
    go = asyncio.Event()

    async def speak(engine: Engine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await hear(engine, reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        await go.wait()
        # Closed so, it is reset.
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async with open_engine(speak) as (engine, pool):
        line = await pool.take(HOST, engine.port)
        await line.ask(ASKED, b"hi")
        assert await line.read() == b"half"
        go.set()
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(line.read(), 60)
        assert not line.may_keep
        pool.give(HOST, engine.port, line)


@pytest.mark.parametrize("late", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"], ids=["end", "more"])
async def test_a_kept_connection_on_which_anything_came_is_never_used(late: bytes) -> None:
    far: list[int] = []

    async def speak(engine: Engine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await hear(engine, reader)
        writer.write(FINE)
        far.append(writer.get_extra_info("socket").fileno())
        await reader.read()

    async with open_engine(speak) as (engine, pool):
        line = await pool.take(HOST, engine.port)
        assert (await line.ask(ASKED, b"hi")).status == 200
        assert await read_all(line) == b"ok"
        pool.give(HOST, engine.port, line)
        # It comes now, when the loop has no chance to look: the pool does.
        if late:
            os.write(far[0], late)
        else:
            with socket.socket(fileno=os.dup(far[0])) as end:
                end.shutdown(socket.SHUT_WR)
        assert select.select([line.transport.get_extra_info("socket").fileno()], [], [], 60)[0]
        assert await ask(engine, pool) == (200, b"ok")
        assert (engine.connections, engine.requests) == (2, 2)


async def test_a_connection_is_cut_where_nobody_reads_the_answer_to_its_end() -> None:
    async with open_engine(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhalf")) as (engine, pool):
        line = await pool.take(HOST, engine.port)
        assert (await line.ask(ASKED, b"hi")).status == 200
        pool.give(HOST, engine.port, line)
        await asyncio.wait_for(engine.gone.wait(), 60)


async def test_a_connection_that_nobody_uses_is_ended() -> None:
    async with open_engine(saying(FINE), keep_seconds=0.05) as (engine, pool):
        assert await ask(engine, pool) == (200, b"ok")
        await asyncio.wait_for(engine.gone.wait(), 60)


async def test_an_engine_that_floods_is_held_up_while_nobody_reads() -> None:
    sent = 0

    async def flood(engine: Engine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await hear(engine, reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            sent += 65536
            await writer.drain()

    async with open_engine(flood) as (engine, pool):
        line = await pool.take(HOST, engine.port)
        await line.ask(ASKED, b"hi")
        async with asyncio.timeout(60):
            while line.transport.is_reading():
                await asyncio.sleep(0.005)
            read = len(await line.read())
            assert read <= (256 << 10) + (1 << 20)
            while read < 8 << 20:
                read += len(await line.read())
        pool.give(HOST, engine.port, line)
        await asyncio.wait_for(engine.gone.wait(), 60)


async def test_a_large_body_is_sent_whole_and_one_that_is_refused_early_no_further() -> None:
    size = 8 << 20

    async def speak(engine: Engine, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if engine.connections == 1:
            await reader.readexactly(size)
            writer.write(FINE)
        else:
            writer.write(b"HTTP/1.1 413 Too large\r\nContent-Length: 2\r\n\r\nno")
        await asyncio.Event().wait()

    async with open_engine(speak) as (engine, pool):
        assert await ask(engine, pool, body=b"x" * size) == (200, b"ok")
        line = await pool.take(HOST, engine.port)
        pool.give(HOST, engine.port, line)
        assert await ask(engine, pool, body=b"x" * size) == (413, b"no")
        assert engine.connections == 2


async def test_who_needs_one_connection_more_than_there_may_be_waits_for_it_and_not_forever() -> None:
    async with open_engine(saying(*[FINE] * 9), connections=1) as (engine, pool):
        line = await pool.take(HOST, engine.port)
        waiting = [asyncio.create_task(ask(engine, pool)) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.sleep(0)
        assert engine.requests == 0
        await line.ask(ASKED, b"hi")
        assert await read_all(line) == b"ok"
        pool.give(HOST, engine.port, line)
        assert await asyncio.gather(*waiting[1:]) == [(200, b"ok")] * 2
        assert engine.connections == 1
    async with open_engine(saying(FINE), connections=1) as (engine, pool):
        line = await pool.take(HOST, engine.port)
        object.__setattr__(pool._limits, "connect_seconds", 0.02)  # not before: to connect may take longer
        with pytest.raises(NoRoomError):
            await pool.take(HOST, engine.port)
        pool.give(HOST, engine.port, line)


async def test_an_engine_that_cannot_be_reached_is_told_and_takes_no_turn() -> None:
    async with open_engine(saying(FINE), connections=1) as (engine, pool):
        for _ in range(3):
            with pytest.raises(NotReachedError):
                await pool.take("nobody.test.svc", engine.port)
            with pytest.raises(NotReachedError):
                await pool.take(HOST, 1)
        assert await ask(engine, pool) == (200, b"ok")


async def test_each_address_of_a_name_is_tried() -> None:
    async with open_engine(saying(FINE)) as (engine, pool):
        engine.addresses = ["127.255.255.254", "127.0.0.1"]
        assert await ask(engine, pool) == (200, b"ok")


async def test_a_name_is_looked_up_again_once_its_time_is_over() -> None:
    async with open_engine(saying(FINE), name_seconds=0.0) as (engine, pool):
        for turn in (1, 2):
            line = await pool.take(HOST, engine.port)
            pool.give(HOST, engine.port, line)
            assert engine.lookups == turn


async def test_the_system_knows_loopback() -> None:
    assert "127.0.0.1" in await SystemResolver().resolve("localhost", 80)
