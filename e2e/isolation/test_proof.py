"""Isolation is what is proven now: a hole, a silent agent or a foreign policy ends it, with the reason, and service."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.cluster.errors import ClusterError
from e2e.cluster.namespaces import create_namespace, drop_namespace
from e2e.isolation.questions import ask
from e2e.isolation.scene import Pod, Scene, addresses, answered, container_status
from e2e.observe import read_all, wait_for

OPEN_POLICY = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "open-all"},
    "spec": {"podSelector": {}, "policyTypes": ["Egress", "Ingress"], "egress": [{}], "ingress": [{}]},
}


def wait_not_isolated(scene: Scene, namespace: str, reason: str) -> dict[str, Any]:
    """Wait until the shared service is not isolated for that reason; return the condition."""
    return scene.installation.wait_condition("attack", "Isolated", "False", namespace=namespace, reason=reason)


def ready_addresses(scene: Scene, namespace: str) -> list[str]:
    """Return the addresses behind the Service of the shared model."""
    selector = "kubernetes.io/service-name=attack-predictor"
    slices = read_all(scene.cluster, "endpointslices", namespace=namespace, labels=selector)
    endpoints = [endpoint for item in slices for endpoint in item.get("endpoints") or ()]
    return [
        address for endpoint in endpoints if endpoint["conditions"].get("ready") for address in endpoint["addresses"]
    ]


def list_weights(scene: Scene, pod: Pod) -> list[str]:
    """Return the files that the agent brought into a pod."""
    script = "import os; print(*sorted(n for _, _, names in os.walk('/models') for n in names), sep='\\n')"
    metadata = pod["metadata"]
    run = ("exec", metadata["name"], "-n", metadata["namespace"], "-c", "agent", "--", "/usr/bin/python3.11")
    return scene.cluster.kubectl(*run, "-I", "-c", script).split()


@pytest.fixture
def open_policy(scene: Scene, models: str, pod: Pod) -> Iterator[None]:
    """A policy of somebody else that opens the namespace."""
    scene.cluster.kubectl("apply", "-n", models, "-f", "-", stdin=json.dumps(OPEN_POLICY))
    yield
    scene.cluster.kubectl("delete", "networkpolicy", "open-all", "-n", models, "--ignore-not-found")


def test_a_foreign_policy_that_opens_the_pods_stops_the_service_until_it_is_gone(
    scene: Scene, models: str, pod: Pod, open_policy: None
) -> None:
    with scene.far_ends() as ends:
        isolated = wait_not_isolated(scene, models, "ForeignNetworkPolicy")
        assert "NetworkPolicy open-all" in isolated["message"]
        assert "ingress and egress" in isolated["message"]
        assert scene.installation.conditions("attack", namespace=models)["Serving"]["reason"] == "Stopped"
        scene.wait_gone("attack", namespace=models)
        assert ends.seen(addresses([pod])) == {}
        scene.prove_controls(ends)
    scene.cluster.kubectl("delete", "networkpolicy", "open-all", "-n", models)
    scene.wait_ready("attack", namespace=models)


def test_an_agent_that_falls_silent_takes_its_pod_out_of_service(scene: Scene, models: str, pod: Pod) -> None:
    node, process = scene.cluster.place(pod["spec"]["nodeName"]), scene.process_id(pod, "agent")
    wait_for(lambda: ready_addresses(scene, models) == addresses([pod]), "the pod is behind the Service")
    node.run("kill", "-STOP", process)
    try:
        isolated = wait_not_isolated(scene, models, "IsolationProofStale")
        assert "30 s allowed" in isolated["message"]
        wait_for(lambda: ready_addresses(scene, models) == [], "no pod is behind the Service")
        assert scene.installation.conditions("attack", namespace=models)["Ready"]["reason"] == "IsolationProofStale"
    finally:
        node.run("kill", "-CONT", process, check=False)
    scene.wait_ready("attack", namespace=models)
    wait_for(lambda: ready_addresses(scene, models) == addresses([pod]), "the pod is behind the Service again")


def test_a_hole_that_opens_later_stops_the_engine_and_takes_its_weights(scene: Scene, models: str, pod: Pod) -> None:
    assert list_weights(scene, pod) != []
    restarts = container_status(pod, "engine")["restartCount"]
    with scene.far_ends() as ends:
        assert answered(scene.attack_from_engine(pod)) == []
        scene.within(pod).run("nft", "delete", "table", "inet", "sekisho_fence")
        wait_not_isolated(scene, models, "IsolationLeak")

        def read() -> str:
            message = str(scene.installation.conditions("attack", namespace=models)["Isolated"]["message"])
            return message if "outside by icmp" in message else ""

        # the round in which the hole opened may have begun before
        assert "check that NetworkPolicies are enforced" in wait_for(read, "the canary outside is named")
        # the far end saw what the agent says: only what the network's policy never stops
        assert set(ends.seen(addresses([pod]))["internet"]) == {"icmp"}
    wait_for(lambda: ready_addresses(scene, models) == [], "no pod is behind the Service")
    wait_for(lambda: list_weights(scene, pod) == [], "the weights are gone")
    refused = ask(scene, pod, "/v1/weights")
    assert (refused["status"], refused["reason"]) == (409, "IsolationNotProven")
    available = scene.installation.wait_condition("attack", "WeightsAvailable", "False", namespace=models)
    assert available["reason"] == "IsolationNotProven"
    wait_for(
        lambda: container_status(scene.pods("attack", namespace=models)[0], "engine")["restartCount"] > restarts,
        "the kubelet ended the engine",
    )
    scene.cluster.kubectl("delete", "pod", pod["metadata"]["name"], "-n", models, "--wait=false")
    (follower,) = scene.wait_pods("attack", namespace=models, count=1, but=pod["metadata"]["name"])
    assert list_weights(scene, follower) != []


def test_nobody_opens_a_classified_namespace(scene: Scene) -> None:
    name = f"{scene.namespace}-classified"
    create_namespace(scene.cluster.kubeconfig, name)
    try:
        scene.cluster.kubectl("apply", "-n", name, "-f", "-", "--dry-run=server", stdin=json.dumps(OPEN_POLICY))
        scene.cluster.kubectl("label", "namespace", name, "sekisho.dev/classification=internal")
        with pytest.raises(ClusterError, match=r"in a namespace of class internal only .*sekisho-controller may write"):
            scene.cluster.kubectl("apply", "-n", name, "-f", "-", stdin=json.dumps(OPEN_POLICY))
    finally:
        drop_namespace(scene.cluster.kubeconfig, name)
