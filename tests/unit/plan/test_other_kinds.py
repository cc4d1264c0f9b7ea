"""The status of policies, sites, runtimes and models."""

from dataclasses import replace
from typing import Any

import pytest

from sekisho.api.meta import MAX_COMPARTMENTS
from sekisho.api.names import CLASS_LABEL
from sekisho.api.v1alpha1.classificationpolicy import ClassificationPolicySpec
from sekisho.api.v1alpha1.site import SiteSpec
from sekisho.errors import Reason
from sekisho.placement.snapshot import take_snapshot
from sekisho.plan.inferenceservice import plan
from sekisho.plan.model import plan_model
from sekisho.plan.policy import plan_policy
from sekisho.plan.runtime import plan_runtime
from sekisho.plan.site import plan_site
from sekisho.plan.world import ClusterObject, Published
from tests.unit.plan.test_conditions import check_laws
from tests.unit.plan.worlds import (
    NOW,
    build_model,
    build_node,
    build_policy,
    build_runtime,
    build_service,
    build_site,
    build_world,
    refused,
)

BROKEN = refused("InvalidSpec", "spec: unknown field")


def found(told: Published, kind: str = "Ready") -> dict[str, Any]:
    check_laws(dict(told.status), 1)
    return next(item for item in told.status["conditions"] if item["type"] == kind)


def cluster(spec: Any, name: str = "default") -> ClusterObject[Any]:
    return ClusterObject(name, 1, spec, {})


def test_a_policy_that_cannot_be_read_is_refused() -> None:
    ready = found(plan_policy(cluster(BROKEN), now_at=NOW))
    assert (ready["status"], ready["reason"], ready["message"]) == ("False", Reason.POLICY_INVALID, BROKEN.detail)


def test_a_policy_of_another_name_is_not_read() -> None:
    told = plan_policy(cluster(build_policy(), "mine"), now_at=NOW)
    assert found(told)["message"] == 'the policy in force is named "default"; "mine" is not read'
    assert "digest" not in told.status
    assert found(told, "Stalled")["status"] == "True"


def test_the_policy_in_force_shows_its_order_and_a_digest_of_its_rules() -> None:
    told = plan_policy(cluster(build_policy()), now_at=NOW)
    assert found(told)["status"] == "True"
    assert told.status["order"] == "public < internal < confidential < restricted"
    other = plan_policy(cluster(build_policy(public={})), now_at=NOW)
    assert told.status["digest"] != other.status["digest"]
    assert told.status["digest"] == plan_policy(cluster(build_policy()), now_at=NOW + 9).status["digest"]


def test_a_policy_whose_signers_cannot_be_used_says_so_and_keeps_its_other_rules() -> None:
    signers = [
        {**item.model_dump(), "public_keys": build_policy().signers[0].public_keys} for item in build_policy().signers
    ]
    policy = build_policy().model_validate({**build_policy().model_dump(), "signers": signers})
    told = plan_policy(cluster(policy), now_at=NOW)
    ready = found(told)
    assert (ready["status"], ready["reason"]) == ("False", Reason.POLICY_INVALID)
    assert ready["message"].startswith('no signature counts: signers "release" and "board" share a key')
    assert ready["message"].endswith("; all other rules are in force")
    assert "digest" in told.status


NODES = take_snapshot(
    [build_node("tk-1", "tokyo"), build_node("tk-2", "tokyo", ready=False), build_node("os-1", "osaka", ready=False)],
    [],
)


def test_a_site_that_cannot_be_read_is_refused() -> None:
    assert found(plan_site(cluster(BROKEN, "tokyo"), NODES, now_at=NOW))["reason"] == Reason.INVALID_SPEC


def test_a_site_counts_its_nodes() -> None:
    told = plan_site(cluster(build_site("Closed", "tokyo"), "tokyo"), NODES, now_at=NOW)
    assert (told.status["nodes"], told.status["readyNodes"]) == (2, 1)
    assert found(told)["status"] == "True"
    assert found(told, "SelectorProtected")["status"] == "True"


@pytest.mark.parametrize(
    ("site", "reason", "fact"),
    [
        (
            build_site("Closed", "kyoto"),
            Reason.NO_NODES,
            "no node of this cluster has the labels of the site (Closed); label its nodes, or correct spec.nodes",
        ),
        (
            build_site("OwnCloud", "osaka"),
            Reason.NODES_NOT_READY,
            "none of 1 nodes is ready and schedulable; see kubectl get nodes",
        ),
    ],
)
def test_a_site_without_usable_nodes_is_not_ready_and_may_become_so(site: SiteSpec, reason: Reason, fact: str) -> None:
    told = plan_site(cluster(site, "site"), NODES, now_at=NOW)
    assert (found(told)["reason"], found(told)["message"]) == (reason, fact)
    assert found(told, "Reconciling")["status"] == "True"


def test_a_site_of_a_kind_that_runs_no_pods_is_said_to_be_of_no_use_yet() -> None:
    site = SiteSpec.model_validate({"tier": "ManagedApi", "jurisdiction": "JP", "operatedBy": "provider"})
    told = plan_site(cluster(site, "api"), NODES, now_at=NOW)
    assert found(told)["reason"] == Reason.SITE_KIND_NOT_SERVED
    assert found(told, "Stalled")["status"] == "True"


