"""Short work on the event loop itself, some milliseconds in each of its turns, so that it never holds up the others."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeVar

ResultT = TypeVar("ResultT")
_TURN_SECONDS: Final = 0.005


class Turns:
    """Works on what waits, in its order. For one event loop.

    Args:
        seconds: How long it works in one turn of the loop; a piece that was begun is finished.
    """

    def __init__(self, *, seconds: float = _TURN_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock = seconds, clock
        self._waiting: deque[tuple[asyncio.Future[Any], Callable[[], Any]]] = deque()

    async def run(self, work: Callable[[], ResultT]) -> ResultT:
        """Return what some work comes to, or raise what it raises; what nobody waits for any more is left out."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[ResultT] = loop.create_future()
        self._waiting.append((future, work))
        if len(self._waiting) == 1:
            loop.call_soon(self._take_turn, loop)
        return await future

    def close(self) -> None:
        """Cancel what waits."""
        while self._waiting:
            self._waiting.popleft()[0].cancel()

    def _take_turn(self, loop: asyncio.AbstractEventLoop) -> None:
        ends = self._clock() + self._seconds
        while self._waiting:
            # It stays the first until it is done: so nobody who comes meanwhile calls for another turn.
            _do(*self._waiting[0])
            self._waiting.popleft()
            if self._clock() >= ends:
                break
        if self._waiting:
            loop.call_soon(self._take_turn, loop)


def _do(future: "asyncio.Future[Any]", work: Callable[[], Any]) -> None:
    if future.done():
        return
    try:
        future.set_result(work())
    except Exception as error:  # noqa: BLE001  # whoever waits gets it
        future.set_exception(error)
