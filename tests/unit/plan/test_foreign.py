"""NetworkPolicies of others that undo isolation."""

from typing import Any

import pytest

from sekisho.errors import Reason
from sekisho.plan.foreign import find_foreign, selects
from sekisho.plan.inferenceservice import plan
from tests.unit.plan.worlds import build_service, build_world, condition, kinds, settle

LABELS = {"sekisho.dev/service": "review", "app.kubernetes.io/managed-by": "sekisho"}


def policy(name: str = "open", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"podSelector": {}, **spec}}


def expression(operator: str, *values: str, key: str = "sekisho.dev/service") -> dict[str, Any]:
    return {"podSelector": {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}}


@pytest.mark.parametrize(
    ("spec", "ways"),
    [
        ({"policyTypes": ["Egress"], "egress": [{}]}, "egress"),
        ({"egress": [{}]}, "egress"),
        ({"ingress": [{}]}, "ingress"),
        ({"ingress": [{}], "egress": [{}]}, "ingress and egress"),
        ({"ingress": [{}], "podSelector": {"matchLabels": {"sekisho.dev/service": "review"}}}, "ingress"),
        ({"ingress": [{}], **expression("In", "review", "other")}, "ingress"),
        ({"ingress": [{}], **expression("NotIn", "other")}, "ingress"),
        ({"ingress": [{}], **expression("NotIn", "other", key="absent")}, "ingress"),
        ({"ingress": [{}], **expression("Exists")}, "ingress"),
        ({"ingress": [{}], **expression("DoesNotExist", key="absent")}, "ingress"),
        ({"ingress": [{}], **expression("Near", "review")}, "ingress"),
    ],
)
def test_a_policy_that_selects_the_pods_and_allows_anything_is_named(spec: dict[str, Any], ways: str) -> None:
    found = find_foreign([policy(**spec)], [LABELS])
    assert found is not None
    assert found.reason is Reason.FOREIGN_NETWORK_POLICY
    assert f"NetworkPolicy open selects the pods of this service and allows {ways};" in found.detail


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"policyTypes": ["Ingress", "Egress"]},
        {"policyTypes": ["Ingress", "Egress"], "ingress": [], "egress": []},
        {"policyTypes": ["Egress"], "ingress": [{}]},
        {"policyTypes": ["Ingress"], "egress": [{}]},
        {"ingress": [{}], "podSelector": {"matchLabels": {"app": "web"}}},
        {"ingress": [{}], **expression("In", "other")},
        {"ingress": [{}], **expression("In", "review", key="absent")},
        {"ingress": [{}], **expression("NotIn", "review")},
        {"ingress": [{}], **expression("Exists", key="absent")},
        {"ingress": [{}], **expression("DoesNotExist")},
    ],
)
def test_a_policy_that_allows_nothing_or_selects_others_is_harmless(spec: dict[str, Any]) -> None:
    assert find_foreign([policy(**spec), {"metadata": {"name": "bare"}}], [LABELS]) is None


def test_the_first_by_name_is_told_whatever_the_order() -> None:
    found = find_foreign([policy("b", ingress=[{}]), policy("a", ingress=[{}])], [LABELS])
    assert found is not None
    assert "NetworkPolicy a " in found.detail


def test_an_empty_selector_selects_everything() -> None:
    assert selects({}, {})


def test_a_foreign_policy_stops_the_service_and_its_removal_starts_it_again() -> None:
    service, world = settle(build_service(), build_world())
    opened = build_world(children=world.children, pods=world.pods, network_policies=(policy(ingress=[{}]),))
    decided = plan(service, opened)
    assert decided.workload[-1]["spec"]["replicas"] == 0
    assert condition(decided, "Isolated")["reason"] == Reason.FOREIGN_NETWORK_POLICY
    assert condition(decided, "Serving")["reason"] == Reason.STOPPED
    assert condition(decided, "Ready")["status"] == "False"
    assert kinds(decided)[-1] == "Stalled"
    assert decided.isolation
    assert plan(service, world).workload[-1]["spec"]["replicas"] == 1


def test_a_policy_that_selects_only_pods_of_an_older_class_counts_too() -> None:
    service, world = settle(build_service(), build_world())
    pod = {**world.pods[0], "metadata": {**world.pods[0]["metadata"], "labels": {"old": "label"}}}
    opened = policy(ingress=[{}], podSelector={"matchLabels": {"old": "label"}})
    decided = plan(service, build_world(children=world.children, pods=(pod,), network_policies=(opened,)))
    assert condition(decided, "Isolated")["reason"] == Reason.FOREIGN_NETWORK_POLICY
