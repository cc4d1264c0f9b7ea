"""Events: one for what users must know, on a transition alone, and the same one however often it is tried."""

import hashlib
import logging
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from sekisho.errors import Reason, RefusedError
from sekisho.kube.client import KubeClient
from sekisho.kube.failures import ApiConflictError
from sekisho.kube.resources import EVENTS, Resource
from sekisho.plan.conditions import Announcement

_log = logging.getLogger(__name__)
MAX_NOTE: Final = 1024  # bytes, as the API server counts
CONTROLLER: Final = "sekisho.dev/controller"
# What passes by itself on the way up is told by the status; an event would only be noise.
_ON_THE_WAY: Final = frozenset({
    Reason.ISOLATION_PENDING, Reason.WEIGHTS_PENDING, Reason.PENDING, Reason.ENGINE_STARTING, Reason.FETCHING,
    Reason.NETWORK_POLICY_NOT_OBSERVED, Reason.SCALED_TO_ZERO,
})  # fmt: skip
_WORTH_TELLING: Final = frozenset({Reason.READY, Reason.SERVING})


def choose(announcements: Iterable[Announcement]) -> list[Announcement]:
    """Return what becomes an event: the first warning, or else that the object is ready now."""
    told = list(announcements)
    warnings = [item for item in told if item.type == "Warning" and item.reason not in _ON_THE_WAY]
    good = [item for item in told if item.type == "Normal" and item.reason in _WORTH_TELLING]
    return warnings[:1] or good[-1:]


def render_event(
    announcement: Announcement, resource: Resource, raw: Mapping[str, Any], *, instance: str, at: datetime
) -> dict[str, Any]:
    """Render an event; its name says what it speaks of, so that a second attempt meets the first."""
    meta = raw["metadata"]
    said = "\n".join(
        (str(meta.get("uid")), str(meta.get("resourceVersion")), announcement.reason, announcement.message)
    )
    return {
        "apiVersion": EVENTS.api_version,
        "kind": EVENTS.kind,
        "metadata": {
            "name": f"{meta['name']}.{hashlib.sha256(said.encode()).hexdigest()[:16]}",
            "namespace": meta.get("namespace") or "default",
        },
        "eventTime": at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "reportingController": CONTROLLER,
        "reportingInstance": instance[:128],
        "action": "Reconcile",
        "reason": announcement.reason[:128],
        "type": announcement.type,
        "note": announcement.message.encode()[:MAX_NOTE].decode(errors="ignore"),
        "regarding": {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "name": meta["name"],
            "namespace": meta.get("namespace", ""),
            "uid": meta.get("uid", ""),
            "resourceVersion": str(meta.get("resourceVersion", "")),
        },
    }


async def announce(
    client: KubeClient,
    announcements: Iterable[Announcement],
    resource: Resource,
    raw: Mapping[str, Any],
    *,
    instance: str,
) -> int:
    """Send what `choose` leaves; return how many events that made.

    Events only repeat what the status says. So one that is refused - by a quota, or because the namespace is going - is
    logged, and what comes after it goes on.
    """
    count = 0
    for item in choose(announcements):
        event = render_event(item, resource, raw, instance=instance, at=datetime.now(UTC))
        try:
            await client.create(event)
            count += 1
        except ApiConflictError:
            continue  # told already, before a restart
        except RefusedError as error:
            name = f"{raw['metadata'].get('namespace', '')}/{raw['metadata']['name']}"
            _log.warning("an event is refused", extra={"object": name, "event": item.reason, "detail": error.message})
    return count
