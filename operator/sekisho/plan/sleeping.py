"""Whether a service that may rest runs: while it is asked for, and for a while after.

The gateway says when it was last asked (`status.demand`); how long that counts is the service's to say.
"""

from collections.abc import Mapping
from typing import Any, Final

from sekisho.api.v1alpha1.inferenceservice import Predictor
from sekisho.plan.conditions import parse_time

# Clocks of two machines differ by less; a time further ahead would keep a service running for as long as it lies ahead.
MOST_AHEAD_SECONDS: Final = 300.0
_MIN_LOOK_SECONDS: Final = 1.0


def may_sleep(predictor: Predictor) -> bool:
    """Tell whether a service runs only while it is asked for."""
    return predictor.min_replicas == 0 and predictor.max_replicas != 0


def read_asked_at(status: Mapping[str, Any], *, now_at: float) -> float | None:
    """Return when a service was last asked for, by its raw status, and never later than now.

    None where nobody asked, or where the time cannot be so.
    """
    return believe_asked_at(parse_time((status.get("demand") or {}).get("askedAt")), now_at=now_at)


def believe_asked_at(asked_at: float | None, *, now_at: float) -> float | None:
    """Return a time that somebody wrote, as far as it can be so: never later than now."""
    if asked_at is None or asked_at > now_at + MOST_AHEAD_SECONDS:
        return None
    return min(asked_at, now_at)


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


def explain_sleep(predictor: Predictor) -> str:
    """Say why nothing runs, and what changes that."""
    if not may_sleep(predictor):
        return "spec.predictor.maxReplicas is 0: no pod runs, and no request starts one; set it to 1 or leave it out"
    return (
        f"spec.predictor.minReplicas is 0, and nobody has asked for {predictor.idle_seconds} s (idleSeconds): no pod "
        "runs; the next request wakes one"
    )
