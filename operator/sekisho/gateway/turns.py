"""Requests take turns while streams are under way: what came for streams is told between some steps and the next.

All that is ready runs in one turn of the event loop before it looks at its sockets again. Steps of many requests that
become ready together, when they come together or one commit of the record frees them all, would hold up every chunk
for as long as all of them take.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Final

# How long requests go on at a time. Each look at the sockets costs as much as a short step, and the same step of one
# request after another far less than different ones.
_TURN_SECONDS: Final = 0.001
# What a step takes, until it is known, and the least that is taken for one: a turn is so many steps.
_STEP_SECONDS: Final = 0.0002
_LEAST_SECONDS: Final = 0.00005
# The share of the latest turn in what is known of steps.
_WEIGHT: Final = 0.25


class Turns:
    """Gives turns to requests, first come, first served: about as much time as streams take, where both want it.

    Args:
        clock: Seconds that the event loop works; those that other processes take from it are none of them.
    """

    def __init__(self, clock: Callable[[], float] = time.thread_time) -> None:
        self._clock = clock
        self._streams = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_giving = False
        # Of the turn that goes on: how many have it, and when the first of them began.
        self._given = 0
        self._began_at: float | None = None
        self._ended_at = 0.0
        self._step_seconds = _STEP_SECONDS

    def streaming(self, stream: bool) -> "_Counted":
        """Count a request as a stream, where it is one, while a block runs."""
        return _Counted(self, stream)

    def count(self, streams: int) -> None:
        """Count streams that begin, or fewer than none for those that end; a block of `streaming` does."""
        self._streams += streams

    async def wait(self, *, own: bool) -> None:
        """Wait for a turn, before a step of a request; without streams there is nothing to wait for.

        Args:
            own: Whether the request is counted as a stream itself: it does not wait for its own.
        """
        if self._streams <= own:
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        if not self._is_giving:
            self._is_giving, self._ended_at = True, self._clock()
            asyncio.get_running_loop().call_soon(self._give)
        await turn
        if self._began_at is None:
            self._began_at = self._clock()

    def _give(self) -> None:
        """Let requests go on, in the loop's next turn, for as long as streams took; at least for a moment."""
        seconds = max(_TURN_SECONDS, self._clock() - self._ended_at)
        most = max(1, int(seconds / self._step_seconds))
        while self._waiting and self._given < most:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                self._given += 1
        if self._given:
            # In that turn too, behind them.
            asyncio.get_running_loop().call_soon(self._end)
        else:
            self._is_giving = False

    def _end(self) -> None:
        """Give the next turn once the loop has looked at its sockets, and told what had come before that."""
        self._ended_at = now = self._clock()
        if self._began_at is not None:
            seconds = max(_LEAST_SECONDS, (now - self._began_at) / self._given)
            self._step_seconds += _WEIGHT * (seconds - self._step_seconds)
        self._given, self._began_at = 0, None
        asyncio.get_running_loop().call_soon(self._give)


class _Counted:
    """A request that is counted as a stream, where it is one, until its block ends."""

    __slots__ = ("_streams", "_turns")

    def __init__(self, turns: Turns, stream: bool) -> None:
        self._turns = turns
        self._streams = int(stream)

    def __enter__(self) -> None:
        self._turns.count(self._streams)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._turns.count(-self._streams)
