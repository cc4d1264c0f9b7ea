"""Sockets under protocols: every byte arrives in its turn, little waits in memory, and every connection ends."""

import asyncio
import contextlib
import fcntl
import socket
import ssl
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from sekisho.gateway.wire.breaks import Breaks
from sekisho.gateway.wire.carrier import Carrier, shake_hands
from tests.unit.depot.parts import Keys, build_keys, settle
from tests.unit.gateway.wire.breaking import break_off

LONG = 600.0
MUCH = bytes(range(256)) * (16 << 10)
VERSIONS = [None, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
NAMES = ["plain", "tls1.2", "tls1.3"]


@dataclass(eq=False)
class Ear(asyncio.Protocol):
    """Notes what it is told."""

    heard: bytearray = field(default_factory=bytearray)
    said: list[str] = field(default_factory=list)
    ended: "asyncio.Future[Exception | None]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.said.append("made")

    def data_received(self, data: bytes) -> None:
        if data == b"stumble":
            raise ZeroDivisionError
        self.heard += data

    def pause_writing(self) -> None:
        self.said.append("full")

    def resume_writing(self) -> None:
        self.said.append("room")

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set_result(exc)


class Moody(socket.socket):
    """A socket that wants the other direction first, once a word."""

    def __init__(self, inner: socket.socket) -> None:
        super().__init__(inner.family, inner.type, inner.proto, inner.detach())
        self.moods: dict[str, OSError] = {}

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        if (mood := self.moods.pop("recv", None)) is not None:
            raise mood
        return super().recv(size, flags)

    def send(self, data: Any, flags: int = 0, /) -> int:
        if (mood := self.moods.pop("send", None)) is not None:
            raise mood
        return super().send(data, flags)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return build_keys(tmp_path_factory.mktemp("tls"), "127.0.0.1")


async def join() -> tuple[socket.socket, socket.socket]:
    """Return the two ends of a connection over loopback."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.socket()
        far.setblocking(False)
        await asyncio.get_running_loop().sock_connect(far, listener.getsockname())
        near, _ = listener.accept()
        near.setblocking(False)
    return near, far


@asynccontextmanager
async def carried(
    keys: Keys, version: ssl.TLSVersion | None, *, goodbye: float = LONG
) -> AsyncIterator[tuple[Carrier, Ear, socket.socket]]:
    """Carry one end, and give the other one as a socket that does not block."""
    near, far = await join()
    if version is not None:
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(keys.certificate, keys.key)
        client = ssl.create_default_context(cafile=str(keys.ca))
        client.maximum_version = version
        near = server.wrap_socket(near, server_side=True, do_handshake_on_connect=False)
        far = client.wrap_socket(
            far, server_hostname="127.0.0.1", do_handshake_on_connect=False, suppress_ragged_eofs=False
        )
        await asyncio.gather(shake_hands(near), shake_hands(far))
    ear = Ear()
    carrier = Carrier(near, ear, breaks=Breaks(), goodbye=goodbye)
    carrier.begin()
    try:
        yield carrier, ear, far
    finally:
        carrier.abort()
        far.close()
        async with asyncio.timeout(60):
            await ear.ended
        while near.fileno() >= 0:
            await asyncio.sleep(0)


async def hear(far: socket.socket, size: int) -> bytes:
    """Return so many bytes, or what comes until the end."""
    heard = bytearray()
    async with asyncio.timeout(60):
        while len(heard) < size:
            try:
                data = far.recv(1 << 16)
            except (BlockingIOError, ssl.SSLWantReadError):
                await asyncio.sleep(0.001)
                continue
            if not data:
                break
            heard += data
    return bytes(heard)


def count_unheard(far: socket.socket) -> int:
    """Return how many bytes have not come to the other side's kernel."""
    return int.from_bytes(fcntl.ioctl(far, termios.TIOCOUTQ, bytes(4)), sys.byteorder)


async def say(far: socket.socket, data: bytes) -> None:
    left = memoryview(data)
    async with asyncio.timeout(60):
        while left:
            try:
                left = left[far.send(left[: 1 << 14]) :]
            except (BlockingIOError, ssl.SSLWantWriteError):
                await asyncio.sleep(0.001)


@pytest.mark.parametrize("version", VERSIONS, ids=NAMES)
async def test_all_that_is_sent_arrives_and_little_is_left_where_nobody_reads(
    keys: Keys, version: ssl.TLSVersion | None
) -> None:
    async with carried(keys, version) as (carrier, ear, far):
        sent = 0
        while not carrier.get_write_buffer_size():
            carrier.write(MUCH[: 16 << 10])
            sent += 1
        assert ear.said == ["made"]
        while "full" not in ear.said:
            carrier.write(MUCH[: 16 << 10])
            sent += 1
        assert carrier.get_write_buffer_size() <= 80 << 10
        carrier.write(b"the end")
        heard = await hear(far, (sent * (16 << 10)) + 7)
        assert heard == MUCH[: 16 << 10] * sent + b"the end"
        assert ear.said == ["made", "full", "room"]
        assert carrier.get_write_buffer_size() == 0


@pytest.mark.parametrize("version", VERSIONS, ids=NAMES)
async def test_what_comes_arrives_in_its_turn_and_waits_while_it_is_not_wanted(
    keys: Keys, version: ssl.TLSVersion | None
) -> None:
    async with carried(keys, version) as (carrier, ear, far):
        carrier.pause_reading()
        carrier.pause_reading()
        saying = asyncio.create_task(say(far, MUCH))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not ear.heard
        assert not carrier.is_reading()
        carrier.resume_reading()
        carrier.resume_reading()
        await saying
        await settle(lambda: len(ear.heard) >= len(MUCH))
        assert ear.heard == MUCH


@pytest.mark.parametrize("version", VERSIONS, ids=NAMES)
async def test_a_connection_that_is_closed_sends_what_is_left_and_says_goodbye(
    keys: Keys, version: ssl.TLSVersion | None
) -> None:
    async with carried(keys, version) as (carrier, ear, far):
        sent = 0
        while not carrier.get_write_buffer_size():  # how much the sockets take at once is the kernel's to decide
            carrier.write(MUCH)
            sent += 1
        carrier.write(b"the end")
        carrier.close()
        carrier.write(b"too late")
        assert carrier.is_closing()
        assert await hear(far, sent * len(MUCH) + 100) == MUCH * sent + b"the end"
        assert await ear.ended is None


@pytest.mark.parametrize("version", VERSIONS, ids=NAMES)
async def test_who_never_reads_the_rest_holds_a_closed_connection_no_longer_than_is_allowed(
    keys: Keys, version: ssl.TLSVersion | None
) -> None:
    async with carried(keys, version, goodbye=0.02) as (carrier, ear, _):
        while not carrier.get_write_buffer_size():
            carrier.write(MUCH)
        carrier.close()
        async with asyncio.timeout(60):
            assert await ear.ended is None
        assert carrier.get_write_buffer_size() == 0


@pytest.mark.parametrize("version", VERSIONS, ids=NAMES)
async def test_the_other_sides_end_is_this_sides_too(keys: Keys, version: ssl.TLSVersion | None) -> None:
    async with carried(keys, version) as (carrier, ear, far):
        await say(far, b"last words")
        far.close()
        async with asyncio.timeout(60):
            await ear.ended
        assert ear.heard == b"last words"
        carrier.write(b"nobody hears this")
        carrier.close()
        carrier.resume_reading()
        assert not carrier.is_reading()


async def test_what_is_no_record_ends_the_connection_with_an_error(keys: Keys) -> None:
    async with carried(keys, ssl.TLSVersion.TLSv1_3) as (_, ear, far):
        bare = socket.socket(fileno=far.detach())
        bare.send(b"GET / HTTP/1.1\r\n\r\n")
        async with asyncio.timeout(60):
            error = await ear.ended
        bare.close()
        assert isinstance(error, ssl.SSLError)
        assert not ear.heard


async def test_who_breaks_off_while_it_is_written_to_ends_the_connection_with_an_error(keys: Keys) -> None:
    async with carried(keys, None) as (carrier, ear, far):
        carrier.pause_reading()
        break_off(far)
        async with asyncio.timeout(60):
            while not ear.ended.done():
                carrier.write(b"x")
                await asyncio.sleep(0)
        assert isinstance(await ear.ended, ConnectionError)


@pytest.mark.parametrize("waits", [False, True])
async def test_who_breaks_off_is_noticed_by_reading_and_by_what_waits_to_be_sent(keys: Keys, waits: bool) -> None:
    async with carried(keys, None) as (carrier, ear, far):
        if waits:
            carrier.pause_reading()
            while not carrier.get_write_buffer_size():
                carrier.write(MUCH)
        break_off(far)
        async with asyncio.timeout(60):
            assert isinstance(await ear.ended, ConnectionError)
        assert carrier.get_write_buffer_size() == 0


@pytest.mark.parametrize("pieces", [1, 10])
@pytest.mark.parametrize("version", VERSIONS, ids=NAMES)
async def test_who_breaks_off_after_last_words_is_heard_to_the_end_and_noticed(
    keys: Keys, version: ssl.TLSVersion | None, pieces: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sekisho.gateway.wire.carrier._PIECE_BYTES", 1000)
    async with carried(keys, version) as (carrier, ear, far):
        # Both come in one look at the sockets, and libuv tells of it once.
        carrier.pause_reading()
        for _ in range(pieces):
            assert far.send(MUCH[:1000]) == 1000
        await settle(lambda: not count_unheard(far))
        break_off(far)
        carrier.resume_reading()
        async with asyncio.timeout(60):
            error = await ear.ended
        assert version is not None or isinstance(error, ConnectionError)  # Python's TLS may take it for an end
        assert ear.heard == MUCH[:1000] * pieces


async def test_who_breaks_off_while_nothing_is_wanted_is_heard_to_the_end_once_it_is(keys: Keys) -> None:
    async with carried(keys, None) as (carrier, ear, far):
        carrier.pause_reading()
        far.send(MUCH[:1000])
        break_off(far)
        for _ in range(20):
            await asyncio.sleep(0)
        assert not ear.ended.done()
        carrier.resume_reading()
        carrier.pause_reading()
        for _ in range(20):
            await asyncio.sleep(0)
        assert not ear.heard
        carrier.resume_reading()
        async with asyncio.timeout(60):
            assert isinstance(await ear.ended, ConnectionError)
        assert ear.heard == MUCH[:1000]


async def test_a_broken_connection_that_would_have_its_reader_wait_ends_at_once() -> None:
    near, far = await join()
    moody, ear = Moody(near), Ear()
    Carrier(moody, ear, breaks=Breaks()).begin()
    moody.moods = {"recv": BlockingIOError()}
    break_off(far)
    async with asyncio.timeout(60):
        assert isinstance(await ear.ended, ConnectionError)
    await settle(lambda: moody.fileno() < 0)


async def test_what_cannot_be_taken_ends_its_connection_alone_and_is_told(keys: Keys) -> None:
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["exception"]))
    async with carried(keys, None) as (_, ear, far):
        await say(far, b"stumble")
        async with asyncio.timeout(60):
            assert isinstance(await ear.ended, ZeroDivisionError)
    assert [type(error) for error in told] == [ZeroDivisionError]


