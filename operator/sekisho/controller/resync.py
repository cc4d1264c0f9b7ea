"""Lists beside the watches: the first tells when everything is known, the later ones what a watch did not tell.

A watch can lose a deletion while it is cut, and can go deaf without an error. A list of names and versions is cheap and
shows both: what is gone, and what is newer than anything the watch has shown.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from sekisho.controller.cluster import SELECTORS, WATCHED, Cluster
from sekisho.controller.store import Change, Name
from sekisho.errors import UnavailableError
from sekisho.kube.client import KubeClient
from sekisho.kube.resources import Resource

_log = logging.getLogger(__name__)
_FIRST_PAUSE_SECONDS: Final = 0.1
_RELIST_SECONDS: Final = 10.0
_MOST_READS: Final = 200


@dataclass(frozen=True, slots=True)
class Deafness:
    """What a watch has not shown.

    Attributes:
        since: When that was noticed, by the monotonic clock.
        version: The version that it must show to count as hearing again.
    """

    since: float
    version: int


class Resync:
    """Compares the stores with the server.

    Attributes:
        synced: Set once every kind was seen completely.
        deaf: Kinds whose watch did not show what the server holds.
    """

    def __init__(
        self, client: KubeClient, cluster: Cluster, route: Callable[[Change], None], *, deaf_seconds: float
    ) -> None:
        self.synced = asyncio.Event()
        self.deaf: dict[Resource, Deafness] = {}
        self.listed_at = time.monotonic()
        self._client = client
        self._cluster = cluster
        self._route = route
        self._deaf_seconds = deaf_seconds

    async def await_first(self) -> None:
        """Return once the watches have shown everything that a list shows: before that, nothing may be decided."""
        await asyncio.gather(*(self._await_kind(resource) for resource in WATCHED))
        self.synced.set()
        _log.info("everything is known", extra={"objects": sum(len(s) for s in self._cluster.stores.values())})

    async def run(self, *, every_seconds: float, wake_all: Callable[[], None]) -> None:
        """Compare all kinds again and again, with jitter; then let everything be looked at."""
        while True:
            await asyncio.sleep(every_seconds * random.uniform(0.8, 1.2))  # noqa: S311 - only spreads load
            for resource in WATCHED:
                try:
                    await self.compare(resource)
                except UnavailableError as error:
                    _log.warning("a list failed", extra={"kind": resource.kind, "detail": error.message})
            wake_all()

    async def compare(self, resource: Resource) -> None:
        """Compare one kind; what the watch missed is read, and the watch counts as deaf until it tells by itself."""
        store = self._cluster.stores[resource]
        listed, at_version = await self._list(resource)
        self.listed_at = time.monotonic()
        gone, missed = store.reconcile_names(listed, at_version=at_version)
        self._take(gone)
        newest = max((listed[name] for name in missed), default=0)
        if missed and not await self._is_shown(resource, newest):
            self.deaf.setdefault(resource, Deafness(time.monotonic(), newest))
            _log.error("a watch is deaf", extra={"kind": resource.kind, "missed": len(missed)})
            await self._read(resource, missed[:_MOST_READS])
        elif resource in self.deaf and store.shown_version >= self.deaf[resource].version:
            del self.deaf[resource]

    async def _await_kind(self, resource: Resource) -> None:
        store = self._cluster.stores[resource]
        while True:
            try:
                listed, at_version = await self._list(resource)
            except UnavailableError as error:
                _log.warning("a list failed", extra={"kind": resource.kind, "detail": error.message})
                await asyncio.sleep(1.0)
                continue
            until = time.monotonic() + _RELIST_SECONDS
            while time.monotonic() < until:
                gone, missed = store.reconcile_names(listed, at_version=at_version)
                self._take(gone)
                if not missed:
                    return
                await asyncio.sleep(_FIRST_PAUSE_SECONDS)

    async def _list(self, resource: Resource) -> tuple[dict[Name, int], int]:
        return await self._client.list_versions(resource, label_selector=SELECTORS.get(resource, ""))

    async def _is_shown(self, resource: Resource, version: int) -> bool:
        """Give the watch time to show a version that the list has shown."""
        until = time.monotonic() + self._deaf_seconds
        while self._cluster.stores[resource].shown_version < version:
            if time.monotonic() > until:
                return False
            await asyncio.sleep(min(1.0, self._deaf_seconds / 10))
        return True

    async def _read(self, resource: Resource, names: Iterable[Name]) -> None:
        for namespace, name in names:
            raw = await self._client.get(resource, name, namespace=namespace)
            change = self._cluster.note(self._cluster.stores[resource].put(raw)) if raw is not None else None
            if change is not None:
                self._route(change)

    def _take(self, changes: Iterable[Change]) -> None:
        for change in changes:
            self._cluster.note(change)
            self._route(change)