@pytest.mark.parametrize(
    "nodes",
    [
        {"matchLabels": {"site": "tokyo", "a.node-restriction.kubernetes.io/site": "tokyo"}},
        {
            "matchExpressions": [
                {"key": "node-restriction.kubernetes.io.example/site", "operator": "Exists"},
                {"key": "site", "operator": "DoesNotExist"},
            ]
        },
    ],
)
def test_a_label_that_a_node_could_give_itself_is_named_and_decides_nothing(nodes: dict[str, Any]) -> None:
    site = SiteSpec.model_validate({"tier": "Closed", "jurisdiction": "JP", "operatedBy": "own", "nodes": nodes})
    labels = {"site": "tokyo", "a.node-restriction.kubernetes.io/site": "tokyo"}
    bare = {"node-restriction.kubernetes.io.example/site": "x"}
    seen = take_snapshot([build_node("a", "x", labels=labels), build_node("b", "x", labels=bare)], [])
    told = plan_site(cluster(site, "tokyo"), seen, now_at=NOW)
    protected = found(told, "SelectorProtected")
    assert (protected["status"], protected["reason"]) == ("False", Reason.SELECTOR_NOT_PROTECTED)
    assert "a node could give itself" in protected["message"]
    assert "site" in protected["message"]
    assert found(told)["status"] == "True"


def test_a_runtime_tells_whether_its_image_is_named_by_digest() -> None:
    assert found(plan_runtime(cluster(BROKEN, "a"), now_at=NOW))["reason"] == Reason.INVALID_SPEC
    tagged = plan_runtime(cluster(build_runtime(image="registry/vllm:1"), "a"), now_at=NOW)
    assert found(tagged, "ImageByDigest")["reason"] == Reason.IMAGE_NOT_BY_DIGEST
    assert 'image "registry/vllm:1" has no digest' in found(tagged, "ImageByDigest")["message"]
    assert found(tagged)["status"] == "True"
    assert found(plan_runtime(cluster(build_runtime(), "a"), now_at=NOW), "ImageByDigest")["status"] == "True"
    assert plan_runtime(cluster(build_runtime(), "a"), now_at=NOW).status["formats"] == "gguf"


@pytest.mark.parametrize(
    ("model", "policy", "reason", "fact"),
    [
        (replace(build_model(), spec=BROKEN), build_policy(), Reason.INVALID_SPEC, "unknown field"),
        (build_model(), None, Reason.POLICY_MISSING, "everything is refused"),
        (build_model(), refused("InvalidSpec", "x"), Reason.POLICY_INVALID, "cannot be used: x"),
        (build_model(classification={"level": "secret"}), build_policy(), Reason.UNKNOWN_LEVEL, '"secret"'),
        (
            build_model(storageUri="https://files.example"),
            build_policy(),
            Reason.STORAGE_URI_INVALID,
            "it names no file",
        ),
    ],
)
def test_a_model_that_cannot_be_served_is_refused(model: Any, policy: Any, reason: Reason, fact: str) -> None:
    told = plan_model(model, policy, namespace_labels={}, now_at=NOW)
    assert found(told)["reason"] == reason
    assert fact in found(told)["message"]


def test_a_model_shows_its_class_with_every_floor_joined() -> None:
    model = build_model(labels={"sekisho.dev/classification": "public.gdpr"})
    told = plan_model(
        model, build_policy(), namespace_labels={"sekisho.dev/classification": "confidential"}, now_at=NOW
    )
    assert found(told)["status"] == "True"
    assert told.status["class"] == {"level": "confidential", "compartments": ["gdpr"]}
    assert told.status["displayClass"] == "confidential+gdpr"
    again = plan_model(
        replace(model, status={**model.status, **told.status}),
        build_policy(),
        namespace_labels={"sekisho.dev/classification": "confidential"},
        now_at=NOW + 60,
    )
    assert (again.status, again.announcements) == (told.status, ())


def test_a_class_of_as_many_compartments_as_a_label_holds_is_published() -> None:
    held = "abcdefghijklmnopqrstuvwxyz01234"
    label = ".".join(["p", *held])
    assert (len(held), len(label)) == (MAX_COMPARTMENTS, 63)
    compartments = [{"name": name} for name in held]
    level = {"name": "p", "rules": {"tiers": ["Closed"]}}
    policy = ClassificationPolicySpec.model_validate(
        {"unlabelled": "p", "levels": [level], "compartments": compartments}
    )
    told = plan_model(build_model(labels={CLASS_LABEL: label}), policy, namespace_labels={}, now_at=NOW)
    assert told.status["class"]["compartments"] == sorted(held)
    decided = plan(build_service(labels={CLASS_LABEL: label}), build_world(policy=policy))
    assert decided.status["class"]["from"][0]["compartments"] == sorted(held)
    assert decided.workload[-1]["metadata"]["labels"][CLASS_LABEL] == ".".join(["p", *sorted(held)])
