"""Services that may rest: they run while they are asked for, and a while after."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.api import names
from sekisho.api.times import MOST_AHEAD_SECONDS, format_time
from sekisho.api.v1alpha1.inferenceservice import Predictor
from sekisho.errors import Reason
from sekisho.placement.snapshot import PodUsage, take_snapshot
from sekisho.plan.inferenceservice import plan
from sekisho.plan.sleeping import count_replicas, may_sleep, next_sleep_seconds, read_asked_at
from sekisho.plan.world import Plan, ServiceObject, World
from tests.unit.plan.seals import sealed_model
from tests.unit.plan.test_release import BROKER
from tests.unit.plan.worlds import (
    NOW,
    build_node,
    build_pod,
    build_service,
    build_world,
    condition,
    observe,
    starting_pod,
)

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


def test_a_service_that_sleeps_again_says_when_it_was_last_asked_for_and_by_whose_clock() -> None:
    told = format_time(NOW - 61)
    assert condition(look(service(61)), "Serving")["message"] == (
        f"spec.predictor.minReplicas is 0, and nobody has asked for 60 s (idleSeconds), last at {told} by the clock of "
        "sekisho-gateway-0: no pod runs; the next request wakes one"
    )


@pytest.mark.parametrize(("fields", "whose"), [({"by": "sekisho-gateway-1"}, "sekisho-gateway-1"), ({}, "a gateway")])
def test_a_clock_that_is_far_ahead_wakes_nothing_and_the_status_says_so(fields: dict[str, str], whose: str) -> None:
    told = format_time(NOW + MOST_AHEAD_SECONDS + 60)
    decided = look(build_service(predictor=RESTING, status={"demand": {"askedAt": told, **fields}}))
    assert replicas_of(decided) == 0
    assert condition(decided, "Ready")["message"] == (
        f"at rest, as asked: status.demand.askedAt, {told} by the clock of {whose}, is more than 300 s ahead of the "
        "operator's clock and counts for nothing: no pod runs; set the clocks of their nodes, then ask again"
    )


@pytest.mark.parametrize("told", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2026-11-30T25:00:00Z"])
def test_a_time_at_the_end_of_all_time_is_read_like_any_other(told: str) -> None:
    decided = look(build_service(predictor=RESTING, status={"demand": {"askedAt": told}}))
    assert (replicas_of(decided), decided.check_after_seconds) == (0, None)


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


def fill(world: World, site: str) -> World:
    """Let others hold all that the nodes of a site have."""
    nodes = {"tokyo": ("tk-1", "tk-2"), "osaka": ("os-1",)}
    taken = [PodUsage(node, "others", "", 8000, 16384, 0) for node in nodes[site]]
    known = [build_node(name, place) for place, names in nodes.items() for name in names]
    return replace(world, snapshot=take_snapshot(known, taken))


def asleep_at_tokyo() -> tuple[World, dict[str, Any]]:
    """Return what a service left that has run at tokyo-closed and sleeps."""
    base = build_world()
    slept = plan(service(61), base)
    assert slept.status["placement"]["site"] == "tokyo-closed"
    return replace(base, children=observe(slept)), {**slept.status, **asked(1)}


def test_what_wakes_goes_where_there_is_room() -> None:
    world, status = asleep_at_tokyo()
    decided = plan(build_service(predictor=RESTING, status=status), fill(world, "tokyo"))
    assert replicas_of(decided) == 1
    assert decided.status["placement"]["site"] == "osaka-cloud"
    assert condition(decided, "Placed")["status"] == "True"


def test_what_wakes_stays_where_it_was_while_there_is_room_or_none_anywhere() -> None:
    world, status = asleep_at_tokyo()
    stays = build_service(predictor=RESTING, status=status)
    nowhere = replace(fill(world, "tokyo"), sites={"tokyo-closed": world.sites["tokyo-closed"]})
    for each in (world, fill(world, "osaka"), nowhere):
        decided = plan(stays, each)
        assert (replicas_of(decided), decided.status["placement"]["site"]) == (1, "tokyo-closed")


def test_what_sleeps_or_has_a_pod_stays_where_it_is_in_spite_of_a_lack_of_room() -> None:
    world, status = asleep_at_tokyo()
    still = build_service(predictor=RESTING, status={**status, **asked(61)})
    awake = build_service(predictor=RESTING, status=status)
    full = fill(world, "tokyo")
    for obj, pods in ((still, ()), (awake, (build_pod(),)), (awake, (starting_pod(),))):
        decided = plan(obj, replace(full, pods=pods))
        assert decided.status["placement"]["site"] == "tokyo-closed"


def test_a_sealed_model_that_sleeps_has_no_key_and_wakes_with_the_pods_that_the_broker_knows() -> None:
    world = build_world(model=sealed_model(), settings=BROKER)
    first = plan(service(61), world)
    slept = plan(build_service(predictor=RESTING, status=first.status), replace(world, children=observe(first)))
    assert condition(slept, "Ready")["reason"] == Reason.SCALED_TO_ZERO
    for kind in ("Attested", "KeyReleased"):
        assert condition(slept, kind)["message"] == "no pod runs that could ask for a key"
    woken = plan(
        build_service(predictor=RESTING, status={**slept.status, **asked(1)}), replace(world, children=observe(slept))
    )
    assert replicas_of(woken) == 1
    assert woken.status["template"] == slept.status["template"]
    assert woken.status["template"]["digest"]


def test_a_sealed_model_whose_key_was_taken_back_while_it_slept_says_so_once_it_is_woken() -> None:
    world = build_world(model=sealed_model(), settings=BROKER)
    told = {"status": "False", "reason": "GrantSuspended", "message": "KeyReleasePolicy owners/x is suspended"}
    refused = starting_pod(conditions={names.KEY_RELEASED_POD_CONDITION: told})
    first = plan(service(1), world)
    woken = plan(service(1), replace(world, children=observe(first), pods=(refused,)))
    ready = condition(woken, "Ready")
    assert (ready["status"], ready["reason"]) == ("False", condition(woken, "KeyReleased")["reason"])
    assert ready["message"].endswith("KeyReleasePolicy owners/x is suspended")


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
