"""Whatever a hand changes on an object of ours is put back within seconds."""

from typing import Any

import pytest

from e2e.cluster.writing import JSON
from tests.integration.controller.conftest import World, service
from tests.integration.controller.process import ControllerProcess, wait_for
from tests.integration.controller.test_reconcile import await_children

# Far less than until the next list of everything, which would find it too; more than a busy machine needs.
REPAIR_SECONDS = 60.0
EDITS: dict[str, dict[str, Any]] = {
    "networkpolicy": {"spec": {"egress": [{}]}},
    "serviceaccount": {"automountServiceAccountToken": True},
    "configmap": {"data": {"agent.json": "{}"}},
    "service": {"spec": {"selector": {"other": "pods"}}},
    "poddisruptionbudget": {"spec": {"minAvailable": 7}},
    "deployment": {"spec": {"replicas": 3}},
}
UNLABEL = {"metadata": {"labels": {"sekisho.dev/service": None, "app.kubernetes.io/managed-by": None}}}
DISOWN = {"metadata": {"ownerReferences": None}}


def facts(live: dict[str, Any] | None) -> Any:
    """Return what an edit can change; not what other controllers or versions do."""
    if live is None:
        return None
    meta = live["metadata"]
    kept = {key: value for key, value in live.items() if key not in {"metadata", "status"}}
    if "spec" in kept:
        # Allocated by the API server, anew for each object.
        gone = ("clusterIP", "clusterIPs")
        kept["spec"] = {key: value for key, value in kept["spec"].items() if key not in gone}
    annotations = {k: v for k, v in (meta.get("annotations") or {}).items() if k.startswith("sekisho.dev/")}
    return kept, meta.get("labels"), meta.get("ownerReferences"), annotations


@pytest.fixture(scope="module")
def controller(lasting_controller: ControllerProcess) -> ControllerProcess:
    return lasting_controller


@pytest.fixture
def settled(world: World, controller: ControllerProcess) -> World:
    world.apply(service("chat", world.namespace))
    await_children(world, "chat")
    controller.await_idle()
    return world


def await_repair(world: World, kind: str, before: Any) -> None:
    wait_for(
        lambda: facts(world.get(kind, "chat-predictor")) == before, seconds=REPAIR_SECONDS, what=f"the repair of {kind}"
    )


@pytest.mark.parametrize("kind", EDITS)
def test_a_deleted_object_comes_back(settled: World, kind: str) -> None:
    before = facts(settled.get(kind, "chat-predictor"))
    settled.delete(kind, "chat-predictor")
    await_repair(settled, kind, before)


@pytest.mark.parametrize("kind", EDITS)
def test_a_changed_field_is_put_back(settled: World, kind: str) -> None:
    before = facts(settled.get(kind, "chat-predictor"))
    settled.patch(kind, "chat-predictor", EDITS[kind])
    assert facts(settled.get(kind, "chat-predictor")) is not None
    await_repair(settled, kind, before)


@pytest.mark.parametrize("kind", EDITS)
def test_removed_labels_are_put_back(settled: World, kind: str) -> None:
    before = facts(settled.get(kind, "chat-predictor"))
    settled.patch(kind, "chat-predictor", UNLABEL)
    await_repair(settled, kind, before)


def test_a_label_that_is_put_back_leaves_the_pods_as_they_are(settled: World) -> None:
    def generation() -> int:
        found: int = (settled.get("deployment", "chat-predictor") or {})["metadata"]["generation"]
        return found

    before, known = facts(settled.get("deployment", "chat-predictor")), generation()
    settled.patch("deployment", "chat-predictor", UNLABEL)
    await_repair(settled, "deployment", before)
    assert generation() == known


@pytest.mark.parametrize("kind", EDITS)
def test_a_removed_owner_is_put_back(settled: World, kind: str) -> None:
    before = facts(settled.get(kind, "chat-predictor"))
    settled.patch(kind, "chat-predictor", DISOWN)
    await_repair(settled, kind, before)


