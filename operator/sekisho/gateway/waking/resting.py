"""What the gateway reads of a service that may rest. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sekisho.api.times import parse_time
from sekisho.api.v1alpha1.inferenceservice import IDLE_SECONDS
from sekisho.errors import Reason

_MAX_TOLD: Final = 512


@dataclass(frozen=True, slots=True)
class Rest:
    """A service that runs while it is asked for.

    Attributes:
        idle_seconds: How long after it was last asked it goes on running.
        asked_at: When it was last asked by its status, Unix seconds; None where that says nothing.
        sleeps: Whether nothing of it runs, by the operator's word.
        awaits: What a request for it waits for.
    """

    idle_seconds: int = IDLE_SECONDS
    asked_at: float | None = None
    sleeps: bool = False
    awaits: str = ""


def read_rest(spec: Mapping[str, Any], status: Mapping[str, Any]) -> Rest | None:
    """Read whether a service may rest, and how it stands with it; None where no request starts anything of it."""
    predictor = spec.get("predictor") or {}
    if predictor.get("minReplicas", 1) != 0 or predictor.get("maxReplicas") == 0:
        return None
    conditions = {str(item.get("type")): item for item in status.get("conditions") or ()}
    sleeps = (conditions.get("Serving") or {}).get("reason") == Reason.SCALED_TO_ZERO
    return Rest(
        int(predictor.get("idleSeconds") or IDLE_SECONDS),
        parse_time((status.get("demand") or {}).get("askedAt")),
        sleeps,
        "it is asleep, and the operator is told that it is asked for" if sleeps else _find_awaited(conditions),
    )


def _find_awaited(conditions: Mapping[str, Mapping[str, Any]]) -> str:
    """Return what stands in the way by now; how far a fetch of weights is says more than that no pod is ready."""
    weights = conditions.get("WeightsAvailable") or {}
    fetches = [weights] if weights.get("reason") == Reason.FETCHING else []
    told = (*fetches, *(conditions.get(kind) or {} for kind in ("Ready", "Isolated")))
    unmet = (str(item.get("message")) for item in told if item.get("status") != "True" and item.get("message"))
    return next(unmet, "its pods are starting")[:_MAX_TOLD]
