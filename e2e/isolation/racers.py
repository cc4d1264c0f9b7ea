"""Plain pods that send from their first instruction on under a policy that allows nothing, with and without a fence."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from e2e.cluster.images import TOOLS_IMAGE
from e2e.cluster.patience import TIMEOUT
from e2e.cluster.provider import Cluster
from e2e.cluster.reading import reader_of
from e2e.isolation.attack import read_attempts
from e2e.observe import read_all, wait_for

RACERS = int(os.environ.get("SEKISHO_RACERS", "8"))
"""Pods of each kind; more of them make a better measurement."""
SECONDS = 3
POLICY = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "deny-all"},
    "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
}
SCRIPT = """
say() { sed "s|^|attack $1 |"; }
for protocol in tcp udp icmp; do
  port=:80; [ $protocol = udp ] && port=:9999; [ $protocol = icmp ] && port=
  probe $protocol -for ${SECONDS}s -interval 2ms -timeout 60ms $OUTSIDE$port | say "$OUTSIDE $protocol" &
done
exec probe pause
"""
FENCE_RIGHTS = {
    "runAsUser": 0,
    "runAsGroup": 0,
    "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]},
    "allowPrivilegeEscalation": False,
}


@dataclass(frozen=True, slots=True)
class Race:
    """How many pods got packets out, as counted outside.

    Attributes:
        tcp_or_udp: Pods of which a packet of these two arrived.
        icmp: Pods of which an echo request arrived.
        longest_ms: How long after its first try the slowest pod was still answered by TCP or UDP.
        answered_in_steady_state: Pods that were answered by TCP or UDP to the very end.
    """

    pods: int
    tcp_or_udp: int
    icmp: int
    longest_ms: float
    answered_in_steady_state: int

    def __str__(self) -> str:
        return (
            f"{self.tcp_or_udp} of {self.pods} pods by TCP or UDP for at most {self.longest_ms:.0f} ms, "
            f"{self.icmp} of {self.pods} by ICMP"
        )


@contextmanager
def racing_ground(cluster: Cluster, namespace: str, *, agent_files: dict[str, str]) -> Iterator[None]:
    """Close a namespace by policy before any pod is in it, and give it the fence's configuration."""
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "agent"}, "data": agent_files}
    for manifest in (POLICY, config):
        cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=json.dumps(manifest))
    yield
    cluster.kubectl("delete", "pods", "--all", "-n", namespace, "--wait=false")


def race(cluster: Cluster, namespace: str, *, kind: str, agent_image: str = "") -> Race:
    """Start pods all at once and count what of them arrives outside.

    Args:
        cluster: Where.
        namespace: One that `racing_ground` closed.
        kind: Name of this kind of pods.
        agent_image: Image of the fence that comes first in each pod; without one there is no fence.
    """
    outside = cluster.internet.address
    pods = [_render(f"{kind}-{number}", outside=outside, agent_image=agent_image) for number in range(RACERS)]
    with cluster.count_packets("internet") as counter:
        manifest = {"apiVersion": "v1", "kind": "List", "items": pods}
        cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=json.dumps(manifest))
        selector = ("-n", namespace, "-l", f"racer={kind}")
        cluster.kubectl("wait", "--for=condition=Ready", "pod", *selector, TIMEOUT)
        lasted = [_wait_lasted(cluster, namespace, pod["metadata"]["name"]) for pod in pods]
        found = read_all(cluster, "pods", namespace=namespace, labels=f"racer={kind}")
        sources = {pod["status"]["podIP"] for pod in found}
        assert len(sources) == RACERS
        seen = {(source, protocol) for (source, protocol) in counter.counts() if source in sources}
    cluster.kubectl("delete", "pod", *selector, "--wait=false")
    escaped = {source for source, protocol in seen if protocol != "icmp"}
    echoed = {source for source, protocol in seen if protocol == "icmp"}
    to_the_end = sum(ms > SECONDS * 1000 - 500 for ms in lasted)
    return Race(RACERS, len(escaped), len(echoed), max(lasted), to_the_end)


def _wait_lasted(cluster: Cluster, namespace: str, name: str) -> float:
    """Wait until a racer is done; return when it was last answered by TCP or UDP, in ms after its start."""

    def read() -> str:
        logs = reader_of(cluster.kubeconfig).log(name, "tools", namespace=namespace)
        return logs if len(read_attempts(logs)) == 3 else ""

    logs = wait_for(read, f"{name} is done")
    said = [line.split(maxsplit=3) for line in logs.splitlines() if line.startswith("attack ")]
    return max(float(json.loads(text)["lastMs"]) for _, _, protocol, text in said if protocol != "icmp")


def _render(name: str, *, outside: str, agent_image: str) -> dict[str, Any]:
    fence = {
        "name": "fence",
        "image": agent_image,
        "args": ["fence"],
        "securityContext": FENCE_RIGHTS,
        "volumeMounts": [{"name": "agent", "mountPath": "/etc/sekisho"}],
    }
    tools = {
        "name": "tools",
        "image": TOOLS_IMAGE,
        "command": ["sh", "-c", SCRIPT],
        "env": [{"name": "OUTSIDE", "value": outside}, {"name": "SECONDS", "value": str(SECONDS)}],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"racer": name.rpartition("-")[0]}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "volumes": [{"name": "agent", "configMap": {"name": "agent"}}],
            "initContainers": [fence] if agent_image else [],
            "containers": [tools],
        },
    }
