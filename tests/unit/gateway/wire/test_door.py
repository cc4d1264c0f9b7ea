"""Who comes in: strangers who do not finish shaking hands hold few places, and nobody's for long."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

import pytest

from sekisho.gateway.wire.door import Door, DoorLimits
from tests.unit.depot.parts import Keys, build_keys, settle

LONG = 600.0
PATIENT = DoorLimits(grace=LONG, handshake=LONG)


class Greeter(asyncio.Protocol):
    """Says hello to whoever came in, and notes whether small pieces are sent at once."""

    delays: ClassVar[list[int]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        taken = transport.get_extra_info("socket")
        self.delays.append(taken.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        transport.write(b"hello")
        transport.close()


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return build_keys(tmp_path_factory.mktemp("tls"), "127.0.0.1")


@asynccontextmanager
async def opened(keys: Keys | None, limits: DoorLimits) -> AsyncIterator[tuple[Door, int]]:
    tls = None
    if keys is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(keys.certificate, keys.key)
    door = Door(Greeter, tls=tls, limits=limits)
    port = await door.open("127.0.0.1", 0)
    try:
        yield door, port
    finally:
        await door.end()


async def greet(port: int, keys: Keys | None) -> bytes:
    tls = None if keys is None else ssl.create_default_context(cafile=str(keys.ca))
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    try:
        return await reader.read()
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def test_strangers_who_say_nothing_hold_few_places_and_keep_nobody_out(keys: Keys) -> None:
    async with opened(keys, DoorLimits(most=4, grace=0.05, handshake=LONG)) as (door, port):
        with contextlib.ExitStack() as stack:
            for _ in range(20):
                stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
            greeting = asyncio.create_task(greet(port, keys))
            most = 0
            while not greeting.done():
                most = max(most, door.shaking)
                await asyncio.sleep(0.005)
            assert await greeting == b"hello"
            assert most == 4


async def test_within_the_grace_nobody_is_cut_and_others_wait(keys: Keys) -> None:
    async with opened(keys, DoorLimits(most=1, grace=LONG, handshake=LONG)) as (door, port):
        first = socket.create_connection(("127.0.0.1", port), timeout=60)
        await settle(lambda: door.shaking == 1)
        greeting = asyncio.create_task(greet(port, keys))
        await asyncio.sleep(0.05)
        assert not greeting.done()
        first.close()
        assert await asyncio.wait_for(greeting, 60) == b"hello"


async def test_who_does_not_speak_tls_or_goes_leaves_nothing(keys: Keys) -> None:
    async with opened(keys, PATIENT) as (door, port):
        for words in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01", b""):
            with socket.create_connection(("127.0.0.1", port), timeout=60) as made:
                await settle(lambda: door.shaking == 1)
                with contextlib.suppress(OSError):  # it may have been shown out by now
                    made.sendall(words)
                    made.shutdown(socket.SHUT_WR)
                await settle(lambda: door.shaking == 0)
        assert await greet(port, keys) == b"hello"


async def test_who_never_finishes_has_a_limit_in_any_case(keys: Keys) -> None:
    async with opened(keys, DoorLimits(handshake=0.05)) as (door, port):
        with socket.create_connection(("127.0.0.1", port), timeout=60) as made:
            made.setblocking(False)
            assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(made, 1), 60) == b""
            await settle(lambda: door.shaking == 0)


@pytest.mark.parametrize("with_tls", [True, False])
async def test_a_small_piece_does_not_wait_for_the_one_before_it_to_be_acknowledged(keys: Keys, with_tls: bool) -> None:
    Greeter.delays.clear()
    spoken = keys if with_tls else None
    async with opened(spoken, PATIENT) as (_, port):
        assert await greet(port, spoken) == b"hello"
    assert Greeter.delays == [1]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", ""])
async def test_a_door_opens_at_every_address_of_its_host(host: str) -> None:
    door = Door(Greeter, tls=None, limits=PATIENT)
    try:
        port = await door.open(host, 0)
        reader, writer = await asyncio.open_connection(host or "127.0.0.1", port)
        assert await reader.read() == b"hello"
        writer.close()
        await writer.wait_closed()
    finally:
        await door.end()


async def test_a_door_without_tls_takes_everybody_as_they_are_until_it_is_closed() -> None:
    async with opened(None, PATIENT) as (door, port):
        assert await greet(port, None) == b"hello"
        door.close()
        with pytest.raises(ConnectionRefusedError):
            await greet(port, None)


async def test_a_closed_door_lets_those_finish_who_shake_hands_and_its_end_does_not(keys: Keys) -> None:
    async with opened(keys, PATIENT) as (door, port):
        with socket.create_connection(("127.0.0.1", port), timeout=60) as made:
            await settle(lambda: door.shaking == 1)
            door.close()
            assert door.shaking == 1
            await door.end()
            assert door.shaking == 0
            made.setblocking(False)
            with contextlib.suppress(ConnectionResetError):
                assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(made, 1), 60) == b""


async def test_who_is_taken_in_as_the_door_ends_is_let_go_at_once(keys: Keys) -> None:
    async with opened(keys, PATIENT) as (door, port):
        with socket.create_connection(("127.0.0.1", port), timeout=60) as made:
            while door.shaking == 0:
                await asyncio.sleep(0)  # its task is made now, and has not begun
            await door.end()
            made.setblocking(False)
            with contextlib.suppress(ConnectionResetError):
                assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(made, 1), 60) == b""


async def test_an_address_that_is_taken_is_told() -> None:
    async with opened(None, PATIENT) as (_, port):
        door = Door(Greeter, tls=None, limits=PATIENT)
        with pytest.raises(OSError, match="in use"):
            await door.open("127.0.0.1", port)
        await door.end()


async def test_when_files_run_out_others_are_taken_in_as_soon_as_there_are_some(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sekisho.gateway.wire.door._RETRY_SECONDS", 0.01)
    loop = asyncio.get_running_loop()
    real, failures = loop.sock_accept, [OSError(24, "Too many open files"), ConnectionAbortedError(), None]

    async def accept(listener: socket.socket) -> tuple[socket.socket, object]:
        if failures and (error := failures.pop(0)) is not None:
            raise error
        return await real(listener)

    monkeypatch.setattr(loop, "sock_accept", accept)
    async with opened(None, PATIENT) as (_, port):
        assert await greet(port, None) == b"hello"
    assert failures == []
