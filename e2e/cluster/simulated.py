"""Simulated nodes: thousands of them, with any labels, whose pods become Running by kwok and run nothing."""

import base64
import http.client
import json
import ssl
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from e2e.cluster.control_plane import ControlPlane
from e2e.cluster.errors import ClusterError
from e2e.cluster.processes import poll

ANNOTATION = "kwok.x-k8s.io/node"
LABEL = {"type": "kwok"}
TAINT = {"key": ANNOTATION, "value": "fake", "effect": "NoSchedule"}
"""Keeps real pods off; a pod that is to be simulated tolerates it."""
STAGES = ("kustomize/stage/node/fast", "kustomize/stage/node/heartbeat-with-lease", "kustomize/stage/pod/fast")
DEFAULT_ALLOCATABLE = {"cpu": "64", "memory": "512Gi", "pods": "110"}
CONNECTIONS = 8


def stages_of_module(module: Path) -> str:
    """Return what kwok ships as rules for the life of nodes and pods; it brings none by itself."""
    files = (
        file
        for stage in STAGES
        for file in sorted((module / stage).glob("*.yaml"))
        if file.name != "kustomization.yaml"
    )
    return "\n---\n".join(file.read_text() for file in files)


def kwok_command(binaries: Path, kubeconfig: Path, *, cidr: str, address: str) -> list[str]:
    return [
        str(binaries / "kwok"),
        f"--kubeconfig={kubeconfig}",
        f"--config={binaries}/kwok-stages.yaml",
        "--manage-all-nodes=false",
        f"--manage-nodes-with-annotation-selector={ANNOTATION}=fake",
        "--node-lease-duration-seconds=40",
        f"--cidr={cidr}",
        f"--node-ip={address}",
    ]


def start_kwok(control_plane: ControlPlane) -> None:
    """Start kwok beside the API server where it does not run yet; it touches only nodes with its annotation."""
    if (control_plane.directory / "pid" / "kwok").exists():
        return
    kubeconfig, addressing = control_plane.pki / "admin.kubeconfig", control_plane.addressing
    cidr, address = addressing.simulated_pods_cidr, addressing.control_plane
    command = kwok_command(control_plane.binaries, kubeconfig, cidr=cidr, address=address)
    control_plane.spawn_inside("kwok", command)


def render_node(name: str, labels: Mapping[str, str], allocatable: Mapping[str, str]) -> dict[str, Any]:
    """Return a simulated Node with room for what `allocatable` says."""
    system = {"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64", "kubernetes.io/hostname": name}
    room = {**DEFAULT_ALLOCATABLE, **allocatable}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "annotations": {ANNOTATION: "fake"}, "labels": {**system, **LABEL, **labels}},
        "spec": {"taints": [TAINT]},
        "status": {"allocatable": room, "capacity": room, "phase": "Running"},
    }


def render_nodes(
    count: int, labels: Mapping[str, str], allocatable: Mapping[str, str], name_prefix: str
) -> list[dict[str, Any]]:
    """Return nodes called PREFIX-0, PREFIX-1, ..."""
    return [render_node(f"{name_prefix}-{index}", labels, allocatable) for index in range(count)]


def add_nodes(kubeconfig: Path, nodes: Iterable[Mapping[str, Any]], *, wait_seconds: float = 120) -> list[str]:
    """Create the nodes over a few connections and wait until all are Ready; return their names."""
    wanted = list(nodes)
    names = [node["metadata"]["name"] for node in wanted]
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for _ in pool.map(
            lambda part: _create_nodes(kubeconfig, part), [wanted[i::CONNECTIONS] for i in range(CONNECTIONS)]
        ):
            pass
    client = _Client(kubeconfig)
    try:
        if not poll(lambda: client.ready_nodes() >= set(names), seconds=wait_seconds, interval=0.5):
            missing = len(set(names) - client.ready_nodes())
            raise ClusterError(
                f"{missing} of {len(names)} simulated nodes are not Ready after {wait_seconds:.0f} s",
                remedy="read log/kwok.log in the cluster's directory",
            )
    finally:
        client.close()
    return names


def _create_nodes(kubeconfig: Path, nodes: Sequence[Mapping[str, Any]]) -> None:
    client = _Client(kubeconfig)
    try:
        for node in nodes:
            client.request("POST", "/api/v1/nodes", node)
    finally:
        client.close()


class _Client:
    """A connection to the API: kubectl takes minutes for a thousand objects."""

    def __init__(self, kubeconfig: Path) -> None:
        config = json.loads(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        context = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        with tempfile.NamedTemporaryFile() as pair:
            for part in ("client-certificate-data", "client-key-data"):
                pair.write(base64.b64decode(user[part]) + b"\n")
            pair.flush()
            context.load_cert_chain(pair.name)
        host, _, port = cluster["server"].removeprefix("https://").partition(":")
        self._connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=60)

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        content = None if body is None else json.dumps(body)
        self._connection.request(method, path, content, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        answer: dict[str, Any] = json.loads(response.read())
        if response.status >= 300:
            raise ClusterError(f"{method} {path}: {answer.get('message')}", remedy="read the message above")
        return answer

    def ready_nodes(self) -> set[str]:
        nodes = self.request("GET", "/api/v1/nodes?labelSelector=type%3Dkwok")["items"]
        return {node["metadata"]["name"] for node in nodes if _is_ready(node)}

    def close(self) -> None:
        self._connection.close()


def _is_ready(node: Mapping[str, Any]) -> bool:
    conditions = node.get("status", {}).get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
