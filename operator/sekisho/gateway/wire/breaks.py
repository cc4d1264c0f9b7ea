"""Connections that break are told of, in each event loop.

libuv, which uvloop stands on, tells of an error of a socket once, together with what came before it, and looks at that
socket no more: whoever reads a piece and waits for the next never hears of the end. What costs nothing while nothing
breaks is a second look, at errors alone.
"""

import asyncio
import select
from collections.abc import Callable


class Breaks:
    """Watches sockets for errors, and tells once of each that has one.

    It takes a descriptor while there is anything to watch, and none otherwise.
    """

    def __init__(self) -> None:
        self._tells: dict[int, Callable[[], None]] = {}
        self._epoll: select.epoll | None = None

    def watch(self, number: int, tell: Callable[[], None]) -> None:
        """Tell when the socket of this number breaks; `forget` it before it is closed.

        Raises:
            OSError: There are no files left.
        """
        if self._epoll is None:
            self._epoll = select.epoll()
            asyncio.get_running_loop().add_reader(self._epoll.fileno(), self._look, self._epoll)
        # Errors and hang-ups are told in any case, and here nothing else; once, and not as long as they last.
        self._epoll.register(number, select.EPOLLET)
        self._tells[number] = tell

    def forget(self, number: int) -> None:
        """Watch it no more."""
        if self._epoll is None or self._tells.pop(number, None) is None:
            return
        self._epoll.unregister(number)
        if not self._tells:
            asyncio.get_running_loop().remove_reader(self._epoll.fileno())
            self._epoll.close()
            self._epoll = None

    def _look(self, epoll: select.epoll) -> None:
        for number, _ in epoll.poll(0):
            # What an earlier one has ended is told of no more.
            if (tell := self._tells.get(number)) is not None:
                tell()
