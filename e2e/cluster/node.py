"""A real node of a local cluster: network, mount and process namespaces of its own."""

import json
import shutil
import signal
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from e2e.cluster import cgroups, pki
from e2e.cluster.addressing import MAX_NODES, REGISTRY_PORT, Addressing
from e2e.cluster.control_plane import BRIDGE
from e2e.cluster.errors import ClusterError
from e2e.cluster.netns import NetworkNamespace, run
from e2e.cluster.node_config import (
    BINDS,
    LOST_WITH_POWER,
    NodePaths,
    render_cni,
    render_containerd,
    render_init,
    render_kube_proxy,
    render_kubelet,
    render_node_addresses,
    render_node_object,
    render_registry_hosts,
)
from e2e.cluster.oci import ArchiveReference
from e2e.cluster.paths import SOURCES
from e2e.cluster.patience import PATIENCE_SECONDS, TIMEOUT
from e2e.cluster.processes import ProcessId, end, poll, spawn, tail
from e2e.cluster.progress import Report
from e2e.cluster.stock import import_commands, is_stocked

CTR = ("ctr", "--namespace", "k8s.io")


class Kubectl(Protocol):
    """Runs kubectl as administrator."""

    def __call__(self, *arguments: str, stdin: str | None = None) -> str: ...


