"""Watches of what there is much of and what changes all the time: pods, and what services are made of.

kopf makes of each event a task with three loggers, a memory of the object and a search for handlers. That takes a third
of a millisecond for every change of every pod of the cluster. Here an event is read and shown.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from typing import Any, Final

from sekisho.errors import SekishoError
from sekisho.kube.client import KubeClient
from sekisho.kube.failures import ApiConflictError
from sekisho.kube.resources import Resource

Shown = Callable[[Resource, str | None, Mapping[str, Any]], None]
_log = logging.getLogger(__name__)
_FIRST_PAUSE_SECONDS: Final = 0.1
_MAX_PAUSE_SECONDS: Final = 5.0
_NEWS: Final = frozenset({"ADDED", "MODIFIED", "DELETED"})


class Follower:
    """Shows every object of one kind, and then each change; what vanishes while nobody watches the lists beside tell.

    Args:
        shown: Called with kind, type of the event (None: listed) and the object.
        selector: Labels of the objects that are followed; empty: all.
        seconds: When the server is asked to end a watch.
        quiet_seconds: A watch without a byte for so long is opened again.
    """

    def __init__(
        self, client: KubeClient, resource: Resource, shown: Shown, *, selector: str, seconds: int, quiet_seconds: float
    ) -> None:
        self._client = client
        self._resource = resource
        self._shown = shown
        self._selector = selector
        self._seconds = seconds
        self._quiet_seconds = quiet_seconds
        self._version = ""
        self._pause = _FIRST_PAUSE_SECONDS

    async def run(self) -> None:
        """List and watch until cancelled; a failure is told and tried again."""
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._watch()
            except ApiConflictError:
                self._version = ""  # too old to go on from; everything is listed anew
            except SekishoError as error:
                told = {"kind": self._resource.kind, "detail": error.message}
                _log.warning("a watch is opened again", extra=told)
                self._pause = min(self._pause * 2, _MAX_PAUSE_SECONDS)
            await asyncio.sleep(self._pause * random.uniform(0.7, 1.0))  # noqa: S311 - jitter, no secret

    async def _list(self) -> None:
        version = ""
        async for items, at in self._client.pages_at(self._resource, label_selector=self._selector):
            for item in items:
                self._shown(self._resource, None, item)
            version = at
        self._version = version

    async def _watch(self) -> None:
        events = self._client.watch(
            self._resource,
            self._version,
            seconds=self._seconds,
            quiet_seconds=self._quiet_seconds,
            opened=self._hear,
            label_selector=self._selector,
        )
        async for event in events:
            item = event["object"]
            if event["type"] in _NEWS:
                self._shown(self._resource, event["type"], item)
            self._version = item["metadata"]["resourceVersion"]

    def _hear(self) -> None:
        self._pause = _FIRST_PAUSE_SECONDS
