"""What the API server shows of a service's pods, read from raw objects."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sekisho.api.times import parse_time, parse_time_or_zero
from sekisho.errors import Reason
from sekisho.plan.world import Manifest

MAX_TEXT: Final = 512
MAX_CONDITION: Final = 1024  # what the depot writes ends with what to do
ADDITIONS: Final = "additions"  # in the spec of a pod as it is kept: what `list_additions` found in the whole of it
_REASONS: Final = frozenset(Reason)


@dataclass(frozen=True, slots=True)
class PodCondition:
    """One condition of a pod; `probed_at` is when its writer last looked, in Unix seconds."""

    status: str
    reason: str
    message: str
    probed_at: float | None


@dataclass(frozen=True, slots=True)
class ContainerState:
    """What became of one container.

    Attributes:
        waiting: Reason for which it waits; empty while it runs or has ended.
        message: What the kubelet says beside `waiting`, or the end of it.
        exit_code: Of the last end; None where it never ended.
        ended: Reason of the last end, for example OOMKilled.
    """

    name: str
    image: str
    ready: bool
    waiting: str
    message: str
    restarts: int
    exit_code: int | None
    ended: str


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod.

    Attributes:
        created_at: In Unix seconds; 0 where it is not known.
        additions: Containers and volumes that the operator did not write, named with their fields.
    """

    name: str
    node: str
    phase: str
    reason: str
    message: str
    labels: Mapping[str, str]
    conditions: Mapping[str, PodCondition]
    containers: tuple[ContainerState, ...]
    uid: str = ""
    created_at: float = 0.0
    additions: tuple[str, ...] = ()

    def condition(self, kind: str) -> PodCondition:
        """Return a condition; one that is Unknown where the pod has none of that type."""
        return self.conditions.get(kind) or PodCondition("Unknown", "", "", None)

    def container(self, name: str) -> ContainerState | None:
        """Return the state of a container, of an init container too; None before the kubelet reported it."""
        return next((item for item in self.containers if item.name == name), None)

    @property
    def is_ready(self) -> bool:
        """Whether requests may reach it."""
        return self.condition("Ready").status == "True"


def read_pods(raw: Iterable[Manifest]) -> tuple[Pod, ...]:
    """Read pods that live: neither ended for good nor being deleted."""
    pods = (_read_pod(item) for item in raw if not item["metadata"].get("deletionTimestamp"))
    return tuple(pod for pod in pods if pod.phase != "Succeeded")


def map_reason(reason: str, otherwise: Reason) -> Reason:
    """Return the product's reason of that name; what others invent becomes `otherwise`."""
    return Reason(reason) if reason in _REASONS else otherwise


def clip(text: Any, *, most: int = MAX_TEXT) -> str:
    """Bound a text from outside, on one line."""
    return re.sub(r"\s+", " ", str(text or "")).strip()[:most]


def _read_pod(raw: Manifest) -> Pod:
    status = raw.get("status") or {}
    states = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    return Pod(
        name=str(raw["metadata"]["name"]),
        node=str((raw.get("spec") or {}).get("nodeName") or ""),
        phase=str(status.get("phase", "Pending")),
        reason=str(status.get("reason") or ""),
        message=clip(status.get("message")),
        labels=raw["metadata"].get("labels") or {},
        conditions={str(item.get("type")): _read_condition(item) for item in status.get("conditions") or ()},
        containers=tuple(_read_container(item) for item in states),
        uid=str(raw["metadata"].get("uid") or ""),
        created_at=parse_time_or_zero(raw["metadata"].get("creationTimestamp")),
        additions=tuple((raw.get("spec") or {}).get(ADDITIONS) or ()),
    )


def _read_condition(raw: Mapping[str, Any]) -> PodCondition:
    return PodCondition(
        status=str(raw.get("status", "Unknown")),
        reason=str(raw.get("reason") or ""),
        message=clip(raw.get("message"), most=MAX_CONDITION),
        probed_at=parse_time(raw.get("lastProbeTime")),
    )


def _read_container(raw: Mapping[str, Any]) -> ContainerState:
    state, last = raw.get("state") or {}, raw.get("lastState") or {}
    waiting = state.get("waiting") or {}
    end = state.get("terminated") or last.get("terminated") or {}
    return ContainerState(
        name=str(raw.get("name")),
        image=str(raw.get("image") or ""),
        ready=bool(raw.get("ready")),
        waiting=str(waiting.get("reason") or ""),
        message=clip(waiting.get("message")) or clip(end.get("message")),
        restarts=int(raw.get("restartCount") or 0),
        exit_code=int(end["exitCode"]) if "exitCode" in end else None,
        ended=str(end.get("reason") or ""),
    )
