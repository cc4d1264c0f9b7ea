"""What belongs to one service, and deleting what should no longer."""

from collections.abc import Iterable, Mapping
from typing import Any

from sekisho.api.names import MANAGED_BY, MANAGED_BY_LABEL, SERVICE_LABEL
from sekisho.kube.client import KubeClient
from sekisho.kube.resources import DEPLOYMENTS, Resource

Manifest = Mapping[str, Any]


def is_owned(live: Manifest, owner_uid: str) -> bool:
    """Tell whether an object is one that we made for the owner with this uid."""
    meta = live.get("metadata", {})
    labels = meta.get("labels") or {}
    owners = meta.get("ownerReferences") or ()
    return labels.get(MANAGED_BY_LABEL) == MANAGED_BY and any(owner.get("uid") == owner_uid for owner in owners)


def is_left(live: Manifest, service: str) -> bool:
    """Tell whether an object is one that we made for a service of this name and that nobody owns any more."""
    meta = live.get("metadata", {})
    labels = meta.get("labels") or {}
    marked = labels.get(MANAGED_BY_LABEL) == MANAGED_BY and labels.get(SERVICE_LABEL) == service
    return marked and not meta.get("ownerReferences") and not meta.get("deletionTimestamp")


def find_leftovers(children: Iterable[tuple[Resource, Manifest]], owner_uid: str, *, keep: set[tuple[str, str]]) -> (
    list[tuple[Resource, Manifest]]
):  # fmt: skip
    """Return the owner's objects that are not in `keep` (kind, name) and are not being deleted already."""
    return [
        (resource, live)
        for resource, live in children
        if is_owned(live, owner_uid)
        and (resource.kind, live["metadata"]["name"]) not in keep
        and not live["metadata"].get("deletionTimestamp")
    ]


async def prune(client: KubeClient, leftovers: Iterable[tuple[Resource, Manifest]]) -> int:
    """Delete each object by its uid, so that a namesake made meanwhile stays; return how many were there.

    A Deployment stays until its pods are gone: what isolates them waits for it.
    """
    count = 0
    for resource, live in leftovers:
        meta = live["metadata"]
        where = {"namespace": meta.get("namespace", ""), "uid": meta["uid"]}
        count += await client.delete(resource, meta["name"], **where, after_owned=resource == DEPLOYMENTS)
    return count
