"""A connected socket under a protocol, with TLS or without, each piece by one call of the kernel or of OpenSSL.

asyncio's own TLS takes every piece through two buffers in memory and a state machine in Python. Here OpenSSL itself
reads from the socket and writes to it.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from sekisho.gateway.wire.breaks import Breaks

# What TLS reads at once: the longest record, so that nothing is left within OpenSSL that the event loop cannot see.
_RECORD_BYTES: Final = 16 << 10
_PIECE_BYTES: Final = 64 << 10
_FULL_BYTES: Final = 64 << 10
_ROOM_BYTES: Final = 16 << 10
_NOT_NOW: Final = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class Carrier(asyncio.Transport):
    """Carries bytes between a socket and a protocol; `begin` it once.

    A connection that is closed sends what it still has, and has a limited time for it. One whose other side has ended
    is closed too.

    Args:
        taken: Connected and not blocking; hands are shaken where it is of TLS. It is closed with the connection.
        breaks: Tells when the connection breaks.
        goodbye: Seconds for what is left to send when it is closed.
    """

    def __init__(
        self, taken: socket.socket, protocol: asyncio.Protocol, *, breaks: Breaks, goodbye: float = 5.0
    ) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._socket = taken
        self._protocol = protocol
        self._breaks = breaks
        self._goodbye = goodbye
        self._number = taken.fileno()
        self._tls = taken if isinstance(taken, ssl.SSLSocket) else None
        self._certificate = self._tls.getpeercert() if self._tls is not None else None
        self._most = _PIECE_BYTES if self._tls is None else _RECORD_BYTES
        self._recv, self._send, self._take = taken.recv, taken.send, protocol.data_received
        self._backlog = bytearray()
        self._is_closing = self._is_over = self._is_paused = self._is_full = self._is_broken = False
        # What waits for the other direction: TLS may have to send before it can read, and to read before it can send.
        self._reads_late = self._sends_late = False
        self._has_writer = False
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Tell the protocol of the connection, and read from then on.

        Raises:
            OSError: Nothing comes of it; the socket is to be closed.
        """
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._breaks.watch(self._number, self._break)
        self._protocol.connection_made(self)
        if self.is_reading():
            self._loop.add_reader(self._number, self._read)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return the `socket`, or the `peercert` of who sent one."""
        known = {"socket": self._socket, "peercert": self._certificate}
        return known.get(name) or default

    def is_closing(self) -> bool:
        """See `asyncio.Transport`."""
        return self._is_closing

    def is_reading(self) -> bool:
        """See `asyncio.Transport`."""
        return not self._is_closing and not self._is_paused

    def pause_reading(self) -> None:
        """See `asyncio.Transport`."""
        if self.is_reading():
            self._is_paused = True
            self._loop.remove_reader(self._number)

    def resume_reading(self) -> None:
        """See `asyncio.Transport`."""
        if self._is_paused and not self._is_closing:
            self._is_paused = False
            if self._is_broken:
                self._loop.call_soon(self._read_out)
            else:
                self._loop.add_reader(self._number, self._read)

    def get_write_buffer_size(self) -> int:
        """See `asyncio.Transport`."""
        return len(self._backlog)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send now what can be sent now; the rest follows. Nothing is sent once it is closed."""
        if self._is_closing or not data:
            return
        if self._backlog:
            self._backlog += data
        else:
            try:
                sent = self._send(data)
            except _NOT_NOW:
                sent = 0
            except OSError as error:
                self._end(error)
                return
            if sent == len(data):
                return
            self._backlog += memoryview(data)[sent:]
            self._flush()
        if len(self._backlog) > _FULL_BYTES and not self._is_full:
            self._is_full = True
            self._protocol.pause_writing()

    def close(self) -> None:
        """Send what is left, and end the connection."""
        if self._is_closing:
            return
        self._is_closing = True
        self._loop.remove_reader(self._number)
        if self._backlog:
            self._timer = self._loop.call_later(self._goodbye, self.abort)
        else:
            self._end(None, politely=True)

    def abort(self) -> None:
        """End the connection at once."""
        self._end(None)

    def _read(self) -> None:
        try:
            data = self._recv(self._most)
        except _NOT_NOW as error:
            if self._is_broken:
                self._end(ConnectionResetError("the connection broke"))
            elif isinstance(error, ssl.SSLWantWriteError):
                self._reads_late = True
                self._watch_writing()
        except OSError as error:
            self._end(error)
        else:
            self._tell(data)
        if self._sends_late:
            self._sends_late = False
            self._flush()

    def _break(self) -> None:
        """Go on without the event loop, which may look at the socket no more."""
        self._is_broken = True
        self._loop.remove_reader(self._number)
        if self.is_reading():
            self._loop.call_soon(self._read_out)
        elif self._backlog:
            self._flush()

    def _read_out(self) -> None:
        """Take what came before it broke, up to the error behind it, a piece a turn."""
        if self.is_reading():
            self._read()
        if self.is_reading():
            self._loop.call_soon(self._read_out)

    def _tell(self, data: bytes) -> None:
        if not data:
            self.close()
            return
        try:
            self._take(data)
        except Exception as error:  # noqa: BLE001 - one connection must not take the others along
            told = {"message": "what came on a connection could not be taken", "exception": error, "transport": self}
            self._loop.call_exception_handler(told)
            self._end(error)

    def _can_write(self) -> None:
        """Go on, the socket has room."""
        if self._reads_late:
            self._reads_late = False
            if self.is_reading():
                self._read()
        self._flush()

    def _flush(self) -> None:
        try:
            while self._backlog:
                # Tried again with the same bytes and more, as OpenSSL wants it.
                del self._backlog[: self._send(self._backlog)]
        except ssl.SSLWantReadError:
            self._sends_late = True
        except _NOT_NOW:
            self._watch_writing()
        except OSError as error:
            self._end(error)
        if self._is_over:
            return
        if self._has_writer and not self._reads_late and (self._sends_late or not self._backlog):
            self._has_writer = False
            self._loop.remove_writer(self._number)
        if self._is_full and len(self._backlog) <= _ROOM_BYTES:
            self._is_full = False
            self._protocol.resume_writing()
        if self._is_closing and not self._backlog:
            self._end(None, politely=True)

    def _watch_writing(self) -> None:
        if not self._has_writer and not self._is_over:
            self._has_writer = True
            self._loop.add_writer(self._number, self._can_write)

    def _end(self, error: Exception | None, *, politely: bool = False) -> None:
        if self._is_over:
            return
        self._is_closing = self._is_over = True
        self._breaks.forget(self._number)
        self._loop.remove_reader(self._number)
        self._loop.remove_writer(self._number)
        self._backlog.clear()
        if self._timer is not None:
            self._timer.cancel()
        if politely and self._tls is not None:
            # It says that nothing follows, and does not wait to hear the same: what was said has its length by itself.
            with suppress(OSError, ValueError):
                self._tls.unwrap()
        self._loop.call_soon(self._leave, error)

    def _leave(self, error: Exception | None) -> None:
        try:
            self._protocol.connection_lost(error)
        finally:
            self._socket.close()


async def shake_hands(taken: ssl.SSLSocket) -> None:
    """Shake hands over a socket that does not block.

    Raises:
        OSError: It came to nothing.
    """
    loop = asyncio.get_running_loop()
    while True:
        try:
            taken.do_handshake()
        except ssl.SSLWantReadError:
            await _wait(taken, loop.add_reader, loop.remove_reader)
        except ssl.SSLWantWriteError:
            await _wait(taken, loop.add_writer, loop.remove_writer)
        else:
            return


async def _wait(taken: socket.socket, watch: Callable[..., None], forget: Callable[[socket.socket], bool]) -> None:
    ready = asyncio.get_running_loop().create_future()

    def note() -> None:
        if not ready.done():
            ready.set_result(None)

    watch(taken, note)
    try:
        await ready
    finally:
        forget(taken)
