"""Whether a service that may rest runs: while it is asked for, and for a while after.

The gateway says when it was last asked (`status.demand`); how long that counts is the service's to say.
"""

from collections.abc import Mapping
from typing import Any, Final

from sekisho.api.times import MOST_AHEAD_SECONDS, believe_past, parse_time
from sekisho.api.v1alpha1.inferenceservice import Predictor

_MIN_LOOK_SECONDS: Final = 1.0


def may_sleep(predictor: Predictor) -> bool:
    """Tell whether a service runs only while it is asked for."""
    return predictor.min_replicas == 0 and predictor.max_replicas != 0


def read_asked_at(status: Mapping[str, Any], *, now_at: float) -> float | None:
    """Return when a service was last asked for, by its raw status, and never later than now.

    None where nobody asked, or where the time cannot be so.
    """
    return believe_past(parse_time((status.get("demand") or {}).get("askedAt")), now_at=now_at)


def count_replicas(predictor: Predictor, status: Mapping[str, Any], *, now_at: float) -> int:
    """Return how many replicas shall run now."""
    if not may_sleep(predictor):
        return predictor.min_replicas
    return int(_find_left(predictor, status, now_at) > 0)


def next_sleep_seconds(predictor: Predictor, status: Mapping[str, Any], *, now_at: float) -> float | None:
    """Return when a service that runs falls asleep if nobody asks any more; None where it does not, or sleeps."""
    left = _find_left(predictor, status, now_at) if may_sleep(predictor) else 0.0
    return max(_MIN_LOOK_SECONDS, left) if left > 0 else None


def _find_left(predictor: Predictor, status: Mapping[str, Any], now_at: float) -> float:
    asked_at = read_asked_at(status, now_at=now_at)
    return 0.0 if asked_at is None else asked_at + predictor.idle_seconds - now_at


def explain_sleep(predictor: Predictor, status: Mapping[str, Any], *, now_at: float) -> str:
    """Say why nothing runs, and what changes that."""
    if not may_sleep(predictor):
        return "spec.predictor.maxReplicas is 0: no pod runs, and no request starts one; set it to 1 or leave it out"
    demand = status.get("demand") or {}
    told, by = demand.get("askedAt"), demand.get("by") or "a gateway"
    if parse_time(told) is not None and read_asked_at(status, now_at=now_at) is None:
        return (
            f"status.demand.askedAt, {told} by the clock of {by}, is more than {MOST_AHEAD_SECONDS:.0f} s ahead of the "
            "operator's clock and counts for nothing: no pod runs; set the clocks of their nodes, then ask again"
        )
    last = f", last at {told} by the clock of {by}" if parse_time(told) is not None else ""
    return (
        f"spec.predictor.minReplicas is 0, and nobody has asked for {predictor.idle_seconds} s (idleSeconds){last}: no "
        "pod runs; the next request wakes one"
    )
