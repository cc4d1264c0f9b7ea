"""The drill: a node is not what it was, and loses its label, the pod on it and that pod's key; rebooted it has all."""

from collections.abc import Iterator
from typing import Any

import pytest

from e2e.installation import NAMESPACE
from e2e.observe import ask_engine, condition_of, pods_of, read_all, wait_for
from e2e.release.conftest import Grounds, grant
from e2e.release.test_release import serve

PREFIX = "sekisho.node-restriction.kubernetes.io"
LABEL = f"{PREFIX}/tpm-attested-at"


@pytest.fixture
def rebooted(grounds: Grounds) -> Iterator[None]:
    """Whatever a test has measured into the TPM of the first node, afterwards it holds what it measures at boot."""
    yield
    reboot(grounds)


def reboot(grounds: Grounds) -> None:
    """Start the first node's TPM anew, and its attester, as the boot of a node does; return once it is attested."""
    node, tpm = grounds.nodes[0], grounds.tpms[0]
    tpm.stop()
    tpm.start()
    cluster = grounds.installation.cluster
    where = (f"--field-selector=spec.nodeName={node}", "-n", NAMESPACE)
    cluster.kubectl("delete", "pod", "-l", "app.kubernetes.io/component=attester", *where)
    wait_for(lambda: LABEL in node_of(grounds)["labels"], "the first node is attested again")


def node_of(grounds: Grounds) -> dict[str, Any]:
    metadata: dict[str, Any] = grounds.installation.get("node", grounds.nodes[0])["metadata"]
    return metadata


@pytest.mark.usefixtures("rebooted")
def test_a_node_that_is_not_what_it_was_loses_its_label_its_pod_and_the_key_until_it_is_again(
    grounds: Grounds, proven: str
) -> None:
    installation, cluster = grounds.installation, grounds.installation.cluster
    grant(grounds, proven, "drilled")
    wait_for(lambda: LABEL in node_of(grounds)["labels"], "the first node is attested")
    serve(grounds, proven, "drilled")
    installation.wait_condition("drilled", "Ready", "True", namespace=proven)
    (before,) = pods_of(cluster, "drilled", namespace=proven)
    assert before["spec"]["nodeName"] == grounds.nodes[0], "the one node that has proven itself"
    assert ask_engine(cluster, before["metadata"]["name"], namespace=proven)

    grounds.tpms[0].extend(4, b"something that was not there at boot")
    told = wait_for(lambda: refusal_of(grounds, proven, before), "the renewal is refused, or the pod gone")
    assert told in {"MeasurementUnknown", "LeaseExpired", "gone"}, told
    wait_for(lambda: LABEL not in node_of(grounds)["labels"], "the node loses its label")
    assert "MeasurementUnknown" in node_of(grounds)["annotations"][f"{PREFIX}/refusal"]
    installation.wait_condition("drilled", "Ready", "False", namespace=proven)
    wait_for(lambda: not is_there(grounds, proven, before), "the pod is drained")
    assert all(not holds_key(pod) for pod in pods_of(cluster, "drilled", namespace=proven))

    reboot(grounds)
    installation.wait_condition("drilled", "Ready", "True", namespace=proven)
    (after,) = pods_of(cluster, "drilled", namespace=proven)
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
    assert ask_engine(cluster, after["metadata"]["name"], namespace=proven)


def is_there(grounds: Grounds, namespace: str, pod: dict[str, Any]) -> bool:
    """Tell whether a pod is still there."""
    pods = read_all(grounds.installation.cluster, "pods", namespace=namespace)
    return any(item["metadata"]["uid"] == pod["metadata"]["uid"] for item in pods)


def refusal_of(grounds: Grounds, namespace: str, pod: dict[str, Any]) -> str:
    """Return why a pod holds no key any more; "gone" where the pod is; empty while it holds one."""
    pods = pods_of(grounds.installation.cluster, "drilled", namespace=namespace)
    found = next((item for item in pods if item["metadata"]["uid"] == pod["metadata"]["uid"]), None)
    if found is None:
        return "gone"
    return "" if holds_key(found) else str(condition_of(found, "sekisho.dev/key-released").get("reason", ""))


def holds_key(pod: dict[str, Any]) -> bool:
    return condition_of(pod, "sekisho.dev/key-released").get("status") == "True"