def test_a_container_that_was_added_to_the_workload_is_taken_out(settled: World) -> None:
    before = facts(settled.get("deployment", "chat-predictor"))
    added = [
        {"op": "add", "path": "/spec/template/spec/containers/-", "value": {"name": "spy", "image": "spy.example/x"}}
    ]
    settled.patch("deployment", "chat-predictor", added, how=JSON)
    await_repair(settled, "deployment", before)


def test_a_status_written_by_a_hand_is_put_back(settled: World) -> None:
    before = settled.condition("chat")
    lie = {"status": {"conditions": [{**before, "status": "True", "reason": "Ready", "message": "believe me"}]}}
    settled.patch("isvc", "chat", lie, subresource="status")
    wait_for(
        lambda: settled.condition("chat").get("message") == before["message"], seconds=REPAIR_SECONDS, what="the truth"
    )


FORGED: dict[str, tuple[str, dict[str, Any]]] = {
    "serviceaccount": (
        "v1",
        {
            "metadata": {"annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/admin"}},
            "secrets": [{"name": "theirs"}],
            "imagePullSecrets": [{"name": "theirs"}],
        },
    ),
    "configmap": ("v1", {"data": {"theirs": "1"}, "binaryData": {"more": "eA=="}}),
    "service": (
        "v1",
        {
            "metadata": {"annotations": {"external-dns.alpha.kubernetes.io/hostname": "chat.example"}},
            "spec": {
                "type": "NodePort",
                "externalIPs": ["203.0.113.7"],
                "ports": [{"name": "theirs", "port": 9}],
                "selector": {"app": "theirs"},
            },
        },
    ),
    "poddisruptionbudget": ("policy/v1", {"spec": {"maxUnavailable": 1, "selector": {}}}),
    "networkpolicy": (
        "networking.k8s.io/v1",
        {"spec": {"podSelector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}, "egress": [{}]}},
    ),
}
KINDS = {
    "serviceaccount": "ServiceAccount", "configmap": "ConfigMap", "service": "Service",
    "poddisruptionbudget": "PodDisruptionBudget", "networkpolicy": "NetworkPolicy",
}  # fmt: skip


def test_what_somebody_made_beforehand_in_the_services_name_brings_nothing_along(settled: World) -> None:
    wanted = {kind: facts(settled.get(kind, "chat-predictor")) for kind in FORGED}
    settled.apply(service("early", settled.namespace, classification={"level": "unheard-of"}))
    wait_for(lambda: settled.condition("early").get("reason") == "UnknownLevel", what="a refusal")
    uid = (settled.get("isvc", "early") or {})["metadata"]["uid"]
    owner = {"apiVersion": "inference.sekisho.dev/v1alpha1", "kind": "InferenceService", "name": "early", "uid": uid}
    for kind, (version, body) in FORGED.items():
        meta = {"name": "early-predictor", "namespace": settled.namespace, "ownerReferences": [owner]}
        meta.update(body.get("metadata", {}))
        settled.apply({"apiVersion": version, "kind": KINDS[kind], **body, "metadata": meta})
    settled.apply(service("early", settled.namespace))
    await_children(settled, "early")
    for kind, (kept, *_) in wanted.items():
        live = settled.get(kind, "early-predictor")
        assert live is not None
        assert set(live["metadata"].get("annotations", {})) == {"sekisho.dev/applied-digest"}, kind
        found = facts(live)[0]
        for field in ("spec", "data"):
            if field in kept and kind != "configmap":
                assert set(found[field]) == set(kept[field]), kind
        assert set(found) == set(kept), kind
    assert set((settled.get("configmap", "early-predictor") or {})["data"]) == {"agent.json", "ca.crt"}
    exposed = (settled.get("service", "early-predictor") or {})["spec"]
    assert (exposed["type"], exposed.get("externalIPs", []), len(exposed["ports"])) == ("ClusterIP", [], 1)
    assert "nodePort" not in exposed["ports"][0]
