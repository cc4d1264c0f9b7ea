"""What a test cluster can do, whatever makes it."""

import subprocess
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, Self

from e2e.cluster.audit import AuditLevel, AuditLog
from e2e.cluster.counters import PacketCounter
from e2e.cluster.netns import Place

ProviderName = Literal["kind", "local"]


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """A real node: its labels may be ones that a kubelet cannot give itself."""

    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Options:
    """What a cluster is made of.

    Attributes:
        name: Lower-case letters, digits, hyphens; several clusters run at once under different names.
        nodes: The real nodes, called n1, n2, ... by the local provider; ignored with `control_plane_only`.
        control_plane_only: An API without nodes: ready in seconds, needs no container runtime.
        kwok: Whether the simulator of nodes starts with the cluster; else it starts with the first simulated node.
        audit_level: Which requests the audit log records.
        api_port: Port of 127.0.0.1 for the API; None takes a free one of a fixed set.
        api_server_flags: More flags for the API server.
        keep: Whether the cluster outlives the process that starts it.
        images: OCI archives that the nodes have from the beginning; others come by :meth:`Cluster.load_image`.
    """

    name: str
    nodes: tuple[NodeSpec, ...] = (NodeSpec(), NodeSpec())
    control_plane_only: bool = False
    kwok: bool = False
    audit_level: AuditLevel = "writes"
    api_port: int | None = None
    api_server_flags: tuple[str, ...] = ()
    keep: bool = False
    images: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Node:
    """A real node that runs."""

    name: str
    address: str


class Internet(Protocol):
    """A host outside the cluster that answers TCP 80, UDP 9999 and ICMP, and counts every packet that reaches it."""

    @property
    def address(self) -> str:
        """Where it is."""
        ...

    @property
    def metadata_address(self) -> str:
        """The address that clouds give their metadata."""
        ...

    def counts(self) -> Mapping[tuple[str, str], int]:
        """Return packets by (source address, protocol); protocols are tcp, udp, icmp or a number."""
        ...

    def reset(self) -> None:
        """Count from zero."""
        ...


class Cluster(Protocol):
    """A Kubernetes cluster. As a context manager it starts on entry and stops on exit."""

    name: str
    kubeconfig: Path

    def start(self) -> None:
        """Bring the cluster up, removing first what a crashed run of the same name left."""
        ...

    def stop(self) -> None:
        """Remove the cluster and everything it brought."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    @property
    def nodes(self) -> Sequence[Node]:
        """The real nodes."""
        ...

    @property
    def audit(self) -> AuditLog:
        """What the API server was asked."""
        ...

    @property
    def internet(self) -> Internet:
        """What lies outside."""
        ...

    def is_running(self) -> bool:
        """Whether the cluster is up and its API answers."""
        ...

    def tool_command(self, tool: str, *arguments: str) -> tuple[str, ...]:
        """Return the command line of `kubectl` or `helm` for this cluster."""
        ...

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """Run kubectl as administrator and return its standard output."""
        ...

    def helm(self, *arguments: str) -> str:
        """Run helm as administrator and return its standard output."""
        ...

    def load_image(self, archive: Path, *, name: str | None = None, nodes: Collection[str] | None = None) -> str:
        """Put an OCI archive on nodes and return its reference by digest.

        Args:
            archive: An OCI image layout in a tar file.
            name: `repository:tag`; None takes the one the archive carries.
            nodes: The names of the nodes that get it; None are all.
        """
        ...

    def add_simulated_nodes(
        self,
        count: int,
        *,
        labels: Mapping[str, str] | None = None,
        allocatable: Mapping[str, str] | None = None,
        name_prefix: str = "sim",
    ) -> list[str]:
        """Add simulated nodes and return their names once Ready."""
        ...

    def place(self, where: str) -> Place:
        """Return a place to run commands in: the name of a node, `control-plane` or `internet`."""
        ...

    def pod_place(self, namespace: str, pod: str) -> Place:
        """Return the network of a running pod."""
        ...

    def count_packets(self, where: str) -> PacketCounter:
        """Return a context manager that counts the packets that arrive.

        Args:
            where: `api-server`, `dns`, `internet`, `metadata`, the name of a node, or `NAMESPACE/POD`.
        """
        ...


def docker_answers() -> bool:
    try:
        done = subprocess.run(["docker", "info"], capture_output=True, timeout=20, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
