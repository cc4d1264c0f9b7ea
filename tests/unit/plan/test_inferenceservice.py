"""The plan as a whole: order, steadiness, moving, deletion; and the laws of status over any world."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.api import names
from sekisho.errors import Reason
from sekisho.placement.snapshot import PodUsage, take_snapshot
from sekisho.plan.inferenceservice import plan
from tests.unit.plan.test_conditions import check_laws
from tests.unit.plan.worlds import (
    NOW,
    build_model,
    build_node,
    build_pod,
    build_policy,
    build_service,
    build_site,
    build_world,
    condition,
    kinds,
    observe,
    settle,
    starting_pod,
)

CONFIDENTIAL = {"classification": {"level": "confidential"}}


def attested(**ages: int) -> Any:
    """Return a snapshot of tokyo's nodes with proofs of these ages."""
    trust = names.trust_label("snp")
    base = build_node("x", "tokyo").labels
    nodes = [build_node(name, "tokyo", labels={**base, trust: str(int(NOW) - age)}) for name, age in ages.items()]
    return take_snapshot(nodes, [])


def test_a_service_that_is_ready_stays_exactly_as_it_is_told() -> None:
    service, world = settle(build_service(), build_world())
    assert condition(plan(service, world), "Ready")["status"] == "True"
    later = replace(world, now_at=NOW + 60)
    again = plan(service, later)
    assert json.dumps(again.status) == json.dumps(dict(service.status))
    assert again.announcements == ()


def test_facts_that_move_without_changing_the_decision_cause_no_write() -> None:
    service, world = settle(build_service(**CONFIDENTIAL), build_world())
    assert "snp verified 200 s ago" in service.status["placement"]["because"]
    nodes = [build_node("tk-1", "tokyo"), build_node("tk-2", "tokyo"), build_node("os-1", "osaka")]
    used = take_snapshot(nodes, [PodUsage("tk-1", "web", "faq", 100, 1000, 0)])
    again = plan(service, replace(world, now_at=NOW + 90, snapshot=used))
    assert again.status == service.status


def test_a_refusal_whose_ages_grow_is_told_once_and_anew_when_more_than_ages_changes() -> None:
    service = build_service(**CONFIDENTIAL)
    first = plan(service, build_world(snapshot=attested(a=9000)))
    assert condition(first, "Placed")["reason"] == Reason.TRUST_TOO_OLD
    told = replace(service, status=first.status)
    assert plan(told, build_world(snapshot=attested(a=9000), now_at=NOW + 77)).status == first.status
    other = plan(told, build_world(snapshot=attested(a=9000, b=8000)))
    assert "node b" in json.dumps(other.status["placement"])


def test_the_decision_is_told_anew_with_a_new_generation_or_class() -> None:
    service, world = settle(build_service(), build_world())
    used = take_snapshot(
        world.snapshot.nodes, [PodUsage("tk-1", "web", "f", 100, 1000, 0), PodUsage("tk-2", "web", "f", 100, 1000, 0)]
    )
    moved = replace(world, snapshot=used)
    assert plan(service, moved).status["placement"] == service.status["placement"]
    assert plan(replace(service, generation=2), moved).status["placement"] != service.status["placement"]
    relabelled = replace(service, labels={names.CLASS_LABEL: "public"})
    assert plan(relabelled, moved).status["placement"] != service.status["placement"]
    forgotten = {**service.status, "placement": {"site": "tokyo-closed"}}
    assert plan(replace(service, status=forgotten), moved).status["placement"]["because"]


def test_what_is_not_placed_does_not_run_and_stays_isolated() -> None:
    service, world = settle(build_service(**CONFIDENTIAL), build_world())
    decided = plan(service, replace(world, snapshot=attested(a=9000)))
    assert decided.workload == ()
    assert decided.prune[0] == "Deployment"
    assert "NetworkPolicy" not in decided.prune
    assert [item["kind"] for item in decided.isolation] == ["NetworkPolicy"]
    placed = condition(decided, "Placed")
    assert (placed["status"], placed["reason"]) == ("False", Reason.TRUST_TOO_OLD)
    assert "9,000 s old" in placed["message"]
    assert condition(decided, "Isolated")["reason"] == Reason.PENDING
    assert decided.status["replicas"]["desired"] == 0


def test_a_refusal_by_law_is_stalled_and_one_by_room_or_trust_is_not() -> None:
    cloud = {"osaka-cloud": build_site("OwnCloud", "osaka")}
    by_law = plan(build_service(**CONFIDENTIAL), build_world(sites=cloud))
    assert condition(by_law, "Placed")["reason"] == Reason.TIER_NOT_ALLOWED
    assert kinds(by_law)[-1] == "Stalled"
    by_trust = plan(build_service(**CONFIDENTIAL), build_world(snapshot=attested(a=9000)))
    assert kinds(by_trust)[-1] == "Reconciling"
    assert kinds(plan(build_service(), build_world(sites={})))[-1] == "Reconciling"


def test_a_class_that_wants_trust_is_looked_at_again_before_a_proof_grows_old() -> None:
    service, world = settle(build_service(**CONFIDENTIAL), build_world())
    assert plan(service, world).check_after_seconds == 60.0
    hasty = build_policy(confidential={"tiers": ["Closed"], "trust": {"anyOf": ["snp"], "maxAgeSeconds": 300 - 299}})
    assert plan(service, replace(world, policy=hasty)).check_after_seconds == 5.0


