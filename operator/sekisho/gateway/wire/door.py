"""The door: connections are taken in, and hands shaken, with a bounded number of strangers at a time.

A stranger costs tens of kilobytes from the first byte of TLS on, long before it is known whether it has anything to
say. Who has not finished shaking hands makes way, the oldest first and only after a moment of grace, when others wait.
"""

import asyncio
import functools
import logging
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sekisho.gateway.wire.breaks import Breaks
from sekisho.gateway.wire.carrier import Carrier, shake_hands

_log = logging.getLogger(__name__)
_RETRY_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class DoorLimits:
    """Bounds of what comes in.

    Attributes:
        most: How many shake hands at once; others wait in the kernel.
        grace: Seconds that one of them has although others wait.
        handshake: Seconds that one of them has in any case.
        goodbye: Seconds for the end of a connection.
    """

    most: int = 256
    grace: float = 1.0
    handshake: float = 10.0
    goodbye: float = 5.0
    backlog: int = 1024


class Door:
    """Makes a protocol of each connection; with TLS once hands are shaken.

    Args:
        make: Makes the protocol of a connection.
        tls: None: connections are taken as they are.
    """

    def __init__(self, make: Callable[[], asyncio.Protocol], *, tls: ssl.SSLContext | None, limits: DoorLimits) -> None:
        self._make = make
        self._tls = tls
        self._limits = limits
        self._breaks = Breaks()
        self._listeners: list[socket.socket] = []
        self._taking: list[asyncio.Task[None]] = []
        self._shaking: dict[asyncio.Task[None], float] = {}

    @property
    def shaking(self) -> int:
        """How many shake hands now."""
        return len(self._shaking)

    async def open(self, host: str, port: int) -> int:
        """Listen; return the port.

        Raises:
            OSError: Nobody can listen there.
        """
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        try:
            for family, kind, protocol, _, address in dict.fromkeys(found):
                listener = socket.socket(family, kind, protocol)
                self._listeners.append(listener)
                self._bind(listener, address)
        except OSError:
            self.close()
            raise
        self._taking = [loop.create_task(self._take(listener)) for listener in self._listeners]
        return int(self._listeners[0].getsockname()[1])

    def _bind(self, listener: socket.socket, address: Any) -> None:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if listener.family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # the other has a socket of its own
        listener.bind(address)
        listener.listen(self._limits.backlog)
        listener.setblocking(False)

    def close(self) -> None:
        """Take nobody in any more; whoever is shaking hands may finish."""
        for task in self._taking:
            task.cancel()
        for listener in self._listeners:
            asyncio.get_running_loop().remove_reader(listener)
            listener.close()
        self._listeners = []

    async def end(self) -> None:
        """Take nobody in and shake no hands any more."""
        self.close()
        for task in self._shaking:
            task.cancel()
        await asyncio.gather(*self._taking, *self._shaking, return_exceptions=True)

    async def _take(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._make_room()
            try:
                taken, _ = await loop.sock_accept(listener)
            except ConnectionError:
                continue  # it went before it came in
            except OSError as error:
                # Files have run out: those who wait go on waiting in the kernel.
                _log.warning("no connection can be taken in", extra={"detail": error.strerror})
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            task = loop.create_task(self._shake(taken))
            self._shaking[task] = loop.time()
            task.add_done_callback(functools.partial(self._forget, taken))

    async def _make_room(self) -> None:
        loop, limits = asyncio.get_running_loop(), self._limits
        while len(self._shaking) >= limits.most:
            oldest, began = next(iter(self._shaking.items()))
            left = began + limits.grace - loop.time()
            if left <= 0:
                oldest.cancel()
            await asyncio.wait(self._shaking, timeout=max(left, 0) or None, return_when=asyncio.FIRST_COMPLETED)

    async def _shake(self, taken: socket.socket) -> None:
        made = taken
        try:
            if self._tls is not None:
                made = shaking = self._tls.wrap_socket(taken, server_side=True, do_handshake_on_connect=False)
                async with asyncio.timeout(self._limits.handshake):
                    await shake_hands(shaking)
            Carrier(made, self._make(), breaks=self._breaks, goodbye=self._limits.goodbye).begin()
        except OSError as error:
            made.close()
            _log.debug("no connection came of it", extra={"detail": type(error).__name__})
        except BaseException:
            made.close()
            raise

    def _forget(self, taken: socket.socket, task: asyncio.Task[None]) -> None:
        self._shaking.pop(task, None)
        if task.cancelled():
            taken.close()  # a task that is cancelled before its first step has closed nothing
        elif (error := task.exception()) is not None:
            _log.error("a connection could not be taken in", extra={"error": type(error).__name__})
