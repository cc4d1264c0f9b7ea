"""The `local` provider: a cluster in namespaces of this machine, without a Docker engine."""

import os
import shutil
import uuid
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Self

from e2e.cluster import host, netns, oci, shared_host, simulated, state
from e2e.cluster.addressing import MAX_NODES, Addressing
from e2e.cluster.audit import AuditLog
from e2e.cluster.build import ensure_binaries
from e2e.cluster.control_plane import ControlPlane, ControlPlaneOptions
from e2e.cluster.counters import PacketCounter
from e2e.cluster.errors import ClusterError
from e2e.cluster.images import ensure_images
from e2e.cluster.internet import LocalInternet
from e2e.cluster.netns import NetworkNamespace, Place
from e2e.cluster.node import LocalNode, PodNetwork, start_nodes
from e2e.cluster.paths import MANIFESTS, make_run_dir, run_dir
from e2e.cluster.patience import TIMEOUT
from e2e.cluster.progress import Report, silent
from e2e.cluster.provider import Node, Options
from e2e.cluster.reading import reader_of
from e2e.cluster.stock import lay_stock


class LocalCluster:
    """See :class:`e2e.cluster.provider.Cluster`.

    Args:
        definitions: A folder of manifests of kinds that the API serves before its controllers start: the garbage
            collector learns of kinds that come later only every 30 seconds.
    """

    def __init__(self, options: Options, *, report: Report = silent, definitions: Path | None = None) -> None:
        state.require_valid_name(options.name)
        if len(options.nodes) > MAX_NODES:
            raise ClusterError(f"{len(options.nodes)} nodes wanted, {MAX_NODES} possible", remedy="ask for fewer")
        self.options = options
        self.name = options.name
        self.directory = run_dir() / options.name
        self.kubeconfig = self.directory / "kubeconfig"
        self.audit = AuditLog(self.directory / "audit.jsonl")
        self.report = report
        self._definitions = definitions

    @property
    def record(self) -> state.Record:
        """What is written down about the running cluster."""
        record = state.Record.read(self.name)
        if record is None:
            raise ClusterError(
                f"cluster {self.name} does not run", remedy=f"python -m e2e.cluster up --name {self.name}"
            )
        return record

    @property
    def addressing(self) -> Addressing:
        return self.record.addressing

    @property
    def binaries(self) -> Path:
        return Path(self.record.binaries)

    @property
    def control_plane(self) -> ControlPlane:
        record = self.record
        options = ControlPlaneOptions(record.api_port, record.audit_level, record.api_server_flags)
        return ControlPlane(self.directory, self.binaries, record.addressing, options)

    def is_running(self) -> bool:
        """Whether the cluster is up and its API answers."""
        if state.Record.read(self.name) is None:
            return False
        try:
            return self.kubectl("--request-timeout=3s", "get", "--raw", "/readyz") == "ok"
        except ClusterError:
            return False

    def start(self) -> None:
        if self.options.control_plane_only:
            host.check_control_plane(self.report)
        else:
            host.check_nodes(self.report, make_run_dir)
        binaries = ensure_binaries(self.report)
        self._claim(binaries)
        try:
            self.control_plane.start(self.report, definitions=self._definitions)
            if self.options.kwok:
                simulated.start_kwok(self.control_plane)
            if not self.options.control_plane_only:
                self._start_nodes()
        except BaseException:
            if "SEKISHO_KEEP_CLUSTER" in os.environ:
                self._hand_over()
            else:
                self._stop_own()
            raise
        self._hand_over()

    def _hand_over(self) -> None:
        """Let a cluster that is to stay be nobody's; until now it was ours, and an orphan had we been killed."""
        if not self.options.keep:
            return
        with state.lock():
            record = state.Record.read(self.name)
            if record is not None and record.owner == state.current_owner():
                replace(record, owner=None).write()

    def _stop_own(self) -> None:
        """Remove what we began; another process may have removed it, and have one of the same name by now."""
        with state.lock():
            record = state.Record.read(self.name)
            if record is not None and record.owner == state.current_owner():
                remove(record)

    def stop(self) -> None:
        with state.lock():
            record = state.Record.read(self.name)
            if record is not None:
                remove(record)
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def tool_command(self, tool: str, *arguments: str) -> tuple[str, ...]:
        """Return the command line of `kubectl` or `helm`, bound to this cluster, that leaves nothing in the home."""
        program = str(self.binaries / tool)
        if tool == "kubectl":
            flags = (f"--kubeconfig={self.kubeconfig}", f"--cache-dir={self.directory}/kube-cache")
            return (program, *flags, *arguments)
        homes = (f"HELM_{kind}_HOME={self.directory}/helm/{kind.lower()}" for kind in ("CACHE", "CONFIG", "DATA"))
        return ("env", *homes, f"KUBECONFIG={self.kubeconfig}", program, *arguments)

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        return netns.run(self.tool_command("kubectl", *arguments), stdin=stdin, check=check, environment=netns.BRIEF_GO)

    def helm(self, *arguments: str) -> str:
        return netns.run(self.tool_command("helm", *arguments), environment=netns.BRIEF_GO)

    @property
    def nodes(self) -> list[Node]:
        return [Node(node.name, node.address) for node in self.local_nodes]

    @property
    def local_nodes(self) -> list[LocalNode]:
        """The nodes, with what only this provider can do to them."""
        return local_nodes(self.record)

    @property
    def internet(self) -> LocalInternet:
        return LocalInternet(self.directory, self.binaries, self.addressing)

    def node(self, name: str) -> LocalNode:
        for node in self.local_nodes:
            if node.name == name:
                return node
        raise ClusterError(f"cluster {self.name} has no node {name}", remedy="ask for more with --nodes")

    def stop_node(self, name: str) -> None:
        """End a node as a power cut would; its Node object, images and volumes stay."""
        self.node(name).stop()

    def start_node(self, name: str) -> None:
        """Start a node again after :meth:`stop_node`, and wait until it is Ready."""
        node = self.node(name)
        node.start(dict(self.record.nodes)[name], self.kubectl)
        node.wait_ready(self.kubectl)

    def place(self, where: str) -> Place:
        if where == "control-plane":
            return NetworkNamespace(self.addressing.control_plane_netns)
        if where == "internet":
            return NetworkNamespace(self.addressing.internet_netns)
        return self.node(where)

    def pod_place(self, namespace: str, pod: str) -> PodNetwork:
        found = reader_of(self.kubeconfig).need("pod", pod, namespace=namespace)
        return self.node(found["spec"]["nodeName"]).pod_network(found["status"]["podIP"])

    def count_packets(self, where: str) -> PacketCounter:
        """Return a counter of the packets that arrive at a place; use it as a context manager.

        Args:
            where: `api-server`, `dns`, `internet`, `metadata`, the name of a node, or `NAMESPACE/POD`.
        """
        addressing = self.addressing
        fixed = {
            "api-server": ("control-plane", addressing.control_plane),
            "internet": ("internet", LocalInternet.address),
            "metadata": ("internet", LocalInternet.metadata_address),
        }
        name = f"test_{uuid.uuid4().hex[:8]}"
        if where == "dns":
            servers = self.kubectl("-n", "kube-system", "get", "pod", "-l", "k8s-app=kube-dns", "-o", "name")
            return self.count_packets(f"kube-system/{servers.split()[0].removeprefix('pod/')}")
        if where in fixed:
            place, address = fixed[where]
            return PacketCounter(self.place(place), [address], name=name)
        if "/" in where:
            pod = self.pod_place(*where.split("/"))
            return PacketCounter(pod, [pod.address], name=name)
        node = self.node(where)
        return PacketCounter(node, [node.address], name=name, hook="input")

    def add_simulated_nodes(
        self,
        count: int,
        *,
        labels: Mapping[str, str] | None = None,
        allocatable: Mapping[str, str] | None = None,
        name_prefix: str = "sim",
    ) -> list[str]:
        """Add simulated nodes called PREFIX-0, PREFIX-1, ... and return their names once all are Ready.

        Pods on them must tolerate :data:`e2e.cluster.simulated.TAINT`.
        """
        simulated.start_kwok(self.control_plane)
        nodes = simulated.render_nodes(count, labels or {}, allocatable or {}, name_prefix)
        return simulated.add_nodes(self.kubeconfig, nodes)

    def load_image(self, archive: Path, *, name: str | None = None, nodes: Collection[str] | None = None) -> str:
        reference = oci.read_reference(archive)
        name = name or reference.name
        if name is None:
            raise ClusterError(f"{archive} does not say what its image is called", remedy="give it a name")
        for node in self.local_nodes:
            if nodes is None or node.name in nodes:
                node.load_image(archive, reference, name)
        return reference.by_digest(name)

    def _start_nodes(self) -> None:
        with state.lock():
            shared_host.acquire(self.name, {record.name for record in state.records()})
        record = self.record
        base = (MANIFESTS / "base.yaml").read_text().replace("DNS_SERVICE_ADDRESS", record.addressing.dns_service)
        self.kubectl("apply", "--server-side", "-f", "-", stdin=base)
        self.internet.start()
        labels = [labels for _, labels in record.nodes]
        nodes = dict(zip(self.local_nodes, labels, strict=True))
        archives = (*ensure_images(self.binaries), *self.options.images)
        lay_stock(archives, [node.images for node in nodes], self.report)
        start_nodes(nodes, self.kubectl, self.report)
        available = ("wait", "--for=condition=Available", "deployment/coredns", TIMEOUT)
        self.kubectl("--namespace=kube-system", *available)
        self.report("DNS ready")

    def _claim(self, binaries: Path) -> None:
        """Write the cluster down, after removing what a crashed one of its name and orphans of others left."""
        with state.lock():
            self._require_free_name()
            for record in state.records():
                if record.name == self.name or record.is_orphan():
                    remove(record)
            number, port = state.allocate(self.options.api_port)
            nodes = () if self.options.control_plane_only else self.options.nodes
            state.Record(
                name=self.name,
                number=number,
                api_port=port,
                binaries=str(binaries),
                control_plane_only=self.options.control_plane_only,
                nodes=tuple((f"n{index}", dict(node.labels)) for index, node in enumerate(nodes, start=1)),
                owner=state.current_owner(),
                audit_level=self.options.audit_level,
                api_server_flags=self.options.api_server_flags,
            ).write()

    def _require_free_name(self) -> None:
        """Refuse to replace a cluster that somebody else uses; one that a crash left, or our own, may be replaced."""
        record = state.Record.read(self.name)
        if record is None or record.is_orphan() or record.owner == state.current_owner():
            return
        if record.owner is None and not self.is_running():
            return
        user = "and is to stay" if record.owner is None else f"for process {record.owner.pid}"
        raise ClusterError(
            f"a cluster called {self.name} runs already {user}",
            remedy=f"choose another --name, or remove it: python -m e2e.cluster down --name {self.name}",
        )


def remove(record: state.Record) -> None:
    """Remove a cluster from what is written down about it. Call it under the lock; it may be half there."""
    for node in local_nodes(record):
        node.stop()
    options = ControlPlaneOptions(record.api_port)
    ControlPlane(record.directory, Path(record.binaries), record.addressing, options).stop()
    for namespace in netns.existing(record.addressing.netns_prefix):
        namespace.destroy()
    if record.nodes:
        shared_host.release(record.name, {other.name for other in state.records()})
    shutil.rmtree(record.directory, ignore_errors=True)


def local_nodes(record: state.Record) -> list[LocalNode]:
    """Return the nodes of what is written down about a cluster, running or not."""
    binaries, addressing = Path(record.binaries), record.addressing
    return [LocalNode(record.directory, binaries, addressing, index) for index in range(1, len(record.nodes) + 1)]
