"""Services that may rest: they run while they are asked for, and a while after."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.api.times import MOST_AHEAD_SECONDS, format_time
from sekisho.api.v1alpha1.inferenceservice import Predictor
from sekisho.errors import Reason
from sekisho.plan.inferenceservice import plan
from sekisho.plan.sleeping import count_replicas, may_sleep, next_sleep_seconds, read_asked_at
from sekisho.plan.world import Plan, ServiceObject
from tests.unit.plan.worlds import NOW, build_pod, build_service, build_world, condition, observe, starting_pod

IDLE = 60
RESTING = {"minReplicas": 0, "idleSeconds": IDLE}


def predictor(**fields: Any) -> Predictor:
    return Predictor.model_validate({"model": {"modelRef": {"name": "smollm2"}}, **fields})


def asked(seconds_ago: float) -> dict[str, Any]:
    return {"demand": {"askedAt": format_time(NOW - seconds_ago), "by": "sekisho-gateway-0"}}


def service(seconds_ago: float | None = None, **fields: Any) -> ServiceObject:
    return build_service(predictor={**RESTING, **fields}, status={} if seconds_ago is None else asked(seconds_ago))


def replicas_of(decided: Plan) -> int:
    return int(next(item for item in decided.workload if item["kind"] == "Deployment")["spec"]["replicas"])


def look(asleep: ServiceObject, *pods: dict[str, Any], ready: int = 0) -> Plan:
    """Plan once everything is applied and these pods are there."""
    base = build_world()
    return plan(asleep, replace(base, children=observe(plan(asleep, base), ready=ready), pods=pods))


def test_nobody_has_asked_so_nothing_runs_and_the_status_says_what_wakes_it() -> None:
    decided = look(service())
    assert replicas_of(decided) == 0
    assert decided.status["replicas"] == {"desired": 0, "ready": 0, "summary": "0/0"}
    serving, ready = condition(decided, "Serving"), condition(decided, "Ready")
    assert (serving["status"], serving["reason"]) == ("False", Reason.SCALED_TO_ZERO)
    assert serving["message"] == (
        "spec.predictor.minReplicas is 0, and nobody has asked for 60 s (idleSeconds): no pod runs; the next request "
        "wakes one"
    )
    assert (ready["status"], ready["message"]) == ("True", f"at rest, as asked: {serving['message']}")
    assert decided.isolation
    assert decided.check_after_seconds is None


def test_a_service_that_is_asked_for_runs_one_replica_behind_its_isolation() -> None:
    decided = look(service(5), starting_pod())
    assert replicas_of(decided) == 1
    assert decided.isolation
    assert condition(decided, "Serving")["reason"] == Reason.ENGINE_STARTING
    assert condition(decided, "Ready")["status"] == "False"
    assert decided.status["replicas"]["summary"] == "0/1"


def test_a_service_that_serves_is_looked_at_again_when_nobody_will_have_asked_for_long() -> None:
    decided = look(service(45), build_pod(), ready=1)
    assert condition(decided, "Ready")["reason"] == Reason.READY
    assert decided.check_after_seconds == pytest.approx(15)


def test_a_look_that_comes_a_moment_too_early_is_followed_by_no_hot_loop() -> None:
    at = NOW + 59.9999
    assert count_replicas(predictor(**RESTING), asked(0), now_at=at) == 1
    assert next_sleep_seconds(predictor(**RESTING), asked(0), now_at=at) == 1.0


def test_a_service_falls_asleep_when_nobody_has_asked_for_long_enough() -> None:
    decided = look(service(60), build_pod(), ready=1)
    assert replicas_of(decided) == 0
    assert condition(decided, "Ready")["reason"] == Reason.SCALED_TO_ZERO
    assert condition(decided, "Ready")["status"] == "False"


def test_a_service_that_was_switched_off_is_woken_by_nobody() -> None:
    decided = look(service(1, maxReplicas=0))
    assert replicas_of(decided) == 0
    assert condition(decided, "Serving")["message"] == (
        "spec.predictor.maxReplicas is 0: no pod runs, and no request starts one; set it to 1 or leave it out"
    )
    assert decided.check_after_seconds is None


def test_a_service_that_always_runs_minds_no_demand() -> None:
    for status in ({}, asked(0), asked(10_000)):
        assert count_replicas(predictor(minReplicas=3), status, now_at=NOW) == 3
        assert next_sleep_seconds(predictor(minReplicas=3), status, now_at=NOW) is None


@pytest.mark.parametrize("said", [None, "", "yesterday", "2026-11-30", 7, format_time(NOW + MOST_AHEAD_SECONDS + 1)])
def test_a_time_that_cannot_be_so_is_no_demand(said: Any) -> None:
    status = {"demand": {"askedAt": said}}
    assert read_asked_at(status, now_at=NOW) is None
    assert count_replicas(predictor(**RESTING), status, now_at=NOW) == 0


def test_a_clock_that_is_a_little_ahead_keeps_nothing_running_longer() -> None:
    status = {"demand": {"askedAt": format_time(NOW + 100)}}
    assert read_asked_at(status, now_at=NOW) == NOW
    assert next_sleep_seconds(predictor(**RESTING), status, now_at=NOW) == IDLE


def test_what_is_not_accepted_is_started_by_no_demand() -> None:
    asleep = replace(service(1), labels={"sekisho.dev/classification": "unheard-of"})
    decided = plan(asleep, build_world())
    assert decided.workload == ()
    assert condition(decided, "Accepted")["reason"] == Reason.UNKNOWN_LEVEL


def test_what_finds_no_room_when_it_wakes_says_so_and_starts_nothing() -> None:
    wanted = service(1, resources={"cpu": "4000"})
    decided = plan(wanted, build_world())
    assert decided.workload == ()
    assert condition(decided, "Placed")["status"] == "False"
    assert decided.check_after_seconds is not None


def test_the_status_that_is_published_leaves_the_demand_to_the_gateway() -> None:
    assert "demand" not in look(service(1)).status


@settings(deadline=None, max_examples=60)
@given(ago=st.integers(-400, 2000), idle=st.integers(10, 1200), least=st.integers(0, 3), most=st.integers(0, 3))
def test_one_replica_runs_exactly_while_the_demand_is_fresh(ago: int, idle: int, least: int, most: int) -> None:
    fields = {"minReplicas": least, "idleSeconds": idle, **({"maxReplicas": most} if most >= least else {})}
    wanted, status = predictor(**fields), asked(ago)
    count, again = (call(wanted, status, now_at=NOW) for call in (count_replicas, next_sleep_seconds))
    if not may_sleep(wanted):
        assert (count, again) == (least, None)
    elif -MOST_AHEAD_SECONDS <= ago < idle:
        assert count == 1
        assert again is not None
        assert 1.0 <= again <= idle
        assert count_replicas(wanted, status, now_at=NOW + max(0, -ago) + idle) == 0
    else:
        assert (count, again) == (0, None)
