"""What a pod of ours has beside what we wrote: containers and volumes that something in the cluster put into it."""

from collections.abc import Mapping
from typing import Any, Final

OWN_PARTS: Final[Mapping[str, frozenset[str]]] = {
    "initContainers": frozenset({"fence", "agent"}),
    "containers": frozenset({"engine"}),
    "ephemeralContainers": frozenset(),
    "volumes": frozenset({"weights", "sealed", "handover", "config", "token", "tmp", "agent-tmp", "shm"}),
}
"""Names of all that a template of ours may hold, by field of the pod's spec; admission knows the same."""


def list_additions(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """Name every container and volume of a pod's spec that is not ours, with its field."""
    return tuple(
        f"{'volume' if field == 'volumes' else 'container'} {str(item.get('name'))[:63]} (spec.{field})"
        for field, own in OWN_PARTS.items()
        for item in spec.get(field) or ()
        if item.get("name") not in own
    )
