"""A queue of keys: each is in it once, and never with two workers at the same time."""

import asyncio
import heapq
import itertools
import random
import time
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class BackOff:
    """How long a key that failed rests: doubled with each failure, spread so that many do not return together."""

    first_seconds: float = 0.5
    most_seconds: float = 300.0
    news_seconds: float = 2.0  # a key that failed is tried again this soon where something happened to it

    def delay_seconds(self, failures: int, *, chance: float) -> float:
        """Return the rest after this many failures in a row; `chance` in [0, 1) spreads it by a quarter both ways."""
        whole = min(self.most_seconds, self.first_seconds * 2.0 ** min(failures - 1, 30))
        return whole * (0.75 + 0.5 * chance)


class KeyQueue(Generic[K]):
    """De-duplicates keys; a key that is added while a worker has it comes again when the worker is done.

    A delayed key waits until its time; adding it without delay brings it forward. Use it in one event loop.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, back_off: BackOff | None = None) -> None:
        self._clock = clock
        self._back_off = back_off or BackOff()
        self._ready: deque[K] = deque()
        self._since: dict[K, float] = {}
        self._busy: dict[K, float] = {}
        self._again: dict[K, float] = {}
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._order = itertools.count()
        self._failures: dict[K, int] = {}
        self._earliest: dict[K, float] = {}
        self._news = asyncio.Event()

    def __len__(self) -> int:
        return len(self._since)

    @property
    def delayed(self) -> int:
        """How many keys wait for their time."""
        return len(self._due)

    @property
    def busy(self) -> int:
        """How many keys are with workers."""
        return len(self._busy)

    def oldest_seconds(self) -> float:
        """How long the key that waits longest has been ready; 0 without one."""
        return self._clock() - self._since[self._ready[0]] if self._ready else 0.0

    def longest_busy_seconds(self) -> float:
        """How long the slowest worker has had its key; 0 without one."""
        return self._clock() - min(self._busy.values()) if self._busy else 0.0

    def add(self, key: K, *, after_seconds: float = 0.0) -> None:
        """Ask for a key to be worked on, now or later; the earliest wish counts, but a failed key rests a little."""
        now = self._clock()
        at = max(now + after_seconds, self._earliest.get(key, now))
        if key in self._busy:
            self._again[key] = min(at, self._again.get(key, at))
        elif at > now:
            self._delay(key, at)
        elif key not in self._since:
            self._due.pop(key, None)
            self._make_ready(key)

    def done(self, key: K) -> None:
        """Give a key back after success; its failures are forgotten."""
        self._failures.pop(key, None)
        self._earliest.pop(key, None)
        self._give_back(key)

    def failed(self, key: K, *, at_least_seconds: float = 0.0, at_most_seconds: float = float("inf")) -> float:
        """Give a key back after a failure; it comes again after a rest, whose length is returned."""
        count = self._failures[key] = self._failures.get(key, 0) + 1
        rest = self._back_off.delay_seconds(count, chance=random.random())  # noqa: S311 - only spreads load
        rest = max(at_least_seconds, min(rest, at_most_seconds))
        self._earliest[key] = self._clock() + min(rest, max(at_least_seconds, self._back_off.news_seconds))
        self._give_back(key)
        self.add(key, after_seconds=rest)
        return rest

    def forget(self, key: K) -> None:
        """Drop what is remembered of a key that is no more; a worker that has it keeps it until it is done."""
        self._failures.pop(key, None)
        self._earliest.pop(key, None)
        self._due.pop(key, None)
        self._again.pop(key, None)
        if key in self._since:
            del self._since[key]
            self._ready.remove(key)

    async def take(self) -> K:
        """Wait for a key; the caller must give it back by `done` or `failed`."""
        while True:
            wait = self._wake_due()
            if self._ready:
                key = self._ready.popleft()
                del self._since[key]
                self._busy[key] = self._clock()
                return key
            self._news.clear()
            try:
                async with asyncio.timeout(wait):
                    await self._news.wait()
            except TimeoutError:
                continue

    def _give_back(self, key: K) -> None:
        del self._busy[key]
        at = self._again.pop(key, None)
        if at is not None:
            self.add(key, after_seconds=at - self._clock())

    def _delay(self, key: K, at: float) -> None:
        if key in self._since or self._due.get(key, float("inf")) <= at:
            return
        self._due[key] = at
        heapq.heappush(self._heap, (at, next(self._order), key))
        self._news.set()

    def _make_ready(self, key: K) -> None:
        self._since[key] = self._clock()
        self._ready.append(key)
        self._news.set()

    def _wake_due(self) -> float | None:
        """Move keys whose time has come; return the seconds until the next one's."""
        while self._heap:
            at, _, key = self._heap[0]
            if self._due.get(key) != at:  # brought forward or forgotten meanwhile
                heapq.heappop(self._heap)
                continue
            left = at - self._clock()
            if left > 0:
                return left
            heapq.heappop(self._heap)
            del self._due[key]
            self._make_ready(key)
        return None
