"""Publish a status: by server-side apply, to the status alone, and only where it differs."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from sekisho.controller.announce import announce
from sekisho.controller.cluster import Cluster
from sekisho.controller.store import Change
from sekisho.errors import RefusedError, SekishoError
from sekisho.kube.client import KubeClient
from sekisho.kube.resources import Resource
from sekisho.plan.conditions import Announcement, Aspect, Facet, Progress, settle_conditions

Raw = Mapping[str, Any]
_DERIVED = frozenset({"Reconciling", "Stalled"})
INSPECTION: Final = "inspection"
KEY: Final = "key"
DEMAND: Final = "demand"
_OF_OTHERS: Final = frozenset({INSPECTION, KEY, DEMAND})


class Publisher:
    """Writes statuses and events of one installation.

    Args:
        route: Told of what an answer of the server shows that others have written meanwhile: the watch will show the
            same version later, which is no news then.
    """

    def __init__(self, client: KubeClient, cluster: Cluster, *, instance: str, route: Callable[[Change], None]) -> None:
        self._client = client
        self._route = route
        self._cluster = cluster
        self._instance = instance
        self._kept: dict[str, tuple[Raw, Raw]] = {}

    async def publish(
        self, resource: Resource, raw: Raw, status: Raw, *, announcements: tuple[Announcement, ...] = ()
    ) -> bool:
        """Make the status so; return whether that took a write.

        Events go first: should this process end between the two, the same events are tried again and meet themselves.
        """
        have, uid = _own_part(raw), str(raw["metadata"]["uid"])
        if have == status or self._kept.get(uid) == (status, have):
            return False
        await announce(self._client, announcements, resource, raw, instance=self._instance)
        meta = raw["metadata"]
        stored = await self._client.apply(
            {
                "apiVersion": resource.api_version,
                "kind": resource.kind,
                "metadata": {key: meta[key] for key in ("name", "namespace", "uid") if meta.get(key)},
                "status": status,
            },
            subresource="status",
        )
        change = self._cluster.note(self._cluster.stores[resource].put(stored))
        if change is not None and is_inspected_anew(change):
            self._route(change)
        got = _own_part(stored)
        self._kept.pop(uid, None)
        if got != status:
            # Somebody else owns a field of it; asking again would change nothing.
            self._kept[uid] = (status, got)
        return True

    def forget(self, uid: str) -> None:
        """Drop what is remembered of an object that is gone."""
        self._kept.pop(uid, None)


def _own_part(raw: Raw) -> Raw:
    """Return the status without what depot, broker and gateway write into it."""
    return {key: value for key, value in (raw.get("status") or {}).items() if key not in _OF_OTHERS}


def is_inspected_anew(change: Change) -> bool:
    """Tell whether what others say differs, of a Model, its key or who asks for it: what of a status is not ours."""
    old, new = ((raw or {}).get("status") or {} for raw in (change.old, change.new))
    return any(old.get(part) != new.get(part) for part in _OF_OTHERS)


def tell_failure(
    planned: Raw, old: Raw, error: SekishoError, *, generation: int, now_at: float
) -> tuple[Raw, tuple[Announcement, ...]]:
    """Return the planned status with `Ready` saying why it could not be made so."""
    aspects = [
        Aspect(item["type"], item["status"], item["reason"], item.get("message", ""))
        for item in planned.get("conditions") or ()
        if item["type"] not in {*_DERIVED, "Ready"}
    ]
    # Failures that pass are worded anew at each try: with the address of a webhook, or how long it was waited for.
    stem = "" if isinstance(error, RefusedError) else error.message.partition(":")[0]
    aspects.append(Aspect("Ready", "False", error.reason, error.message, stem))
    progress = Progress.STALLED if isinstance(error, RefusedError) else Progress.MOVING
    settled, told = settle_conditions(Facet(tuple(aspects), progress), old, generation=generation, now_at=now_at)
    warning = Announcement("Warning", error.reason, error.message)
    return {**planned, **settled}, (warning, *told)
