"""Keeps one collection in memory: a list, then a watch, and again from the start whenever the watch is lost."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from sekisho.errors import SekishoError
from sekisho.kube.client import KubeClient
from sekisho.kube.failures import ApiConflictError
from sekisho.kube.resources import Resource

_log = logging.getLogger(__name__)
_MAX_BACKOFF_SECONDS: Final = 15.0
Projection = Callable[[Mapping[str, Any]], Any]


class Reflector:
    """The objects of one kind by (namespace, name), each as `project` makes it; used in one event loop.

    Attributes:
        items: What is known.
    """

    def __init__(self, client: KubeClient, resource: Resource, project: Projection) -> None:
        self._client, self._resource, self._project = client, resource, project
        self.items: dict[tuple[str, str], Any] = {}
        self._heard_at: float | None = None

    def age_seconds(self) -> float:
        """Tell how long ago the server was last heard; without end before the first list."""
        return float("inf") if self._heard_at is None else time.monotonic() - self._heard_at

    async def run(self) -> None:
        """Follow the collection until cancelled."""
        failures = 0
        while True:
            try:
                version = await self._list()
                failures = 0
                while True:
                    version = await self._watch(version)
            except ApiConflictError:
                continue  # the version is too old: list again at once
            except SekishoError as error:
                failures += 1
                _log.warning("%s", error.message, extra={"reason": error.reason.value})
                await asyncio.sleep(min(_MAX_BACKOFF_SECONDS, 0.25 * 2**failures) * random.uniform(0.5, 1))  # noqa: S311 - jitter

    async def _list(self) -> str:
        found, version = await self._client.list_at(self._resource)
        self.items = {_key(item): self._project(item) for item in found}
        self._heard_at = time.monotonic()
        return version

    async def _watch(self, version: str) -> str:
        self._heard_at = time.monotonic()
        async for event in self._client.watch(self._resource, version, seconds=45, quiet_seconds=50):
            self._heard_at = time.monotonic()
            item = event["object"]
            version = item["metadata"]["resourceVersion"]
            if event["type"] == "DELETED":
                self.items.pop(_key(item), None)
            elif event["type"] in ("ADDED", "MODIFIED"):
                self.items[_key(item)] = self._project(item)
        return version


def _key(item: Mapping[str, Any]) -> tuple[str, str]:
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]
