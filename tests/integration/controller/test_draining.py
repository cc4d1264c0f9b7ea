"""A node loses its trust: the pods on it are evicted, and no others."""

import contextlib
import time
from collections.abc import Iterator

import pytest

from e2e.cluster.local import LocalCluster
from e2e.cluster.writing import writer_of
from sekisho.api.names import trust_label
from sekisho.plan.misplaced import MIN_POD_AGE_SECONDS
from tests.integration.controller.conftest import POLICY, Heartbeat, World, node, service
from tests.integration.controller.process import ControllerProcess, wait_for

TPM = trust_label("tpm")
NODES = ("trusted-a", "trusted-b")
TRUSTED = {"tiers": ["Closed"], "trust": {"anyOf": ["tpm"], "maxAgeSeconds": 3600}}


@pytest.fixture(scope="module")
def trusted(installed: LocalCluster) -> Iterator[LocalCluster]:
    """Two nodes that have proven a TPM, and a class that wants one."""
    levels = [{**level, "rules": TRUSTED} if level["name"] == "confidential" else level
              for level in POLICY["spec"]["levels"]]  # fmt: skip
    policy = {**POLICY, "spec": {**POLICY["spec"], "levels": levels}}
    world = World(installed, "default")
    world.apply(policy, *(node(name) for name in NODES))
    with contextlib.ExitStack() as stack:
        for name in NODES:
            attest(installed, name)
            stack.enter_context(Heartbeat(installed, name))
        yield installed
    for name in NODES:
        world.delete("node", name)
    world.apply(POLICY)


def attest(cluster: LocalCluster, name: str) -> None:
    label(cluster, name, str(int(time.time())))


def label(cluster: LocalCluster, name: str, value: str | None) -> None:
    writer_of(cluster.kubeconfig).patch("node", name, {"metadata": {"labels": {TPM: value}}})


def pods_of(world: World) -> dict[str, str]:
    """Return the node of every pod that is not ending."""
    items = world.all("pods")
    return {
        pod["metadata"]["name"]: pod["spec"].get("nodeName", "")
        for pod in items
        if "deletionTimestamp" not in pod["metadata"]
    }


def test_pods_leave_a_node_that_lost_its_trust(
    trusted: LocalCluster, world: World, controller: ControllerProcess
) -> None:
    labels = {"sekisho.dev/classification": "confidential"}
    world.apply(service("chat", world.namespace, labels=labels, predictor={"minReplicas": 2}))
    wait_for(lambda: sorted(pods_of(world).values()) == sorted(NODES), what="one pod on each trusted node")
    first = pods_of(world)
    time.sleep(MIN_POD_AGE_SECONDS + 1)
    assert pods_of(world) == first
    label(trusted, NODES[0], None)
    leaving = next(name for name, where in first.items() if where == NODES[0])
    staying = next(name for name, where in first.items() if where == NODES[1])
    wait_for(lambda: leaving not in pods_of(world), what="the pod to be evicted")
    placed = world.condition("chat", "Placed")
    assert staying in pods_of(world)
    wait_for(lambda: len(pods_of(world)) == 2, what="another pod")
    assert set(pods_of(world).values()) <= {NODES[1], ""}
    assert placed["reason"] in {"TrustMissing", "Placed"}
    attest(trusted, NODES[0])
