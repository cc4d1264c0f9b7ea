"""From an applied InferenceService to its children and back to nothing."""

import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.integration.controller.conftest import CHILDREN, POLICY, World, service
from tests.integration.controller.process import ControllerProcess, wait_for

ALL_CHILDREN = {
    "NetworkPolicy", "ServiceAccount", "ConfigMap", "Service", "PodDisruptionBudget", "Deployment",
}  # fmt: skip


@pytest.fixture(scope="module")
def controller(lasting_controller: ControllerProcess) -> ControllerProcess:
    return lasting_controller


def await_children(world: World, name: str) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = wait_for(
        lambda: (have := world.children(name)) and set(have) == ALL_CHILDREN and have,
        what=f"all children of {name}",
    )
    return found


def await_condition(world: World, name: str, reason: str, kind: str = "Ready") -> dict[str, Any]:
    found: dict[str, Any] = wait_for(
        lambda: (c := world.condition(name, kind)) and c["reason"] == reason and c, what=f"{kind} {reason} of {name}"
    )
    return found


def test_a_service_gets_its_children_policy_first_and_a_status(world: World, controller: ControllerProcess) -> None:
    mark = world.mark()
    world.apply(service("chat", world.namespace))
    children = await_children(world, "chat")
    owner = world.get("isvc", "chat")
    assert owner is not None
    for kind, child in children.items():
        assert child["metadata"]["name"] == "chat-predictor"
        owners = [owner] if kind != "Deployment" else [owner, children["NetworkPolicy"]]
        assert [o["uid"] for o in child["metadata"]["ownerReferences"]] == [o["metadata"]["uid"] for o in owners]
    placed = await_condition(world, "chat", "Placed", "Placed")
    assert (placed["status"], placed["observedGeneration"]) == ("True", 1)
    controller.await_idle()
    asked = [r for r in world.requests(mark) if r.namespace == world.namespace]
    written = [r.resource for r in asked if r.is_write]
    assert written[0] == "networkpolicies.networking.k8s.io"
    assert written[5] == "deployments.apps"
    assert len(written) <= len(ALL_CHILDREN) + 2, written
    assert len([r for r in asked if r.verb in {"get", "list"}]) <= 2


def test_nothing_of_kopf_is_written_onto_objects(world: World, controller: ControllerProcess) -> None:
    world.apply(service("chat", world.namespace))
    await_children(world, "chat")
    controller.await_idle()
    live = world.get("isvc", "chat")
    assert live is not None
    assert "finalizers" not in live["metadata"]
    assert not any("kopf" in key for key in live["metadata"].get("annotations", ()))


def test_without_a_policy_everything_is_refused_and_nothing_is_made(
    world: World, controller: ControllerProcess
) -> None:
    world.delete("classificationpolicy", "default")
    try:
        world.apply(service("chat", world.namespace))
        refused = await_condition(world, "chat", "PolicyMissing")
        assert refused["status"] == "False"
        assert "default" in refused["message"]
        assert world.children("chat") == {}
    finally:
        world.apply(POLICY)
    await_children(world, "chat")


def test_a_foreign_object_of_the_same_name_is_refused_and_left_as_it_is(
    world: World, controller: ControllerProcess
) -> None:
    foreign = {
        "apiVersion": "v1", "kind": "ConfigMap", "data": {"theirs": "1"},
        "metadata": {"name": "chat-predictor", "namespace": world.namespace},
    }  # fmt: skip
    world.apply(foreign)
    world.apply(service("chat", world.namespace))
    refused = await_condition(world, "chat", "NotOurs")
    assert "ConfigMap" in refused["message"]
    assert "does not carry sekisho's labels" in refused["message"]
    live = world.get("configmap", "chat-predictor")
    assert live is not None
    assert live["data"] == {"theirs": "1"}
    assert "ownerReferences" not in live["metadata"]
    assert "Deployment" not in world.children("chat")
    world.delete("configmap", "chat-predictor")
    await_children(world, "chat")


def test_a_refused_class_prunes_what_ran(world: World, controller: ControllerProcess) -> None:
    world.apply(service("chat", world.namespace))
    await_children(world, "chat")
    world.apply(service("chat", world.namespace, classification={"level": "unheard-of"}))
    refused = await_condition(world, "chat", "UnknownLevel")
    assert "unheard-of" in refused["message"]
    wait_for(lambda: world.all("pods") and is_ending(world, "pods"), what="the pods' end")
    # No kubelet ends the pods of a simulated node; what isolates them stays, and nothing new begins.
    assert is_ending(world, "deployment")
    assert not is_ending(world, "networkpolicy")
    world.await_end("chat")


def is_ending(world: World, kind: str) -> bool:
    return all("deletionTimestamp" in item["metadata"] for item in world.all(kind, labels="sekisho.dev/service=chat"))


def test_what_a_service_no_longer_asks_for_is_taken_back(world: World, controller: ControllerProcess) -> None:
    def keys() -> set[str]:
        spec = (world.get("deployment", "chat-predictor") or {})["spec"]["template"]["spec"]
        return {item.get("key", "") for item in spec.get("tolerations", ())}

    def managers() -> list[str]:
        text = world.kubectl("get", "deployment", "chat-predictor", "-o", "json", "--show-managed-fields")
        record = json.loads(text)["metadata"]["managedFields"]
        return [item["operation"] for item in record if item["manager"] == "sekisho"]

    tolerations = [{"key": "reserved", "operator": "Exists"}]
    world.apply(service("chat", world.namespace, predictor={"tolerations": tolerations}))
    await_children(world, "chat")
    assert "reserved" in keys()
    world.apply(service("chat", world.namespace))
    wait_for(lambda: "reserved" not in keys(), what="the end of a toleration")
    assert managers() == ["Apply"]


