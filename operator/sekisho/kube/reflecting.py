"""Keep the objects of one kind as the API server shows them, and know how old that knowledge is.

A watch is short and opened again and again: each opening, event and orderly end proves that the API server was heard.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from sekisho.errors import SekishoError
from sekisho.kernel import read_boot_seconds
from sekisho.kube.client import KubeClient
from sekisho.kube.resources import Resource

Raw = Mapping[str, Any]
T = TypeVar("T")
Name = tuple[str, str]
_NOTHING: Final[Mapping[Any, Any]] = {}
_log = logging.getLogger(__name__)
_MAX_PAUSE_SECONDS: Final = 5.0
_MIN_WATCH_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Freshness:
    """How facts are kept fresh.

    Attributes:
        watch_seconds: Length of one watch.
        relist_seconds: After how long everything is listed anew.
        max_age_seconds: Oldest knowledge that is used.
    """

    watch_seconds: int = 10
    relist_seconds: float = 300.0
    max_age_seconds: float = 30.0


class Reflector(Generic[T]):
    """Holds what is kept of every object of one kind.

    Args:
        client: Of the API server.
        resource: The kind.
        keep: What is kept of an object.
        times: How fresh it is kept.
        selector: Labels of the objects that are followed; empty: all.
        group: By what of them objects are found together.

    Attributes:
        objects: By namespace and name.
        changes: Counts what changed them.
        heard_at: When the API server was last heard, in seconds since the boot of the machine.
    """

    def __init__(
        self,
        client: KubeClient,
        resource: Resource,
        keep: Callable[[Raw], T],
        *,
        times: Freshness,
        selector: str = "",
        group: Callable[[T], Hashable] | None = None,
    ) -> None:
        self._client = client
        self._keep = keep
        self._times = times
        self._selector = selector
        self._group = group
        self._groups: dict[Hashable, dict[Name, T]] = {}
        self.resource = resource
        self.objects: dict[Name, T] = {}
        self.changes = 0
        self.heard_at = float("-inf")

    async def run(self) -> None:
        """List and watch until cancelled; a failure is told and tried again."""
        pause = 0.1
        while True:
            try:
                await self._follow()
                pause = 0.1
            except SekishoError as error:
                _log.warning("a watch is tried again", extra={"kind": self.resource.kind, "reason": error.reason.value})
                await asyncio.sleep(pause * random.uniform(0.7, 1.0))  # noqa: S311 - jitter, no secret
                pause = min(pause * 2, _MAX_PAUSE_SECONDS)

    async def _follow(self) -> None:
        items, version = await self._client.list_at(self.resource, label_selector=self._selector)
        self.objects, self._groups = {}, {}
        for item in items:
            self._put(_key(item), self._keep(item))
        self.changes += 1
        self._hear()
        listed_at = time.monotonic()
        while time.monotonic() - listed_at < self._times.relist_seconds:
            watch = self._client.watch(
                self.resource,
                version,
                seconds=self._times.watch_seconds,
                quiet_seconds=self._times.watch_seconds + 5.0,
                opened=self._hear,
                label_selector=self._selector,
            )
            opened_at = time.monotonic()
            async for event in watch:
                version = self._take(event) or version
                self._hear()
            self._hear()
            if time.monotonic() - opened_at < _MIN_WATCH_SECONDS:
                await asyncio.sleep(_MIN_WATCH_SECONDS)  # a server that ends every watch at once is not asked hotly

    def _take(self, event: Raw) -> str:
        item = event.get("object") or {}
        self.changes += event.get("type") in {"ADDED", "MODIFIED", "DELETED"}
        if event.get("type") == "DELETED":
            self._drop(_key(item))
        elif event.get("type") in {"ADDED", "MODIFIED"}:
            self._put(_key(item), self._keep(item))
        return str((item.get("metadata") or {}).get("resourceVersion") or "")

    def of_group(self, group: Hashable) -> Mapping[Name, T]:
        """Return the objects of a group, by namespace and name."""
        return self._groups.get(group, _NOTHING)

    def _put(self, name: Name, kept: T) -> None:
        if self._group is not None:
            self._drop(name)
            self._groups.setdefault(self._group(kept), {})[name] = kept
        self.objects[name] = kept

    def _drop(self, name: Name) -> None:
        old = self.objects.pop(name, None)
        if old is None or self._group is None:
            return
        key = self._group(old)
        members = self._groups.get(key, {})
        members.pop(name, None)
        if not members:
            self._groups.pop(key, None)

    def _hear(self) -> None:
        self.heard_at = read_boot_seconds()


def _key(item: Raw) -> tuple[str, str]:
    meta = item.get("metadata") or {}
    return str(meta.get("namespace", "")), str(meta.get("name", ""))
