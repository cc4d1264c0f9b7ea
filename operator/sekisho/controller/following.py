"""Watches of what there is much of and what changes all the time: pods, and what services are made of.

kopf makes of each event a task with three loggers, a memory of the object and a search for handlers. That takes a third
of a millisecond for every change of every pod of the cluster. Here an event is read and shown.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from typing import Any, Final

from sekisho.controller.store import Name, name_of, version_of
from sekisho.errors import SekishoError
from sekisho.kube.client import KubeClient
from sekisho.kube.failures import ApiConflictError, ApiUnavailableError
from sekisho.kube.resources import Resource

Shown = Callable[[Resource, str | None, Mapping[str, Any]], None]
Reached = Callable[[Resource, int, Mapping[Name, int] | None], None]
_log = logging.getLogger(__name__)
_FIRST_PAUSE_SECONDS: Final = 0.1
_MAX_PAUSE_SECONDS: Final = 4.0
_NEWS: Final = frozenset({"ADDED", "MODIFIED", "DELETED"})


def slow_down(pause: float, error: SekishoError) -> float:
    """Return how long to wait after a failure: twice as long as before it, and no less than the server asks for."""
    asked = error.after_seconds if isinstance(error, ApiUnavailableError) else 0.0
    return max(asked, min(pause * 2, _MAX_PAUSE_SECONDS))


class Follower:
    """Shows every object of one kind, and then each change.

    Args:
        shown: Called with kind, type of the event (None: listed) and the object.
        reached: Called with kind and version once everything until there was shown: by a list, which comes along as
            versions by name so that what vanished unseen is known, or by a bookmark.
        selector: Labels of the objects that are followed; empty: all.
        seconds: When the server is asked to end a watch.
        quiet_seconds: A watch without a byte for so long is opened again.
    """

    def __init__(
        self,
        client: KubeClient,
        resource: Resource,
        shown: Shown,
        reached: Reached,
        *,
        selector: str,
        seconds: int,
        quiet_seconds: float,
    ) -> None:
        self._client = client
        self._resource = resource
        self._shown = shown
        self._reached = reached
        self._selector = selector
        self._seconds = seconds
        self._quiet_seconds = quiet_seconds
        self._version = ""
        self._is_fresh = False
        self._pause = _FIRST_PAUSE_SECONDS

    async def run(self) -> None:
        """List and watch until cancelled; a failure is told and tried again."""
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._watch()
            except SekishoError as error:
                told = {"kind": self._resource.kind, "detail": error.message}
                _log.warning("a watch is opened again", extra=told)
                self._pause = slow_down(self._pause, error)
                if isinstance(error, ApiConflictError):
                    self._forget_version()
            await asyncio.sleep(self._pause * random.uniform(1.0, 1.25))  # noqa: S311 - jitter, no secret

    def _forget_version(self) -> None:
        """List everything anew: at once, but for a version that was too old as soon as it was listed."""
        if self._version and not self._is_fresh:
            self._pause = _FIRST_PAUSE_SECONDS
        self._version = ""

    async def _list(self) -> None:
        version, listed = "", dict[Name, int]()
        async for items, at in self._client.pages_at(self._resource, label_selector=self._selector):
            for item in items:
                self._shown(self._resource, None, item)
                listed[name_of(item)] = version_of(item)
            version = at
        self._reached(self._resource, int(version), listed)
        self._version, self._is_fresh = version, True

    async def _watch(self) -> None:
        events = self._client.watch(
            self._resource,
            self._version,
            seconds=self._seconds,
            quiet_seconds=self._quiet_seconds,
            label_selector=self._selector,
        )
        async for event in events:
            item = event["object"]
            if event["type"] in _NEWS:
                self._shown(self._resource, event["type"], item)
            elif event["type"] == "BOOKMARK":
                self._reached(self._resource, version_of(item), None)
            self._version = item["metadata"]["resourceVersion"]
            # Not before: a watch that is accepted and breaks at once would be opened for ever without a rest.
            self._pause, self._is_fresh = _FIRST_PAUSE_SECONDS, False
