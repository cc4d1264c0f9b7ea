"""Pods on nodes that lost their trust leave them, in time, and no other pod does."""

from dataclasses import replace
from typing import Any

import pytest

from sekisho.api import names
from sekisho.api.times import format_time
from sekisho.errors import Reason
from sekisho.placement.snapshot import NodeFacts, take_snapshot
from sekisho.plan.inferenceservice import plan
from sekisho.plan.world import Eviction, World
from tests.unit.plan.worlds import (
    NOW,
    build_node,
    build_pod,
    build_policy,
    build_service,
    build_world,
    condition,
    settle,
)

CONFIDENTIAL = {"classification": {"level": "confidential"}, "predictor": {"minReplicas": 2}}
TRUST = names.trust_label("snp")


def node(name: str, age: float | None) -> NodeFacts:
    labels = {key: value for key, value in build_node(name, "tokyo").labels.items() if key != TRUST}
    return build_node(name, "tokyo", labels=labels | ({} if age is None else {TRUST: str(int(NOW - age))}))


def pod(name: str, on: str, *, age: float = 300, **changes: Any) -> dict[str, Any]:
    metadata = {"uid": f"uid-{name}", "creationTimestamp": format_time(NOW - age)}
    return build_pod(name, node=on, metadata=metadata, **changes)


def world_of(first: float | None, second: float | None, *pods: dict[str, Any]) -> World:
    return build_world(snapshot=take_snapshot([node("tk-1", first), node("tk-2", second)], []), pods=pods)


def decide(first: float | None, second: float | None, *pods: dict[str, Any], **changes: Any) -> Any:
    service, _ = settle(build_service(**CONFIDENTIAL), build_world(), pods=pods)
    return plan(service, replace(world_of(first, second, *pods), **changes))


BOTH = (pod("review-predictor-0", "tk-1"), pod("review-predictor-1", "tk-2"))


def test_where_every_proof_is_young_nothing_is_evicted() -> None:
    assert decide(200, 200, *BOTH).evictions == ()


@pytest.mark.parametrize(
    ("age", "reason", "told"),
    [(9000, Reason.TRUST_TOO_OLD, "9,000 s old"), (None, Reason.TRUST_MISSING, "node tk-1 lacks snp or tdx")],
)
def test_the_pod_on_a_node_that_lost_its_trust_is_evicted_and_the_other_stays(
    age: float | None, reason: Reason, told: str
) -> None:
    decided = decide(age, 200, *BOTH)
    (gone,) = decided.evictions
    assert isinstance(gone, Eviction)
    assert (gone.name, gone.uid, gone.reason) == ("review-predictor-0", "uid-review-predictor-0", reason)
    assert told in gone.detail
    assert condition(decided, "Placed")["reason"] == reason
    assert decided.check_after_seconds <= 5.0


def test_a_pod_that_was_only_just_put_there_is_not_evicted_at_once() -> None:
    young = pod("review-predictor-0", "tk-1", age=59)
    assert decide(9000, 200, young, BOTH[1]).evictions == ()
    assert len(decide(9000, 200, pod("review-predictor-0", "tk-1", age=60), BOTH[1]).evictions) == 1


@pytest.mark.parametrize(
    ("since", "changes", "overdue"),
    [
        (599, {}, False),
        (600, {}, True),
        (9000, {"reason": "NoNodes"}, False),
        (9000, {"status": "True"}, False),
        (9000, {"lastTransitionTime": "soon"}, False),
    ],
)
def test_no_budget_holds_a_pod_for_more_than_ten_minutes(since: float, changes: dict[str, str], overdue: bool) -> None:
    placed = {"type": "Placed", "status": "False", "reason": "TrustTooOld", **changes}
    status = {"conditions": [{"lastTransitionTime": format_time(NOW - since), **placed}]}
    service, _ = settle(build_service(**CONFIDENTIAL), build_world(), pods=BOTH)
    (gone,) = plan(replace(service, status=status), world_of(9000, 200, *BOTH)).evictions
    assert gone.overdue is overdue


def test_a_pod_whose_uid_is_not_known_is_not_evicted() -> None:
    nameless = build_pod("review-predictor-0", node="tk-1")
    assert decide(9000, 200, nameless, BOTH[1]).evictions == ()


def test_a_node_that_left_the_site_is_told_and_its_pod_left_to_people() -> None:
    gone = replace(node("tk-1", 200), labels={TRUST: str(int(NOW - 200))})
    snapshot = take_snapshot([gone, node("tk-2", 200)], [])
    decided = decide(200, 200, *BOTH, snapshot=snapshot)
    assert condition(decided, "Placed")["reason"] == Reason.NO_NODES
    assert decided.evictions == ()


def test_where_no_node_of_the_site_is_trusted_the_workload_goes_and_nothing_is_evicted() -> None:
    decided = decide(9000, 9000, *BOTH)
    assert decided.prune[0] == "Deployment"
    assert decided.evictions == ()


def test_a_class_without_trust_never_evicts() -> None:
    service, _ = settle(build_service(), build_world(), pods=BOTH)
    decided = plan(service, world_of(None, None, *BOTH))
    assert decided.evictions == ()


def test_many_pods_are_evicted_a_few_at_a_time() -> None:
    many = tuple(pod(f"review-predictor-{n}", "tk-1") for n in range(20))
    assert len(decide(9000, 200, *many).evictions) == 16


@pytest.mark.parametrize(("age", "after"), [(3590, 11.0), (3599.5, 1.5), (3000, 60.0)])
def test_the_next_look_is_when_the_first_proof_will_be_too_old(age: float, after: float) -> None:
    decided = decide(age, 200, *BOTH)
    assert decided.evictions == ()
    assert decided.check_after_seconds == pytest.approx(after, abs=1.0)


def test_a_proof_of_a_node_without_pods_of_the_service_hurries_nobody() -> None:
    assert decide(3590, 200, BOTH[1]).check_after_seconds == 60.0


def test_a_class_that_nothing_can_satisfy_waits_for_no_proof() -> None:
    impossible = {"tiers": ["Closed"], "trust": {"anyOf": ["snp"], "maxAgeSeconds": 60}}
    tdx = {"tiers": ["Closed"], "trust": {"anyOf": ["tdx"], "maxAgeSeconds": 60}}
    policy = build_policy(confidential=impossible)
    compartments = [{"name": "gdpr", "rules": tdx}]
    body = policy.model_dump(by_alias=True, exclude_none=True)
    strict = policy.model_validate({**body, "compartments": compartments})
    both = {"classification": {"level": "confidential", "compartments": ["gdpr"]}}
    service, _ = settle(build_service(**both), build_world(), pods=BOTH)
    decided = plan(service, replace(world_of(200, 200, *BOTH), policy=strict))
    assert condition(decided, "Placed")["reason"] == Reason.TRUST_IMPOSSIBLE
    assert decided.check_after_seconds == 15.0