class LocalNode:
    """One node, from what is written down about its cluster."""

    def __init__(self, cluster: Path, binaries: Path, addressing: Addressing, index: int) -> None:
        self.paths = NodePaths(cluster, index)
        self.binaries = binaries
        self.addressing = addressing
        self.index = index
        self.name = self.paths.name
        self.directory = self.paths.directory
        self.address = addressing.node_address(index)
        self.netns = NetworkNamespace(addressing.node_netns(index))

    def start(self, labels: Mapping[str, str], kubectl: Kubectl) -> None:
        """Start the node; it is not Ready yet when this returns (see :meth:`wait_ready`)."""
        self._make_directories()
        self._make_network()
        pki.create_node_pki(self.paths.pki, self.addressing, self.index)
        self._write_configuration(cgroups.create(self._cgroup))
        node = render_node_object(self.name, self.addressing, self.index, dict(labels))
        kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(node))
        patch = json.dumps(render_node_addresses(self.name, self.addressing, self.index))
        kubectl("patch", "node", self.name, "--subresource=status", "-p", patch)
        self._spawn_init()
        self._await("containerd", lambda: "Server:" in self.run(*CTR, "version", check=False))

    def wait_ready(self, kubectl: Kubectl) -> None:
        try:
            kubectl("wait", "--for=condition=Ready", f"node/{self.name}", TIMEOUT)
        except ClusterError as error:
            raise self._failure("kubelet", f"node {self.name} is not Ready: {error.problem}") from None

    def stop(self) -> None:
        """End the node as a power cut would: its process 1 takes every container and mount along."""
        if (identity := ProcessId.read(self.directory / "pid" / "init")) is not None and identity.is_alive():
            end(self.directory / "pid" / "init", first=signal.SIGKILL)
        end(self.directory / "pid" / "node", first=signal.SIGKILL)
        self.netns.destroy()
        cgroups.remove(self._cgroup)

    def run(self, *command: str, stdin: str | None = None, check: bool = True) -> str:
        """Run a command on the node, with its network, mounts and processes."""
        return run((*self.prefix, *command), stdin=stdin, check=check)

    @property
    def prefix(self) -> tuple[str, ...]:
        identity = ProcessId.read(self.directory / "pid" / "init")
        if identity is None or not identity.is_alive():
            raise ClusterError(f"node {self.name} does not run", remedy=f"read {self.directory}/log")
        return ("nsenter", f"--target={identity.pid}", "--net", "--mount", "--pid")

    def load_image(self, archive: Path, reference: ArchiveReference, name: str) -> None:
        """Import an archive under its tag and under its digest, so that pods may name either."""
        by_digest = reference.by_digest(name)
        if not is_stocked(self.images, name, by_digest):
            for command in import_commands(archive, name, by_digest):
                self.run(*command)

    def pod_network(self, pod_address: str) -> "PodNetwork":
        """Return the network of the pod that has an address on this node."""
        lease = self.directory / BINDS["/var/lib/cni"] / "networks" / "test" / pod_address
        if not lease.exists():
            raise ClusterError(f"no pod on node {self.name} has address {pod_address}", remedy="wait for the pod")
        sandbox = lease.read_text().split()[0]
        spec = json.loads(self.run(*CTR, "containers", "info", sandbox))["Spec"]
        paths = [space["path"] for space in spec["linux"]["namespaces"] if space["type"] == "network"]
        return PodNetwork(self, paths[0], pod_address)

    @property
    def images(self) -> Path:
        """The root of its containerd."""
        return self.directory / BINDS["/var/lib/containerd"]

    @property
    def _cgroup(self) -> str:
        return self.netns.name

    def _make_directories(self) -> None:
        for target in LOST_WITH_POWER:  # what lies in memory on a real machine; a stale socket would look like a server
            shutil.rmtree(self.directory / BINDS[target], ignore_errors=True)
        certs = self.paths.certs_d / f"{self.addressing.control_plane}:{REGISTRY_PORT}"
        folders = (*BINDS.values(), "log", "pid", "cgroups")
        for folder in (*(self.directory / name for name in folders), certs):
            folder.mkdir(parents=True, exist_ok=True)
        (certs / "hosts.toml").write_text(render_registry_hosts(self.addressing))

    def _make_network(self) -> None:
        self.netns.create()
        lan, own = NetworkNamespace(self.addressing.control_plane_netns), self.netns
        lan.run("ip", "link", "add", f"to-{self.name}", "type", "veth", "peer", "name", "eth0", "netns", own.name)
        lan.run("ip", "link", "set", f"to-{self.name}", "master", BRIDGE, "up")
        own.run("ip", "addr", "add", f"{self.address}/24", "dev", "eth0")
        own.run("ip", "link", "set", "eth0", "up")
        own.run("ip", "route", "add", "default", "via", self.addressing.gateway)
        own.sysctl({"net/ipv4/ip_forward": 1, "net/bridge/bridge-nf-call-iptables": 1})
        # the API server must reach pods too: webhooks and aggregated APIs
        lan.run("ip", "route", "replace", self.addressing.node_pods_cidr(self.index), "via", self.address)
        for other in range(1, MAX_NODES + 1):
            if other != self.index:
                route = (self.addressing.node_pods_cidr(other), "via", self.addressing.node_address(other))
                own.run("ip", "route", "replace", *route)

    def _write_configuration(self, cgroup_root: str) -> None:
        files = {
            "containerd.toml": render_containerd(self.paths),
            f"{BINDS['/etc/cni/net.d']}/10-test.conflist": render_cni(self.addressing, self.index),
            "resolv.conf": f"nameserver {self.addressing.dns_service}\n",
            "kubelet.json": render_kubelet(self.paths, self.addressing, cgroup_root),
            "kube-proxy.json": render_kube_proxy(self.paths, self.addressing),
            "init.json": render_init(self.paths, self.addressing, self.binaries),
        }
        for name, content in files.items():
            (self.directory / name).write_text(content)

    def _spawn_init(self) -> None:
        unshare = ("unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child", "--mount-proc")
        script = (sys.executable, "-I", str(SOURCES / "node_init.py"), str(self.directory / "init.json"))
        outer = spawn(
            (*self.netns.prefix, *unshare, *script),
            log=self.directory / "log" / "init.log",
            pid_file=self.directory / "pid" / "node",
        )
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
        self._await("init", lambda: children.exists() and bool(children.read_text().split()))
        init = ProcessId.of(int(children.read_text().split()[0]))
        if init is None:
            raise self._failure("init", f"process 1 of node {self.name} ended at once")
        init.write(self.directory / "pid" / "init")

    def _await(self, what: str, condition: Callable[[], bool]) -> None:
        if not poll(condition, seconds=PATIENCE_SECONDS, interval=0.05):
            raise self._failure(what, f"{what} of node {self.name} was not ready within {PATIENCE_SECONDS} s")

    def _failure(self, process: str, problem: str) -> ClusterError:
        log = self.directory / "log" / f"{process}.log"
        return ClusterError(f"{problem}; its last words:\n{tail(log)}", remedy=f"read {log}")


class PodNetwork:
    """The network namespace of a running pod, entered from its node."""

    def __init__(self, node: LocalNode, path: str, address: str) -> None:
        self.node = node
        self.path = path
        self.address = address

    def run(self, *command: str, stdin: str | None = None, check: bool = True) -> str:
        return self.node.run("nsenter", f"--net={self.path}", *command, stdin=stdin, check=check)


def start_nodes(nodes: Mapping[LocalNode, Mapping[str, str]], kubectl: Kubectl, report: Report) -> None:
    """Start nodes side by side and return when all are Ready."""

    def start(node: LocalNode) -> None:
        node.start(nodes[node], kubectl)
        report(f"node {node.name} started")
        node.wait_ready(kubectl)

    with ThreadPoolExecutor(max(1, len(nodes))) as pool:
        for _ in pool.map(start, nodes):
            pass
    report(f"{len(nodes)} nodes Ready")
