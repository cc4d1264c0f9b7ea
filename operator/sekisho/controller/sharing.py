"""Live reads that are shared: in a burst many services wait for the same namespace, and one look serves them all."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from sekisho.errors import SekishoError
from sekisho.kube.client import KubeClient
from sekisho.kube.resources import Resource

SHARED_SECONDS: Final = 0.5
_MOST_KEPT: Final = 1000


@dataclass(slots=True)
class _Read:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    began_at: float = float("-inf")
    found: bool = False
    failed_at: float = float("-inf")
    failure: SekishoError | None = None


class SharedReads:
    """Reads objects anew, each at most once for all who ask at about the same time.

    Args:
        take: Given each object that was read, before anybody is told that it was.
    """

    def __init__(self, client: KubeClient, take: Callable[[Resource, dict[str, Any]], None]) -> None:
        self._client = client
        self._take = take
        self._reads: dict[tuple[Resource, str, str], _Read] = {}

    async def learn(self, resource: Resource, name: str, *, namespace: str, since: float) -> bool:
        """Have an object read by a request that began after `since`, and not long ago; return whether there is one.

        So whatever was written before the caller learnt of its own cause is seen, as if the caller had read by itself.

        Raises:
            UnavailableError: It could not be read, by this caller or by the one that it waited for.
        """
        asked_at = time.monotonic()
        self._drop_old(asked_at)
        read = self._reads.setdefault((resource, namespace, name), _Read())
        async with read.lock:
            if read.failure is not None and read.failed_at >= asked_at:
                raise read.failure  # a server that does not answer is waited for once, not by each in turn
            if read.began_at < max(since, time.monotonic() - SHARED_SECONDS):
                await self._read(read, resource, name, namespace=namespace)
            return read.found

    async def _read(self, read: _Read, resource: Resource, name: str, *, namespace: str) -> None:
        began_at = time.monotonic()
        try:
            fresh = await self._client.get(resource, name, namespace=namespace)
        except SekishoError as error:
            read.failed_at, read.failure = time.monotonic(), error
            raise
        if fresh is not None:
            self._take(resource, fresh)
        read.began_at, read.found, read.failure = began_at, fresh is not None, None

    def _drop_old(self, now: float) -> None:
        if len(self._reads) >= _MOST_KEPT:
            fresh = now - SHARED_SECONDS
            self._reads = {
                key: read for key, read in self._reads.items() if read.lock.locked() or read.began_at > fresh
            }
