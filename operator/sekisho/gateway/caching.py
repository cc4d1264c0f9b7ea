"""Remember answers for a short, bounded time; ask once where many wait for the same answer."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BriefCache(Generic[K, V]):
    """Holds at most `most` answers, the least recently used go first. Failures are not remembered.

    Args:
        most: Answers that are held.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: OrderedDict[K, tuple[float, V]] = OrderedDict()
        self._pending: dict[K, asyncio.Task[V]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def known(self, key: K) -> V | None:
        """Return the answer that is known and still holds, without asking; None where there is none."""
        known = self._find(key)
        return None if known is None else known[1]

    async def get(self, key: K, ask: Callable[[], Awaitable[tuple[V, float]]]) -> V:
        """Return the answer that is known, or ask; `ask` returns the answer and for how many seconds it holds."""
        known = self._find(key)
        if known is not None:
            return known[1]
        task = self._pending.get(key)
        if task is None:
            task = asyncio.create_task(self._ask(key, ask))
            self._pending[key] = task
            task.add_done_callback(_look_at)
        # Whoever asked first may go; the others still wait for the answer.
        return await asyncio.shield(task)

    def _find(self, key: K) -> tuple[float, V] | None:
        known = self._known.get(key)
        if known is None:
            return None
        if known[0] <= time.monotonic():
            del self._known[key]
            return None
        self._known.move_to_end(key)
        return known

    async def _ask(self, key: K, ask: Callable[[], Awaitable[tuple[V, float]]]) -> V:
        try:
            began = time.monotonic()
            value, seconds = await ask()
            if seconds > 0:
                self._known[key] = (began + seconds, value)
                self._known.move_to_end(key)
                while len(self._known) > self._most:
                    self._known.popitem(last=False)
            return value
        finally:
            self._pending.pop(key, None)


def _look_at(task: asyncio.Task[V]) -> None:
    """Take note of a failure that nobody waits for any more."""
    if not task.cancelled():
        task.exception()
