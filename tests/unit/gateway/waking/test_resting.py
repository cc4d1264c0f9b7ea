"""What the gateway reads of a service that may rest."""

from typing import Any

import pytest

from sekisho.gateway.decide import read_service
from sekisho.gateway.waking.resting import read_rest

RESTING: dict[str, Any] = {"predictor": {"minReplicas": 0, "idleSeconds": 90}}


def condition(kind: str, status: str, reason: str, message: str = "") -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "message": message}


ASLEEP = (
    condition("Accepted", "True", "Accepted"),
    condition("Placed", "True", "Placed"),
    condition("Isolated", "Unknown", "IsolationPending", "no pod runs that could prove more"),
    condition("Serving", "False", "ScaledToZero", "no pod runs"),
    condition("Ready", "True", "ScaledToZero", "at rest, as asked"),
)


@pytest.mark.parametrize("predictor", [{}, {"minReplicas": 1}, {"minReplicas": 0, "maxReplicas": 0}])
def test_a_service_that_always_runs_or_never_does_is_woken_by_nothing(predictor: dict[str, Any]) -> None:
    assert read_rest({"predictor": predictor}, {}) is None


def test_a_sleeping_service_says_when_it_was_asked_and_how_long_that_counts() -> None:
    rest = read_rest(RESTING, {"conditions": ASLEEP, "demand": {"askedAt": "1970-01-01T00:01:00Z"}})
    assert rest is not None
    assert (rest.idle_seconds, rest.asked_at, rest.sleeps) == (90, 60.0, True)
    assert rest.awaits == "it is asleep, and the operator is told that it is asked for"


def test_a_sleeping_service_is_looked_at_pod_by_pod() -> None:
    facts = read_service({"metadata": {"uid": "u"}, "spec": RESTING, "status": {"conditions": ASLEEP}})
    assert (facts.unmet, facts.uid) == (None, "u")
    assert facts.rest is not None


@pytest.mark.parametrize(
    ("conditions", "awaited"),
    [
        ((), "its pods are starting"),
        ((condition("Ready", "False", "Unschedulable", "no node"),), "no node"),
        (
            (
                condition("Ready", "False", "EngineStarting", "0 of 1"),
                condition("WeightsAvailable", "False", "Fetching", "40 MB of 110 MB"),
            ),
            "40 MB of 110 MB",
        ),
        ((condition("Isolated", "Unknown", "IsolationPending", "not proven"), condition("Ready", "True", "x")),
         "not proven"),
        ((condition("Ready", "False", "x", "m" * 2000),), "m" * 512),
    ],
)  # fmt: skip
def test_what_is_awaited_is_what_stands_in_the_way(conditions: tuple[dict[str, str], ...], awaited: str) -> None:
    rest = read_rest(RESTING, {"conditions": conditions})
    assert rest is not None
    assert (rest.sleeps, rest.awaits) == (False, awaited)
