"""Attested and KeyReleased, as the broker says it of each pod; told only where either is asked for."""

import json
from dataclasses import replace
from typing import Any

import pytest

from sekisho.api import names
from sekisho.api.times import format_time
from sekisho.errors import Reason
from sekisho.placement.snapshot import take_snapshot
from sekisho.plan.inferenceservice import plan
from sekisho.plan.pods import PodCondition
from sekisho.plan.release import read_lease
from sekisho.plan.world import Plan, ServiceObject, World
from sekisho.render.settings import ReleaseAddress
from tests.unit.plan.seals import sealed_model
from tests.unit.plan.test_conditions import check_laws
from tests.unit.plan.worlds import (
    NOW,
    SETTINGS,
    build_node,
    build_pod,
    build_service,
    build_world,
    condition,
    kinds,
    observe,
    starting_pod,
)

RULES, EVIDENCE = "sha256:" + "1" * 64, "sha256:" + "2" * 64
BROKER = replace(SETTINGS, release=ReleaseAddress("10.96.0.50", "sekisho-broker", names.BROKER_COMPONENT))
DEVELOPMENT = replace(SETTINGS, release=ReleaseAddress("10.96.0.50", "x", names.UNSAFE_RELEASE_COMPONENT))
POLICY = [{"name": "internal"}]


def spell(*, seconds: float = 600, **changes: Any) -> str:
    lease = {"leaseEndsAt": format_time(NOW + seconds), "policyDigest": RULES, "evidenceDigest": EVIDENCE}
    return json.dumps({**lease, **changes})


def held(message: str | None = None, **changes: Any) -> dict[str, dict[str, Any]]:
    """Return both conditions of a pod that holds its key."""
    told = spell(**changes) if message is None else message
    return {
        names.ATTESTED_POD_CONDITION: {"status": "True", "reason": "Attested", "message": told},
        names.KEY_RELEASED_POD_CONDITION: {"status": "True", "reason": "KeyReleased", "message": told},
    }


def run(*pods: dict[str, Any], **changes: Any) -> Plan:
    """Plan a sealed service whose pods are these."""
    world = build_world(model=sealed_model(), settings=BROKER, **changes)
    service = build_service(predictor={"minReplicas": max(1, len(pods))})
    first = plan(service, world)
    ready = sum(any(c["type"] == "Ready" and c["status"] == "True" for c in p["status"]["conditions"]) for p in pods)
    decided = plan(service, replace(world, children=observe(first, ready=ready), pods=pods))
    check_laws(dict(decided.status), 1)
    return decided


def told(decided: Plan, kind: str) -> tuple[str, str, str]:
    found = condition(decided, kind)
    return found["status"], found["reason"], found["message"]


def test_a_pod_that_the_broker_refuses_is_told_with_its_reason_and_keeps_the_service_from_being_ready() -> None:
    refused = {
        names.ATTESTED_POD_CONDITION: {"status": "False", "reason": "TcbTooOld", "message": "microcode has version 83"},
        names.KEY_RELEASED_POD_CONDITION: {"status": "False", "reason": "TcbTooOld", "message": "no key"},
    }
    decided = run(build_pod("a", conditions=held()), build_pod("b", conditions=refused))
    assert told(decided, "Attested") == (
        "False", Reason.TCB_TOO_OLD, "the broker refuses a pod of the service: microcode has version 83",
    )  # fmt: skip
    assert told(decided, "KeyReleased")[:2] == ("False", Reason.TCB_TOO_OLD)
    assert told(decided, "Ready")[:2] == ("False", Reason.TCB_TOO_OLD)


@pytest.mark.parametrize(
    ("kind", "pod_condition", "reason"),
    [
        ("Attested", names.ATTESTED_POD_CONDITION, Reason.APPRAISAL_FAILED),
        ("KeyReleased", names.KEY_RELEASED_POD_CONDITION, Reason.RELEASE_NOT_GRANTED),
    ],
)
def test_a_refusal_whose_reason_nobody_knows_is_one_all_the_same(kind: str, pod_condition: str, reason: Reason) -> None:
    decided = run(build_pod("a", conditions={**held(), pod_condition: {"status": "False", "reason": "Sunspots"}}))
    assert told(decided, kind) == ("False", reason, "the broker refuses a pod of the service: no message")


@pytest.mark.parametrize("seconds", [0, -1])
def test_a_lease_that_ended_is_no_release(seconds: float) -> None:
    decided = run(build_pod("a", conditions=held(seconds=seconds)))
    step = "see whether the broker and the pod's agent run"
    message = f"the end of a pod's lease was {format_time(NOW + seconds)}, and it was not renewed; {step}"
    assert told(decided, "KeyReleased") == ("False", Reason.LEASE_EXPIRED, message)
    assert told(decided, "Attested") == ("False", Reason.EVIDENCE_STALE, message)
    assert told(decided, "Ready")[:2] == ("False", Reason.EVIDENCE_STALE)


