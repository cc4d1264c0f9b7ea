"""The sockets of an HTTP client, which are all closed once the client is.

A TLS connection that is left in the middle of an answer says goodbye and waits for the other side to do so too, for
half a minute where that one has gone; the HTTP client has forgotten it by then.
"""

import asyncio
import contextlib
import socket
import weakref
from typing import Any, Final

_STEP_SECONDS: Final = 0.005
_MOST_STEPS: Final = 400


class Connections:
    """Makes the sockets of a client, and knows those that are open. Used in one event loop."""

    def __init__(self) -> None:
        self._made: weakref.WeakSet[socket.socket] = weakref.WeakSet()

    def make(self, address: tuple[Any, ...]) -> socket.socket:
        """Make a socket for an address as `getaddrinfo` tells it: the socket factory of a connector."""
        family, kind, protocol = address[:3]
        made = socket.socket(family, kind, protocol)
        self._made.add(made)
        return made

    async def end(self) -> None:
        """Cut what is still open, and return once it is closed: nothing is waited for that the other side must do."""
        for each in self._open():
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for _ in range(_MOST_STEPS):
            if not self._open():
                return
            await asyncio.sleep(_STEP_SECONDS)

    def _open(self) -> list[socket.socket]:
        return [each for each in self._made if each.fileno() >= 0]