def test_a_pod_on_a_node_whose_proof_grew_old_is_named() -> None:
    service, world = settle(build_service(**CONFIDENTIAL), build_world())
    stale = replace(world, snapshot=attested(**{"tk-1": 9000, "tk-2": 100}))
    decided = plan(service, stale)
    placed = condition(decided, "Placed")
    assert (placed["status"], placed["reason"]) == ("False", Reason.TRUST_TOO_OLD)
    assert "pod review-predictor-0 is on node tk-1 and may not be" in placed["message"]
    assert condition(decided, "Ready")["status"] == "False"
    assert "Stalled" not in kinds(decided)
    unbound = starting_pod(node="")
    assert condition(plan(service, replace(stale, pods=(unbound,))), "Placed")["status"] == "True"


def test_a_service_that_must_leave_its_site_ends_there_before_it_starts_elsewhere() -> None:
    only_cloud = {"osaka-cloud": build_site("OwnCloud", "osaka")}
    service, world = settle(build_service(), build_world(sites=only_cloud))
    assert service.status["placement"]["site"] == "osaka-cloud"
    raised = replace(service, labels={names.CLASS_LABEL: "confidential"})
    both = replace(world, sites=build_world().sites)
    moving = plan(raised, both)
    assert moving.status["placement"]["site"] == "tokyo-closed"
    assert moving.workload[-1]["spec"]["replicas"] == 0
    serving = condition(moving, "Serving")
    assert (serving["status"], serving["reason"]) == ("False", Reason.STOPPED)
    assert "moves from site osaka-cloud to tokyo-closed" in serving["message"]
    moved = plan(raised, replace(both, pods=(), children=observe(moving)))
    assert moved.workload[-1]["spec"]["replicas"] == 1


def test_a_running_service_is_where_its_deployment_says_even_if_the_status_was_lost() -> None:
    only_cloud = {"osaka-cloud": build_site("OwnCloud", "osaka")}
    service, world = settle(build_service(), build_world(sites=only_cloud))
    lost = plan(replace(service, status={}), replace(world, sites=build_world().sites))
    assert lost.workload[-1]["metadata"]["labels"][names.SITE_LABEL] == lost.status["placement"]["site"]
    assert condition(lost, "Serving")["reason"] in (Reason.SERVING, Reason.STOPPED)


def test_a_service_that_is_being_deleted_runs_no_more_and_is_isolated_until_its_pods_are_gone() -> None:
    service, world = settle(build_service(), build_world())
    ending = replace(service, deleting=True)
    decided = plan(ending, world)
    assert (decided.isolation, decided.workload) == ((), ())
    assert decided.prune[0] == "Deployment"
    assert "NetworkPolicy" not in decided.prune
    ready = condition(decided, "Ready")
    assert (ready["status"], ready["reason"]) == ("False", Reason.TERMINATING)
    assert "its metadata.finalizers keep it" in ready["message"]
    assert {item.type for item in decided.announcements} == {"Normal"}
    gone = replace(world, pods=(), children={"NetworkPolicy": world.children["NetworkPolicy"]})
    last = plan(replace(ending, status=decided.status), gone)
    assert last.prune[-1] == "NetworkPolicy"
    assert last.status["conditions"] == decided.status["conditions"]


def test_isolation_always_comes_before_the_workload_and_covers_its_pods() -> None:
    decided = plan(build_service(), build_world())
    (policy,) = decided.isolation
    labels = decided.workload[-1]["spec"]["template"]["metadata"]["labels"]
    wanted = policy["spec"]["podSelector"]["matchLabels"]
    assert wanted.items() <= labels.items()
    assert [item["kind"] for item in decided.workload] == [
        "ServiceAccount", "ConfigMap", "Service", "PodDisruptionBudget", "Deployment",
    ]  # fmt: skip


LEAK = {"sekisho.dev/isolated": {"status": "False", "reason": "IsolationLeak"}}
PODS = [
    build_pod(),
    starting_pod(),
    build_pod(conditions=LEAK),
    starting_pod(conditions={"PodScheduled": {"status": "False", "message": "full"}}),
    build_pod(site="osaka-cloud", node="os-1"),
]
POLICIES = [None, build_policy(), build_policy(public={}), build_policy(internal={"tiers": ["ManagedApi"]})]


@st.composite
def worlds(draw: st.DrawFn) -> Any:
    foreign = {"metadata": {"name": "open"}, "spec": {"podSelector": {}, "ingress": [{}]}}
    world = build_world(
        policy=draw(st.sampled_from(POLICIES)),
        model=draw(st.sampled_from([None, build_model(), build_model(storageUri="pvc://claim/a")])),
        network_policies=draw(st.sampled_from([(), (foreign,)])),
        pods=tuple(draw(st.lists(st.sampled_from(PODS), max_size=2))),
    )
    if draw(st.booleans()):
        first = plan(build_service(), world)
        world = replace(world, children=observe(first, ready=draw(st.integers(0, 1))))
    if draw(st.booleans()):
        world = replace(world, settings=replace(world.settings, depot_host=""))
    return world


@pytest.mark.slow
@settings(deadline=None)
@given(history=st.lists(worlds(), min_size=1, max_size=4), replicas=st.integers(0, 2))
def test_over_any_history_the_laws_of_status_hold_and_no_pod_lacks_a_policy(history: list[Any], replicas: int) -> None:
    service = build_service(predictor={"minReplicas": replicas})
    for step, world in enumerate(history):
        service = replace(service, generation=1 + step // 2)
        decided = plan(service, world)
        check_laws(dict(decided.status), service.generation)
        assert decided.isolation or not decided.workload
        assert not {item["kind"] for item in decided.workload} & set(decided.prune)
        assert "NetworkPolicy" not in decided.prune or not world.pods
        assert json.dumps(plan(service, world).status) == json.dumps(decided.status)
        service = replace(service, status=decided.status)
        steady = plan(service, world)
        assert steady.status == decided.status
        assert steady.announcements == ()
