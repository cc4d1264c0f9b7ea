"""Placements explained in words, byte for byte."""

from dataclasses import replace
from typing import Any

import pytest

from sekisho.errors import Reason
from sekisho.placement.snapshot import take_snapshot
from sekisho.plan.explain import explain_service
from sekisho.plan.inferenceservice import plan
from sekisho.plan.world import ServiceObject
from tests.golden.expected import check
from tests.unit.plan.worlds import NOW, build_node, build_policy, build_service, build_site, build_world, settle

TRUST = "sekisho.node-restriction.kubernetes.io/snp-attested-at"
OLD = build_node("tk-gpu-3", "tokyo", labels={**build_node("x", "tokyo").labels, TRUST: str(int(NOW) - 9012)})


def running() -> ServiceObject:
    return settle(build_service(classification={"level": "internal", "compartments": ["gdpr"]}), build_world())[0]


def refused(service: dict[str, Any], **world: Any) -> ServiceObject:
    obj = build_service(**service)
    return replace(obj, status=plan(obj, build_world(**world)).status)


CASES = {
    "ready": running(),
    "trust-too-old": refused({"classification": {"level": "confidential"}}, snapshot=take_snapshot([OLD], [])),
    "cloud-asked-for": refused({"classification": {"level": "confidential"}, "placement": {"sites": ["osaka-cloud"]}}),
    "no-room": refused({"predictor": {"resources": {"memory": "64Gi"}}}),
    "no-site": refused({}, sites={}),
    "not-accepted": refused({"classification": {"level": "secret"}}),
    "unseen": build_service(),
    "starting": refused({}, sites={"tokyo-closed": build_site("Closed", "tokyo")}),
}


@pytest.mark.parametrize("name", CASES)
def test_the_explanation_is_what_it_was(name: str) -> None:
    service = CASES[name]
    check(f"explanations/{name}.txt", explain_service(service.namespace, service.name, service.status))


def test_every_reason_of_placement_has_a_place_in_the_order() -> None:
    status = replace(build_service()).status
    assert explain_service("a", "b", status) == "a/b has not been looked at yet.\n"
    rejected = [
        {"site": "x", "reason": "Invented", "detail": "a newer reason"},
        {"site": "y", "reason": str(Reason.GPU_SHORT), "detail": "needs 2, 1 free"},
    ]
    conditions = [{"type": "Accepted", "status": "True"}, {"type": "Placed", "status": "False"}]
    text = explain_service("a", "b", {"conditions": conditions, "placement": {"rejected": rejected}})
    assert "Nearest: y. What would change it: the service asks for less, or room is made." in text


def test_a_policy_without_any_tier_left_says_that_nothing_at_the_site_changes_it() -> None:
    service = refused({}, policy=build_policy(internal={"tiers": ["ManagedApi"]}))
    text = explain_service("legal", "review", service.status)
    assert "What would change it: nothing at this site; the class decides which tiers" in text
