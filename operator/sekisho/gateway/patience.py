"""Bound one wait after another with a timer that is rarely set: one a chunk costs as much as the chunk itself."""

import asyncio
from types import TracebackType
from typing import Self


class Patience:
    """Ends a block whose waits take too long. Use it as a context manager around all of them.

    Raises:
        TimeoutError: At the end of the block, a wait was not over in its time; `is_over` is true then.
    """

    def __init__(self) -> None:
        self._timeout = asyncio.timeout(None)
        self._loop = asyncio.get_running_loop()
        self._deadline: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        await self._timeout.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._deadline = None
        if self._timer is not None:
            self._timer.cancel()
        await self._timeout.__aexit__(kind, error, trace)

    @property
    def is_over(self) -> bool:
        """Whether a wait took too long."""
        return self._timeout.expired()

    def begin(self, seconds: float) -> None:
        """Begin a wait; it has this long."""
        self._deadline = deadline = self._loop.time() + seconds
        # A timer that goes off too early looks again; only one that would go off too late is set anew.
        if self._timer is None or self._timer.when() > deadline:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(deadline, self._look)

    def end(self) -> None:
        """End the wait: what comes until the next one takes as long as it likes."""
        self._deadline = None

    def _look(self) -> None:
        self._timer, now = None, self._loop.time()
        if self._deadline is None:
            return
        if self._deadline <= now:
            self._timeout.reschedule(now)
        else:
            self._timer = self._loop.call_at(self._deadline, self._look)
