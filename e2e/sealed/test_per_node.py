"""A depot on each node: pods are served by their own node's depot, and of the depots one inspects for all."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from e2e.cluster.local import LocalCluster
from e2e.installation import NAMESPACE, Installation
from e2e.observe import ask_engine, pods_of, read_numbers
from e2e.sealed.conftest import Vault
from e2e.services import model_object, small_service

DEPOTS = ("-n", NAMESPACE, "-l", "app.kubernetes.io/component=depot")


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


def read(installation: Installation, *words: str) -> Any:
    return json.loads(installation.cluster.kubectl("get", *words, "-o", "json"))


def depots(installation: Installation) -> dict[str, dict[str, Any]]:
    """Return the running depots by node."""
    pods = read(installation, "pods", *DEPOTS)["items"]
    return {pod["spec"]["nodeName"]: pod for pod in pods if not pod["metadata"].get("deletionTimestamp")}


def holder(installation: Installation) -> str:
    """Return the pod that holds the Lease."""
    return str(read(installation, "lease", "sekisho-depot", "-n", NAMESPACE)["spec"]["holderIdentity"]).partition("_")[
        0
    ]


def wait(condition: Callable[[], bool], what: str, *, seconds: float = 90) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"{what} was not so within {seconds:.0f} s"
        time.sleep(0.5)


def served_bytes(cluster: LocalCluster, pod: str) -> float:
    """Read the metric of one depot."""
    return sum(read_numbers(cluster, pod, "sekisho_depot_served_bytes_total").values())


def test_pods_are_served_by_the_depot_of_their_own_node_and_one_depot_inspects(
    vault: Vault, closed: str, per_node: Installation
) -> None:
    cluster = per_node.cluster
    assert isinstance(cluster, LocalCluster)
    found = depots(per_node)
    assert len(found) >= 2, "one on each real node"
    per_node.apply(model_object("tiny", closed, vault.uri))
    per_node.apply(small_service("spread", closed, {"modelRef": {"name": "tiny"}}, minReplicas=1))
    per_node.wait_condition("spread", "Ready", "True", namespace=closed, seconds=180)
    (pod,) = pods_of(cluster, "spread", namespace=closed)
    node = pod["spec"]["nodeName"]
    assert ask_engine(cluster, pod["metadata"]["name"], namespace=closed)
    counts = {name: served_bytes(cluster, depot["metadata"]["name"]) for name, depot in found.items()}
    assert counts[node] > 0
    assert not any(count for name, count in counts.items() if name != node), counts
    canary = read(per_node, "service", "sekisho-depot-canary", "-n", NAMESPACE)["spec"]["clusterIP"]
    config = json.loads(read(per_node, "configmap", "spread-predictor", "-n", closed)["data"]["agent.json"])
    hosts = {item["name"]: (item["host"], item["protocols"]) for item in config["canaries"]}
    assert hosts["depot-canary"] == (canary, ["tcp", "udp"])


def test_when_the_inspecting_depot_is_gone_another_inspects(vault: Vault, closed: str, per_node: Installation) -> None:
    wait(lambda: bool(holder(per_node)), "a holder of the Lease")
    leader = holder(per_node)
    per_node.cluster.kubectl("delete", "pod", leader, "-n", NAMESPACE, "--grace-period=0", "--force")
    per_node.apply(model_object("tiny", closed, vault.uri))

    def inspected() -> bool:
        status = per_node.get("model", "tiny", namespace=closed).get("status", {})
        return bool(status.get("inspection", {}).get("sealed"))

    wait(inspected, "an inspection by another depot")
    assert holder(per_node) != leader