@pytest.mark.parametrize("mood", [ssl.SSLWantReadError(), ssl.SSLWantWriteError(), BlockingIOError()], ids=range(3))
async def test_tls_that_needs_the_other_direction_first_gets_it(mood: OSError) -> None:
    near, far = await join()
    moody, ear = Moody(near), Ear()
    carrier = Carrier(moody, ear, breaks=Breaks())
    carrier.begin()
    moody.moods = {"send": mood, "recv": mood}
    carrier.write(b"abc")
    carrier.write(b"def")
    await say(far, b"hello")
    assert await hear(far, 6) == b"abcdef"
    await settle(lambda: ear.heard == b"hello")
    moody.moods = {"send": mood}
    carrier.write(b"bye")
    carrier.close()
    if isinstance(mood, ssl.SSLWantReadError):
        carrier.abort()  # it is not read any more, so that this would end with its time
    else:
        assert await hear(far, 4) == b"bye"
    async with asyncio.timeout(60):
        await ear.ended
    await settle(lambda: moody.fileno() < 0)
    far.close()


async def test_a_connection_knows_its_socket_and_whose_certificate_came(keys: Keys) -> None:
    async with carried(keys, None) as (carrier, _, far):
        assert carrier.get_extra_info("socket").getpeername() == far.getsockname()
        assert carrier.get_extra_info("peercert") is None
        assert carrier.get_extra_info("cipher", "none") == "none"


async def test_hands_that_are_not_shaken_leave_nothing_behind(keys: Keys) -> None:
    near, far = await join()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(keys.certificate, keys.key)
    with server.wrap_socket(near, server_side=True, do_handshake_on_connect=False) as made:
        shaking = asyncio.create_task(shake_hands(made))
        await asyncio.sleep(0)
        far.send(b"\x16\x03\x01")
        await asyncio.sleep(0)
        shaking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await shaking
        assert not asyncio.get_running_loop().remove_reader(made)
    far.close()
