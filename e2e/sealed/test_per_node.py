"""A depot on each node: pods are served by their own node's depot, and of the depots one inspects for all."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from e2e.cluster.local import LocalCluster
from e2e.installation import NAMESPACE, Installation
from e2e.observe import ask_engine, condition_of, pods_of, read_all, read_numbers, wait_for
from e2e.sealed.conftest import Vault
from e2e.services import model_object, small_service

DEPOTS = {"namespace": NAMESPACE, "labels": "app.kubernetes.io/component=depot"}


@pytest.fixture
def per_node(vault: Vault) -> Iterator[Installation]:
    """Let every node have its depot for a while; the one depot comes back afterwards."""
    installation = vault.installation
    before = installation.values
    installation.values = {**before, "depot": {**before.get("depot", {}), "mode": "PerNode"}}
    installation.upgrade(installation.values)
    yield installation
    installation.values = before
    installation.upgrade(before)


def depots(installation: Installation) -> dict[str, dict[str, Any]]:
    """Return the depots of nodes that are ready, by node; the one depot of before may take a while to go."""
    pods = [pod for pod in read_all(installation.cluster, "pods", **DEPOTS) if is_ready_on_node(pod)]
    return {pod["spec"]["nodeName"]: pod for pod in pods}


def is_ready_on_node(pod: dict[str, Any]) -> bool:
    meta = pod["metadata"]
    of_node = any(owner["kind"] == "DaemonSet" for owner in meta.get("ownerReferences", []))
    return of_node and "deletionTimestamp" not in meta and condition_of(pod, "Ready").get("status") == "True"


def holder(installation: Installation) -> str:
    """Return the running depot that holds the Lease; empty while it names one that is gone, as for a while it may."""
    leases = read_all(installation.cluster, "leases", namespace=NAMESPACE)
    named = [item["spec"].get("holderIdentity") or "" for item in leases if item["metadata"]["name"] == "sekisho-depot"]
    pods = {pod["metadata"]["name"] for pod in depots(installation).values()}
    name = named[0].partition("_")[0] if named else ""
    return name if name in pods else ""


def served_bytes(cluster: LocalCluster, pod: str) -> float:
    """Read the metric of one depot."""
    return sum(read_numbers(cluster, pod, "sekisho_depot_served_bytes_total").values())


def test_pods_are_served_by_the_depot_of_their_own_node_and_one_depot_inspects(
    vault: Vault, closed: str, per_node: Installation
) -> None:
    cluster = per_node.cluster
    assert isinstance(cluster, LocalCluster)

    def both() -> dict[str, dict[str, Any]] | None:
        ready = depots(per_node)
        return ready if len(ready) >= 2 else None

    found = wait_for(both, "a depot that is ready on each real node")
    per_node.apply(model_object("tiny", closed, vault.uri))
    per_node.apply(small_service("spread", closed, {"modelRef": {"name": "tiny"}}, minReplicas=1))
    per_node.wait_condition("spread", "Ready", "True", namespace=closed)
    (pod,) = pods_of(cluster, "spread", namespace=closed)
    node = pod["spec"]["nodeName"]
    assert ask_engine(cluster, pod["metadata"]["name"], namespace=closed)
    counts = {name: served_bytes(cluster, depot["metadata"]["name"]) for name, depot in found.items()}
    assert counts[node] > 0
    assert not any(count for name, count in counts.items() if name != node), counts
    canary = per_node.get("service", "sekisho-depot-canary", namespace=NAMESPACE)["spec"]["clusterIP"]
    config = json.loads(per_node.get("configmap", "spread-predictor", namespace=closed)["data"]["agent.json"])
    hosts = {item["name"]: (item["host"], item["protocols"]) for item in config["canaries"]}
    assert hosts["depot-canary"] == (canary, ["tcp", "udp"])


def test_when_the_inspecting_depot_is_gone_another_inspects(vault: Vault, closed: str, per_node: Installation) -> None:
    leader = wait_for(lambda: holder(per_node), "a depot that runs holds the Lease")
    per_node.cluster.kubectl("delete", "pod", leader, "-n", NAMESPACE, "--grace-period=0", "--force")
    per_node.apply(model_object("tiny", closed, vault.uri))

    def inspected() -> bool:
        status = per_node.get("model", "tiny", namespace=closed).get("status", {})
        return bool(status.get("inspection", {}).get("sealed"))

    wait_for(inspected, "an inspection by another depot")
    successor = wait_for(lambda: holder(per_node), "another depot holds the Lease")
    assert successor != leader