NOTHING_TOLD = {
    "no JSON": "released",
    "no object": "[]",
    "no end": json.dumps({"policyDigest": RULES, "evidenceDigest": EVIDENCE}),
    "an end without a zone": spell(leaseEndsAt="2030-01-01T00:00:00"),
    "a number for an end": spell(leaseEndsAt=9e9),
    "no digest of rules": spell(policyDigest=None),
    "a digest of evidence that is none": spell(evidenceDigest="sha256:xyz"),
    "more than a digest": spell(evidenceDigest=EVIDENCE + "0"),
}


@pytest.mark.parametrize("message", NOTHING_TOLD.values(), ids=NOTHING_TOLD)
def test_a_release_of_which_no_lease_is_told_is_none(message: str) -> None:
    decided = run(build_pod("a", conditions=held(message)))
    assert told(decided, "KeyReleased") == (
        "False", Reason.LEASE_EXPIRED,
        "the end of a pod's lease is not told, and it was not renewed; see whether the broker and the pod's agent run",
    )  # fmt: skip
    assert "leaseEndsAt" not in decided.status["weights"]
    assert read_lease(PodCondition("True", "KeyReleased", message, None)) is None


def test_pods_that_hold_their_keys_make_the_service_attested_and_its_key_released() -> None:
    decided = run(build_pod("a", conditions=held(seconds=900)), build_pod("b", conditions=held(seconds=300)))
    assert told(decided, "Attested") == (
        "True", Reason.ATTESTED, "every running pod has proven its hardware and code to the broker",
    )  # fmt: skip
    assert told(decided, "KeyReleased") == (
        "True", Reason.KEY_RELEASED, "every running pod holds its key on a lease; see status.weights",
    )  # fmt: skip
    assert told(decided, "Ready")[0] == "True"
    assert decided.status["weights"]["leaseEndsAt"] == format_time(NOW + 300)
    assert decided.status["weights"]["policyDigest"] == RULES
    assert decided.status["weights"]["evidenceDigest"] == EVIDENCE
    assert kinds(decided)[2:6] == ["Isolated", "Attested", "KeyReleased", "WeightsAvailable"]


def test_the_end_of_the_first_lease_is_looked_at_when_it_comes() -> None:
    assert run(build_pod("a", conditions=held(seconds=20))).check_after_seconds == 21
    assert run(build_pod("a", conditions=held(seconds=-9))).check_after_seconds == 1
    assert (run(build_pod("a", conditions=held(seconds=90_000))).check_after_seconds or 0) <= 3600


def test_a_pod_that_has_not_asked_yet_is_waited_for() -> None:
    decided = run(build_pod("a", conditions=held()), build_pod("b"))
    step = "; WeightsAvailable tells what it waits for"
    assert told(decided, "Attested") == ("Unknown", Reason.PENDING, f"a pod has not proven yet what it is{step}")
    assert told(decided, "KeyReleased") == ("Unknown", Reason.PENDING, f"a pod holds no key yet{step}")
    starting = run(starting_pod("a"))
    assert told(starting, "KeyReleased") == ("Unknown", Reason.PENDING, f"a pod holds no key yet{step}")
    assert told(run(), "KeyReleased") == ("Unknown", Reason.PENDING, "no pod runs that could ask for a key")


def without(world: World, service: ServiceObject | None = None) -> list[str]:
    return [kind for kind in kinds(plan(service or build_service(), world)) if kind in {"Attested", "KeyReleased"}]


def test_what_nobody_asks_for_is_not_told() -> None:
    assert without(build_world(settings=BROKER)) == []
    assert without(build_world(model=sealed_model(), settings=DEVELOPMENT)) == []
    assert without(build_world(model=sealed_model())) == []


def test_a_service_that_is_not_placed_is_not_looked_at() -> None:
    world = build_world(model=sealed_model(), settings=BROKER, sites={})
    decided = plan(build_service(), world)
    for kind in ("Attested", "KeyReleased"):
        assert told(decided, kind) == ("Unknown", Reason.PENDING, "not looked at: the service is not placed")


CONFIDENTIAL = {"classification": {"level": "confidential"}}


def test_where_the_class_asks_for_hardware_and_no_broker_is_asked_the_nodes_show_it() -> None:
    decided = plan(build_service(**CONFIDENTIAL), build_world())
    assert without(build_world(), build_service(**CONFIDENTIAL)) == ["Attested"]
    assert told(decided, "Attested") == (
        "True", Reason.ATTESTED, "the nodes of the service have proven the hardware that its class asks for",
    )  # fmt: skip


def test_a_pod_on_a_node_that_lost_its_proof_is_not_attested() -> None:
    service, world = build_service(**CONFIDENTIAL), build_world()
    nodes = [build_node("tk-1", "tokyo"), build_node("tk-2", "tokyo")]
    bare = replace(nodes[0], labels={key: value for key, value in nodes[0].labels.items() if "attested" not in key})
    lost = replace(world, snapshot=take_snapshot([bare, nodes[1]], []), pods=(build_pod("a", node="tk-1"),))
    decided = plan(service, lost)
    status, reason, message = told(decided, "Attested")
    assert (status, reason) == ("False", Reason.TRUST_MISSING)
    assert message.startswith("pod a is on node tk-1 and may not be, so it is evicted: ")
