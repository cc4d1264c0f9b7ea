"""Places at work: so many in all, and fewer of any one namespace, so that nobody's slow sources hold up all others."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary


class Turns:
    """Lets work be done by turns.

    Args:
        at_once: How many places there are.
        of_one: How many of them one namespace may have at once.
    """

    def __init__(self, at_once: int, *, of_one: int) -> None:
        self._places = asyncio.Semaphore(at_once)
        self._of_one = of_one
        self._own: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def take(self, namespace: str) -> AsyncIterator[None]:
        """Wait for a place, and have it meanwhile; who waits for its own namespace holds none."""
        own = self._own.get(namespace)
        if own is None:
            own = self._own[namespace] = asyncio.Semaphore(self._of_one)
        async with own, self._places:
            yield
