"""The controllers of Kubernetes go on with their work while every policy is in force."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from policies.example import classify_namespace, person
from sekisho.api.names import CLASS_LABEL, MANAGED_BY, MANAGED_BY_LABEL, SERVICE_LABEL
from sekisho.plan.inferenceservice import plan
from tests.integration.api.server import MERGE, Answer, ApiServer, locate, wait_until
from tests.unit.plan.worlds import build_service, build_world

OPERATOR = person("system:serviceaccount:sekisho-system:sekisho-controller")
LABELS = {SERVICE_LABEL: "chat", CLASS_LABEL: "internal", MANAGED_BY_LABEL: MANAGED_BY}
NODE = "n1"


def core(kind: str, room: str, **rest: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {"name": "chat-predictor", "namespace": room, "labels": LABELS},
        **rest,
    }


def deployment(room: str, *, replicas: int = 1) -> dict[str, Any]:
    container = {"name": "engine", "image": "registry.test/engine:1"}
    template = {
        "metadata": {"labels": LABELS},
        "spec": {"containers": [container], "automountServiceAccountToken": False},
    }
    spec = {"replicas": replicas, "selector": {"matchLabels": {SERVICE_LABEL: "chat"}}, "template": template}
    return {**core("Deployment", room, spec=spec), "apiVersion": "apps/v1"}


def network_policy(room: str) -> dict[str, Any]:
    spec = {"podSelector": {"matchLabels": {SERVICE_LABEL: "chat"}}, "policyTypes": ["Ingress", "Egress"]}
    return {**core("NetworkPolicy", room, spec=spec), "apiVersion": "networking.k8s.io/v1"}


def children(room: str) -> list[dict[str, Any]]:
    budget = core("PodDisruptionBudget", room, spec={"maxUnavailable": 1, "selector": {"matchLabels": LABELS}})
    return [
        network_policy(room),
        core("ServiceAccount", room),
        core("ConfigMap", room, data={"agent.json": "{}"}),
        core("Service", room, spec={"selector": LABELS, "ports": [{"port": 80}]}),
        {**budget, "apiVersion": "policy/v1"},
        deployment(room),
    ]


def pods_of(server: ApiServer, room: str, *, service: str = "chat") -> list[Mapping[str, Any]]:
    path = f"/api/v1/namespaces/{room}/pods?labelSelector={SERVICE_LABEL}%3D{service}"
    return list(server.must(server.request("GET", path)).body["items"])


@pytest.fixture
def classified_room(server: ApiServer, room: str) -> str:
    classify_namespace(server, room, "internal")
    return room


@pytest.fixture
def node(server: ApiServer) -> Iterator[str]:
    manifest = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}}
    server.must(server.create(manifest))
    yield NODE
    server.delete(manifest)


def test_a_deployment_of_the_operator_becomes_pods_that_grow_and_shrink(server: ApiServer, room: str) -> None:
    server.must(server.apply(deployment(room), person=OPERATOR))
    wait_until(lambda: len(pods_of(server, room)) == 1, what="the first pod")
    server.must(server.apply(deployment(room, replicas=3), person=OPERATOR))
    wait_until(lambda: len(pods_of(server, room)) == 3, what="three pods")
    changed = deployment(room)
    changed["spec"]["template"]["spec"]["containers"][0]["image"] = "registry.test/engine:2"
    server.must(server.apply(changed, person=OPERATOR))
    wait_until(lambda: "registry.test/engine:2" in json.dumps(pods_of(server, room)), what="a pod of the next revision")


def test_labels_do_not_change_through_the_status_of_workloads_and_services(server: ApiServer, room: str) -> None:
    service = {
        "apiVersion": "inference.sekisho.dev/v1alpha1",
        "kind": "InferenceService",
        "metadata": {"name": "chat", "namespace": room, "labels": {CLASS_LABEL: "confidential"}},
        "spec": {"predictor": {"model": {"modelRef": {"name": "small"}}}},
    }
    server.must(server.create(service))
    server.must(server.apply(deployment(room, replicas=0), person=OPERATOR))
    for item, label in ((service, CLASS_LABEL), (deployment(room), SERVICE_LABEL)):
        patch = {"metadata": {"labels": {label: None}}, "status": {"observedGeneration": 1}}
        answer = server.request("PATCH", f"{locate(item)}/status", patch, person=OPERATOR, content_type=MERGE)
        assert label in server.must(answer).body["metadata"]["labels"]


@pytest.mark.parametrize("level", ["internal", "confidential"])
def test_what_the_operator_plans_is_admitted_and_becomes_a_pod(level: str, server: ApiServer, room: str) -> None:
    decided = plan(build_service(classification={"level": level}), build_world())
    applied = [*decided.isolation]
    world = build_world(children={item["kind"]: item for item in decided.isolation})
    applied += plan(build_service(classification={"level": level}), world).workload
    assert {item["kind"] for item in applied} >= {
        "NetworkPolicy",
        "ServiceAccount",
        "ConfigMap",
        "Service",
        "Deployment",
    }
    for item in applied:
        # Without the owner, which is not there: the garbage collector would take its children for left over.
        metadata = {**item["metadata"], "namespace": room, "ownerReferences": []}
        server.must(server.apply({**item, "metadata": metadata}, person=OPERATOR))
    wait_until(lambda: bool(pods_of(server, room, service="review")), what="the pod of the planned Deployment")


def test_children_go_with_their_owner(server: ApiServer, classified_room: str) -> None:
    room = classified_room
    owner = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owner", "namespace": room}}
    uid = server.must(server.create(owner)).body["metadata"]["uid"]
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid, "blockOwnerDeletion": True}
    for child in children(room):
        child["metadata"]["ownerReferences"] = [{**reference, "controller": True}]
        server.must(server.apply(child, person=OPERATOR))
    wait_until(lambda: len(pods_of(server, room)) == 1, what="the pod")
    options = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Foreground"}
    server.must(server.request("DELETE", f"/api/v1/namespaces/{room}/configmaps/owner", options))
    for child in children(room):
        wait_until(lambda child=child: server.get(child).status == 404, what=f"the {child['kind']} to go")  # type: ignore[misc]


def test_children_go_with_their_namespace(server: ApiServer, classified_room: str) -> None:
    room = classified_room
    for child in children(room):
        server.must(server.apply(child, person=OPERATOR))
    server.must(server.request("DELETE", f"/api/v1/namespaces/{room}"))
    wait_until(lambda: server.request("GET", f"/api/v1/namespaces/{room}").status == 404, what="the namespace to go")


def test_a_kubelet_gets_a_depot_token_for_a_pod_it_runs_and_a_user_does_not(
    server: ApiServer, room: str, node: str
) -> None:
    for child in (core("ServiceAccount", room), deployment(room)):
        if child["kind"] == "Deployment":
            child["spec"]["template"]["spec"] |= {"serviceAccountName": "chat-predictor", "nodeName": node}
        server.must(server.apply(child, person=OPERATOR))
    wait_until(lambda: len(pods_of(server, room)) == 1, what="the pod")
    pod = pods_of(server, room)[0]["metadata"]

    def request_as(user: str, audience: str = "sekisho-depot") -> Answer:
        bound = {"apiVersion": "v1", "kind": "Pod", "name": pod["name"], "uid": pod["uid"]}
        spec = {"audiences": [audience], "expirationSeconds": 600, "boundObjectRef": bound}
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        path = f"/api/v1/namespaces/{room}/serviceaccounts/chat-predictor/token"
        return server.request("POST", path, body, person=person(user))

    refused = request_as("admin")
    assert refused.status == 403
    assert "or sekisho-trust is made by a kubelet, for a pod it runs" in refused.message
    stranger = request_as("system:node:n2")
    assert stranger.status == 403
    assert "ValidatingAdmissionPolicy" not in stranger.message, "the API server itself knows where the pod runs"
    # The API server learns by a watch of its own where a pod runs.
    wait_until(lambda: request_as(f"system:node:{node}").status == 201, what="the token of the pod's own kubelet")


@pytest.mark.parametrize(
    ("group", "plural", "kind"),
    [
        ("cilium.io", "ciliumnetworkpolicies", "CiliumNetworkPolicy"),
        ("crd.projectcalico.org", "networkpolicies", "NetworkPolicy"),
    ],
)
def test_policies_of_network_plugins_are_refused_in_a_namespace_with_a_class(
    group: str, plural: str, kind: str, server: ApiServer, room: str
) -> None:
    definition = plugin_definition(group, plural, kind)
    server.must(server.create(definition))
    try:
        path = f"/apis/{group}/v2/namespaces/{room}/{plural}?dryRun=All"
        body = {"apiVersion": f"{group}/v2", "kind": kind, "metadata": {"name": "open"}, "spec": {"egress": [{}]}}
        wait_until(lambda: server.request("POST", path, body).ok, what=f"{kind} to be served, and allowed")
        classify_namespace(server, room, "confidential")
        refused = server.request("POST", path, body)
        assert refused.status == 403
        assert f"in a namespace of class confidential a {kind} could open what sekisho closes" in refused.message
    finally:
        server.delete(definition)


def plugin_definition(group: str, plural: str, kind: str) -> dict[str, Any]:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v2", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": plural, "kind": kind}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.{group}",
            "annotations": {"api-approved.kubernetes.io": "unapproved, a stand-in for tests"},
        },
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [version]},
    }


def test_without_a_classification_policy_nothing_classified_is_admitted(server: ApiServer, room: str) -> None:
    path = "/apis/inference.sekisho.dev/v1alpha1/classificationpolicies/default"
    kept = server.must(server.request("GET", path)).body
    service = {
        "apiVersion": "inference.sekisho.dev/v1alpha1",
        "kind": "InferenceService",
        "metadata": {"name": "chat", "namespace": room},
        "spec": {"predictor": {"model": {"modelRef": {"name": "small"}}}},
    }
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"{room}-x", "labels": {}}}
    server.must(server.request("DELETE", path))
    try:
        wait_until(lambda: not server.create(service, dry_run=True).ok, what="the policy's absence to be known")
        assert "no params found for policy binding" in server.create(service, dry_run=True).message
        namespace["metadata"] |= {"labels": {CLASS_LABEL: "public"}}  # type: ignore[operator]
        assert "no params found for policy binding" in server.create(namespace, dry_run=True).message
        namespace["metadata"] |= {"labels": {}}  # type: ignore[operator]
        assert server.create(namespace, dry_run=True).ok, "a namespace without a class never meets the policy"
    finally:
        fresh = {key: kept[key] for key in ("apiVersion", "kind", "spec")} | {"metadata": {"name": "default"}}
        server.must(server.create(fresh))
        wait_until(lambda: server.create(service, dry_run=True).ok, what="the policy to be known again")
