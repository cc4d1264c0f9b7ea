"""Keep the objects of one kind as the API server shows them: a list, then a watch, then again."""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from typing import Any, Final

from sekisho.errors import SekishoError
from sekisho.kube.client import KubeClient
from sekisho.kube.resources import Resource

Raw = Mapping[str, Any]
Name = tuple[str, str]
_LOG: Final = logging.getLogger(__name__)
_REST_SECONDS: Final = 1.0
_MOST_REST_SECONDS: Final = 10.0


class Following:
    """The objects of one kind.

    Attributes:
        objects: By namespace and name; namespace is empty for kinds without.
        is_known: Whether they were listed once.

    Args:
        changed: Called after every change.
    """

    def __init__(self, client: KubeClient, resource: Resource, *, changed: Callable[[], None]) -> None:
        self.objects: dict[Name, Raw] = {}
        self.is_known = False
        self._client = client
        self._resource = resource
        self._changed = changed

    async def run(self) -> None:
        """Follow until cancelled; whatever breaks, the next list repairs. What an earlier run knew counts no more."""
        failures = 0
        self.is_known = False
        while True:
            try:
                await self._follow()
                failures = 0
            except SekishoError as error:
                failures += 1
                _LOG.info("a watch begins anew", extra={"kind": self._resource.kind, "error": error.message})
            rest = min(_MOST_REST_SECONDS, _REST_SECONDS * 2.0 ** min(failures, 8))
            await asyncio.sleep(rest * random.uniform(0.5, 1.0))  # noqa: S311 - only spreads load

    async def _follow(self) -> None:
        items, version = await self._client.list_at(self._resource)
        self.objects = {_name(raw): raw for raw in items}
        self.is_known = True
        self._changed()
        async for event in self._client.watch(self._resource, version):
            raw, kind = event.get("object") or {}, event.get("type")
            if kind == "BOOKMARK":
                continue
            if kind == "DELETED":
                self.objects.pop(_name(raw), None)
            else:
                self.objects[_name(raw)] = raw
            self._changed()


def _name(raw: Raw) -> Name:
    meta = raw.get("metadata") or {}
    return str(meta.get("namespace", "")), str(meta.get("name", ""))