def test_a_label_on_the_namespace_raises_the_class_of_its_services(world: World, controller: ControllerProcess) -> None:
    world.apply(service("chat", world.namespace))
    await_children(world, "chat")
    labels = {"sekisho.dev/classification": "confidential"}
    world.patch("namespace", world.namespace, {"metadata": {"labels": labels}})
    wait_for(
        lambda: (world.get("isvc", "chat") or {})["status"].get("class", {}).get("level") == "confidential",
        what="the raised class",
    )


def test_a_foreign_policy_that_selects_the_pods_is_noticed(world: World, controller: ControllerProcess) -> None:
    world.apply(service("chat", world.namespace))
    await_children(world, "chat")
    world.apply(
        {
            "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
            "metadata": {"name": "open", "namespace": world.namespace},
            "spec": {"podSelector": {}, "policyTypes": ["Egress"], "egress": [{}]},
        }
    )  # fmt: skip
    await_condition(world, "chat", "ForeignNetworkPolicy", "Isolated")


@pytest.mark.parametrize("way", ["background", "foreground"])
def test_deleting_the_service_leaves_nothing_and_its_pods_never_without_their_network_policy(
    world: World, controller: ControllerProcess, way: str
) -> None:
    world.apply(service("chat", world.namespace))
    await_children(world, "chat")
    wait_for(lambda: any(pod["spec"].get("nodeName") for pod in world.all("pods")), what="a pod on a node")
    world.kubectl("delete", "isvc", "chat", f"--cascade={way}", "--wait=false")
    wait_for(lambda: is_ending(world, "pods"), what="the pods' end")
    wait_for(lambda: [*world.children("chat")] == ["NetworkPolicy", "Deployment"], what="the end of all others")
    time.sleep(2.0)  # long after the garbage collector took the others
    assert world.all("pods")
    policy = world.children("chat")["NetworkPolicy"]
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    world.drop_ending_pods("chat")

    def is_empty() -> bool:
        left = [item["metadata"]["name"] for kind in (*CHILDREN, "replicasets", "pods") for item in world.all(kind)]
        return {*left} <= {"default", "kube-root-ca.crt"}

    # The garbage collector of a new control plane takes its time to learn of our kinds.
    wait_for(is_empty, what="an empty namespace")
    time.sleep(1.0)
    assert is_empty()


def test_a_service_that_a_finalizer_keeps_runs_no_more(world: World, controller: ControllerProcess) -> None:
    kept = service("chat", world.namespace)
    kept["metadata"]["finalizers"] = ["tests.example/hold"]
    world.apply(kept)
    await_children(world, "chat")
    world.hand.delete("isvc", "chat", namespace=world.namespace, wait=False)
    try:
        ending = await_condition(world, "chat", "Terminating")
        assert ending["status"] == "False"
        wait_for(lambda: is_ending(world, "deployment"), what="the Deployment's end")
        wait_for(lambda: is_ending(world, "pods"), what="the pods' end")
        assert world.all("pods") == [] or "NetworkPolicy" in world.children("chat")
        world.await_end("chat")
    finally:
        world.patch("isvc", "chat", {"metadata": {"finalizers": None}})


def test_the_other_kinds_tell_what_was_made_of_them(world: World, controller: ControllerProcess) -> None:
    for kind, name in (("classificationpolicy", "default"), ("site", "test-closed"), ("runtime", "test-engine")):
        wait_for(lambda k=kind, n=name: world.condition(n, of=k).get("status") == "True", what=f"{kind} ready")


def test_a_warning_event_tells_of_a_refusal_once(world: World, controller: ControllerProcess) -> None:
    world.apply(service("chat", world.namespace, classification={"level": "unheard-of"}))
    await_condition(world, "chat", "UnknownLevel")
    controller.await_idle()
    told = [e for e in world.all("events") if e.get("reportingComponent") == "sekisho.dev/controller"]
    assert [(e["type"], e["reason"]) for e in told] == [("Warning", "UnknownLevel")]


def test_a_service_that_rests_runs_while_it_is_asked_for_and_a_look_at_the_time_ends_it(
    world: World, controller: ControllerProcess
) -> None:
    world.apply(service("chat", world.namespace, predictor={"minReplicas": 0, "idleSeconds": 10}))
    await_condition(world, "chat", "ScaledToZero", "Serving")
    await_children(world, "chat")

    def replicas() -> int:
        return int((world.get("deployment", "chat-predictor") or {})["spec"]["replicas"])

    assert replicas() == 0
    mark = world.mark()

    def wakes() -> bool:
        """Say that it is asked for, as the gateway does again and again; a slow machine may miss a single time."""
        demand = {"askedAt": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), "by": "test"}
        world.patch("isvc", "chat", {"status": {"demand": demand}}, subresource="status")
        return _count(world, mark, "deployments.apps") >= 1

    # By the record of what was asked of the server: a slow look would miss the seconds in which it runs.
    wait_for(wakes, what="it to run")
    wait_for(lambda: replicas() == 0 and _count(world, mark, "deployments.apps") >= 2, what="it to rest again")
    await_condition(world, "chat", "ScaledToZero", "Serving")
    live = world.get("isvc", "chat")
    assert live is not None
    assert live["status"]["demand"]["by"] == "test"


def _count(world: World, mark: int, resource: str) -> int:
    asked = [item for item in world.requests(mark) if item.namespace == world.namespace]
    return sum(item.is_write and item.resource == resource for item in asked)
