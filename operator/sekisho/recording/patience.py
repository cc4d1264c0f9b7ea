"""How long somebody waits: one timer for all futures of a loop; one for each would cost more than the waiting."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

Failure = Callable[[], Exception]


class Patience:
    """Fails futures that are not done after a time that is the same for all.

    Args:
        seconds: The time; a future fails within a quarter of it more.
        failure: Makes the exception.
    """

    def __init__(self, seconds: float, failure: Failure) -> None:
        self._seconds = seconds
        self._failure = failure
        self._watched: dict[asyncio.AbstractEventLoop, deque[tuple[float, asyncio.Future[Any]]]] = {}

    def watch(self, future: "asyncio.Future[Any]", loop: asyncio.AbstractEventLoop) -> None:
        """Watch a future of the running loop."""
        watched = self._watched.get(loop)
        if watched is None:
            watched = self._watched[loop] = deque()
            loop.call_later(self._seconds / 4, self._look, loop)
        watched.append((loop.time() + self._seconds, future))

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        watched, now = self._watched[loop], loop.time()
        while watched and (watched[0][1].done() or watched[0][0] <= now):
            future = watched.popleft()[1]
            if not future.done():
                future.set_exception(self._failure())
        if watched:
            loop.call_later(self._seconds / 4, self._look, loop)
        else:
            del self._watched[loop]
