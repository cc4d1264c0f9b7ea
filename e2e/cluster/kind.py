"""The `kind` provider: a cluster in containers of a Docker engine, with kind's own network and its policies."""

import json
import os
import platform
import subprocess
import uuid
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from e2e.cluster import host, images, oci, simulated, state
from e2e.cluster.addressing import METADATA_ADDRESS
from e2e.cluster.audit import AuditLog, render_policy
from e2e.cluster.build import ensure_binaries
from e2e.cluster.counters import PacketCounter
from e2e.cluster.errors import ClusterError
from e2e.cluster.internet import UDP_ECHO_PORT
from e2e.cluster.netns import run
from e2e.cluster.paths import cache_dir, run_dir
from e2e.cluster.processes import end, spawn
from e2e.cluster.progress import Report, silent
from e2e.cluster.provider import Node, Options

KIND_MODULE = "sigs.k8s.io/kind"
KIND_VERSION = "v0.32.0"
"""Since v0.24 kind's network enforces NetworkPolicies."""
NODE_IMAGE = "kindest/node:v1.36.1@sha256:3489c7674813ba5d8b1a9977baea8a6e553784dab7b84759d1014dbd78f7ebd5"
"""What this version of kind makes its nodes of by itself."""
NODE_IMAGE_SETTING = "SEKISHO_KIND_IMAGE"
DOCKER_NETWORK = "kind"
PREFIX = "sekisho-"
"""Before the names of everything in the engine, where other clusters live too: `demo` may be somebody's own."""
CLUSTER_LABEL = "sekisho.dev/test-cluster"
PACKAGES = {str(images.BUSYBOX): "busybox-static"}
POLICY_DIRECTORY = "/etc/kubernetes/audit"
LOG_DIRECTORY = "/var/log/kubernetes"
CTR = ("ctr", "--namespace", "k8s.io")


def render_config(options: Options, directory: Path) -> dict[str, Any]:
    """Return kind's configuration: one control plane, a worker for each node, the audit log on this machine.

    Labels are not given here: a kubelet refuses to start with those that it may not give itself.
    """
    volumes = [
        {"name": "audit-policy", "hostPath": POLICY_DIRECTORY, "mountPath": POLICY_DIRECTORY, "readOnly": True},
        {"name": "audit-log", "hostPath": LOG_DIRECTORY, "mountPath": LOG_DIRECTORY, "readOnly": False},
    ]
    arguments = {
        "audit-policy-file": f"{POLICY_DIRECTORY}/audit-policy.json",
        "audit-log-path": f"{LOG_DIRECTORY}/audit.jsonl",
        "audit-log-mode": "blocking",
        "audit-log-maxsize": "100000",
    }
    if options.audit_level == "off":
        volumes, arguments = [], {}
    arguments |= dict(flag.removeprefix("--").split("=", 1) for flag in options.api_server_flags)
    patch = {"kind": "ClusterConfiguration", "apiServer": {"extraArgs": arguments, "extraVolumes": volumes}}
    mounts = [
        {"hostPath": f"{directory}/policy", "containerPath": POLICY_DIRECTORY, "readOnly": True},
        {"hostPath": f"{directory}/audit", "containerPath": LOG_DIRECTORY},
    ]
    control_plane = {"role": "control-plane", "kubeadmConfigPatches": [json.dumps(patch)], "extraMounts": mounts}
    config: dict[str, Any] = {
        "kind": "Cluster",
        "apiVersion": "kind.x-k8s.io/v1alpha4",
        "networking": {"apiServerAddress": "127.0.0.1"},
        "nodes": [control_plane, *({"role": "worker"} for _ in options.nodes)],
    }
    if options.api_port is not None:
        config["networking"]["apiServerPort"] = options.api_port
    return config


def create_command(kind: Path, name: str, directory: Path, image: str) -> list[str]:
    flags = ["--name", name, "--config", f"{directory}/kind.json", "--kubeconfig", f"{directory}/kubeconfig"]
    return [str(kind), "create", "cluster", *flags, "--image", image, "--wait", "180s"]


def delete_command(kind: Path, name: str, directory: Path) -> list[str]:
    return [str(kind), "delete", "cluster", "--name", name, "--kubeconfig", f"{directory}/kubeconfig"]


def host_command(
    cluster: str, role: str, image: str, program: Path, arguments: Sequence[str], *flags: str
) -> list[str]:
    """Return what starts a host beside the nodes: of the nodes' own image, since no other needs to be pulled for it."""
    place = ["--network", DOCKER_NETWORK, "--label", f"{CLUSTER_LABEL}={cluster}", *flags]
    run_program = ["--volume", f"{program.parent}:/opt/test:ro", "--entrypoint", f"/opt/test/{program.name}"]
    return ["docker", "run", "--detach", "--name", f"{cluster}-{role}", *place, *run_program, image, *arguments]


def internet_command(cluster: str, image: str, binaries: Path) -> list[str]:
    """Return what starts the host outside."""
    serve = ["serve", "-text", "internet", "-http", ":80", "-udp-echo", f":{UDP_ECHO_PORT}"]
    return host_command(cluster, "internet", image, binaries / "probe", serve, "--cap-add", "NET_ADMIN")


def unmasked_command(address: str) -> list[str]:
    """Return what keeps the pods' own addresses in a node's packets to an address: kind would show the node's."""
    return ["iptables", "-t", "nat", "-I", "POSTROUTING", "-d", f"{address}/32", "-j", "ACCEPT"]


def import_commands(node: str, name: str, reference: oci.ArchiveReference) -> tuple[list[str], list[str]]:
    """Return what imports an archive from standard input, and what then gives it its tag.

    The import is the client's own: that of containerd 2's transfer service makes no image by digest of a named one.
    """
    enter = ["docker", "exec", "--interactive", node, *CTR, "images"]
    load = [*enter, "import", "--local", "--all-platforms", "--digests", "--base-name", oci.split_name(name)[0], "-"]
    return load, [*enter, "tag", "--force", reference.by_digest(name), name]


def ensure_kind(report: Report) -> Path:
    """Return the kind program, building it first where it is missing."""
    directory = cache_dir() / f"kind-{KIND_VERSION}"
    if not (directory / "kind").exists():
        host.require_go()
        report(f"building kind {KIND_VERSION} (about 10 s)")
        environment = os.environ | {"GOBIN": str(directory), "CGO_ENABLED": "0"}
        command = ["go", "install", f"{KIND_MODULE}@{KIND_VERSION}"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise ClusterError(
                f"building kind failed: {done.stderr[-2000:]}", remedy="is the Go module proxy reachable?"
            )
    return directory / "kind"


def ensure_node_image(report: Report) -> str:
    """Return the image of the nodes, pulling it where the engine lacks it.

    `$SEKISHO_KIND_IMAGE` names another than kind's own, as a registry inside a closed network has it.

    Raises:
        ClusterError: It is not there and cannot be pulled.
    """
    image = os.environ.get(NODE_IMAGE_SETTING) or NODE_IMAGE
    known = subprocess.run(("docker", "image", "inspect", image), capture_output=True, check=False)
    if known.returncode == 0:
        return image
    report(f"pulling the nodes' image {image} (once)")
    done = subprocess.run(("docker", "pull", "--quiet", image), capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ClusterError(
            f"the nodes' image {image} is not in the Docker engine and cannot be pulled: {done.stderr.strip()}",
            remedy=f"name one that a registry in reach has, {NODE_IMAGE_SETTING}=HOST/NAME@DIGEST; or bring it in with "
            f"`docker load` and name it as it is then called, {NODE_IMAGE_SETTING}=NAME:TAG",
        )
    return image


class Container:
    """A place inside a container of the Docker engine, optionally in a network namespace by path."""

    def __init__(self, name: str, *, network: str = "") -> None:
        self.name = name
        self.network = network

    def run(self, *command: str, stdin: str | None = None, check: bool = True) -> str:
        enter = ("nsenter", f"--net={self.network}") if self.network else ()
        return run(("docker", "exec", "--interactive", self.name, *enter, *command), stdin=stdin, check=check)


class KindInternet:
    """See :class:`e2e.cluster.provider.Internet`.

    As with the local provider packets come with the pods' own addresses: nodes do not translate those to this host.
    """

    metadata_address = METADATA_ADDRESS

    def __init__(self, cluster: str) -> None:
        self.cluster = cluster
        self.container = f"{cluster}-internet"
        self.place = Container(self.container)

    @property
    def address(self) -> str:
        return address_of(self.container)

    @property
    def counter(self) -> PacketCounter:
        return PacketCounter(self.place, [self.address], name="internet")

    def start(self, image: str, binaries: Path, nodes: Sequence[Node], pods: Mapping[str, str]) -> None:
        """Start it and show it and the nodes the way to each other.

        Args:
            pods: By the name of a node the range of its pods' addresses.
        """
        run(internet_command(self.cluster, image, binaries))
        self.place.run("ip", "addr", "add", f"{self.metadata_address}/32", "dev", "lo")
        for node in nodes:
            place = Container(node.name)
            place.run("ip", "route", "replace", self.metadata_address, "via", self.address)
            for address in (self.address, self.metadata_address):
                place.run(*unmasked_command(address))
            self.place.run("ip", "route", "replace", pods[node.name], "via", node.address)
        self.counter.install()

    def counts(self) -> dict[tuple[str, str], int]:
        return self.counter.counts()

    def reset(self) -> None:
        self.counter.reset()


class KindCluster:
    """See :class:`e2e.cluster.provider.Cluster`."""

    def __init__(self, options: Options, *, report: Report = silent) -> None:
        state.require_valid_name(options.name)
        self.options = options
        self.name = options.name
        self.cluster = f"{PREFIX}{options.name}"
        """What kind calls it, and what the names of its containers begin with."""
        self.report = report
        self.directory = run_dir() / f"kind-{options.name}"
        self.kubeconfig = self.directory / "kubeconfig"
        self.audit = AuditLog(self.directory / "audit" / "audit.jsonl")
        self.internet = KindInternet(self.cluster)

    def start(self) -> None:
        require_linux()
        host.require_packages(PACKAGES, self.report)
        kind, binaries = ensure_kind(self.report), ensure_binaries(self.report)
        image = ensure_node_image(self.report)
        self.stop()
        try:
            self._create(kind, image)
            self._equip(image, binaries)
        except BaseException:
            if "SEKISHO_KEEP_CLUSTER" not in os.environ:
                self.stop()
            raise
        self.report("cluster ready")

    def _create(self, kind: Path, image: str) -> None:
        for part in ("policy", "audit", "log"):
            (self.directory / part).mkdir(parents=True)
        (self.directory / "policy" / "audit-policy.json").write_text(render_policy(self.options.audit_level))
        (self.directory / "kind.json").write_text(json.dumps(render_config(self.options, self.directory)))
        self.report("kind creates the cluster (1 to 2 minutes)")
        run(create_command(kind, self.cluster, self.directory, image))
        # kind writes YAML; JSON is YAML too, and who reads it here needs no parser of YAML
        self.kubeconfig.write_text(self.kubectl("config", "view", "--raw", "--output", "json"))
        self.kubectl("wait", "nodes", "--all", "--for=condition=Ready", "--timeout=180s")

    def _equip(self, image: str, binaries: Path) -> None:
        for node, spec in zip(self.nodes, self.options.nodes, strict=True):
            for key, value in spec.labels.items():
                self.kubectl("label", "node", node.name, f"{key}={value}")
        # one server of DNS, so that who counts what reaches it counts all
        self.kubectl("--namespace", "kube-system", "scale", "deployment/coredns", "--replicas=1")
        found = json.loads(self.kubectl("get", "nodes", "--output", "json"))["items"]
        pods = {node["metadata"]["name"]: node["spec"]["podCIDR"] for node in found}
        self.internet.start(image, binaries, self.nodes, pods)
        tools = [
            archive for archive in images.ensure_images(binaries) if archive.name == "tools.tar"
        ]  # kind has the rest
        for archive in (*tools, *self.options.images):
            self.load_image(archive)

    def stop(self) -> None:
        end(self.directory / "kwok.pid")
        label = f"label={CLUSTER_LABEL}={self.cluster}"
        if beside := run(("docker", "ps", "--all", "--quiet", "--filter", label)).split():
            run(("docker", "rm", "--force", "--volumes", *beside))
        run(delete_command(ensure_kind(self.report), self.cluster, self.directory))
        run(("rm", "-rf", str(self.directory)))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def is_running(self) -> bool:
        if not self.kubeconfig.exists():
            return False
        try:
            return self.kubectl("--request-timeout=3s", "get", "--raw", "/readyz") == "ok"
        except ClusterError:
            return False

    @property
    def nodes(self) -> list[Node]:
        selector = "!node-role.kubernetes.io/control-plane,type!=kwok"
        found = json.loads(self.kubectl("get", "nodes", "--selector", selector, "--output", "json"))["items"]
        return [Node(node["metadata"]["name"], internal_address(node)) for node in found]

    def tool_command(self, tool: str, *arguments: str) -> tuple[str, ...]:
        program = str(ensure_binaries(silent) / tool)
        homes = (f"HELM_{kind}_HOME={self.directory}/helm/{kind.lower()}" for kind in ("CACHE", "CONFIG", "DATA"))
        caches = (f"KUBECACHEDIR={self.directory}/kube-cache", *homes)
        return ("env", *caches, f"KUBECONFIG={self.kubeconfig}", program, *arguments)

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        return run(self.tool_command("kubectl", *arguments), stdin=stdin, check=check)

    def helm(self, *arguments: str) -> str:
        return run(self.tool_command("helm", *arguments))

    def load_image(self, archive: Path, *, name: str | None = None, nodes: Collection[str] | None = None) -> str:
        reference = oci.read_reference(archive)
        name = name or reference.name
        if name is None:
            raise ClusterError(f"{archive} does not say what its image is called", remedy="give it a name")
        for node in self.nodes:
            if nodes is not None and node.name not in nodes:
                continue
            load, tag = import_commands(node.name, name, reference)
            with archive.open("rb") as content:
                done = subprocess.run(load, stdin=content, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise ClusterError(
                    f"node {node.name} did not take {archive}: {(done.stderr or done.stdout).strip()}",
                    remedy="read the message above; is the engine's disk full?",
                )
            run(tag)
        return reference.by_digest(name)

    def add_simulated_nodes(
        self,
        count: int,
        *,
        labels: Mapping[str, str] | None = None,
        allocatable: Mapping[str, str] | None = None,
        name_prefix: str = "sim",
    ) -> list[str]:
        pid_file = self.directory / "kwok.pid"
        if not pid_file.exists():
            binaries = ensure_binaries(self.report)
            command = simulated.kwok_command(binaries, self.kubeconfig, cidr="10.250.0.0/16", address="127.0.0.1")
            spawn(command, log=self.directory / "log" / "kwok.log", pid_file=pid_file)
        nodes = simulated.render_nodes(count, labels or {}, allocatable or {}, name_prefix)
        return simulated.add_nodes(self.kubeconfig, nodes)

    def place(self, where: str) -> Container:
        if where == "internet":
            return self.internet.place
        return Container(f"{self.cluster}-control-plane" if where == "control-plane" else where)

    def pod_place(self, namespace: str, pod: str) -> Container:
        node = self.kubectl("-n", namespace, "get", "pod", pod, "-o", "jsonpath={.spec.nodeName}")
        selector = ("pods", "--namespace", namespace, "--name", f"^{pod}$", "--state", "ready", "--quiet")
        sandbox = Container(node).run("crictl", *selector).split()[0]
        spec = json.loads(Container(node).run("crictl", "inspectp", sandbox))["info"]["runtimeSpec"]
        paths = [space["path"] for space in spec["linux"]["namespaces"] if space["type"] == "network"]
        return Container(node, network=paths[0])

    def count_packets(self, where: str) -> PacketCounter:
        name = f"test_{uuid.uuid4().hex[:8]}"
        if where == "dns":
            servers = self.kubectl("-n", "kube-system", "get", "pod", "-l", "k8s-app=kube-dns", "-o", "name")
            return self.count_packets(f"kube-system/{servers.split()[0].removeprefix('pod/')}")
        if where == "api-server":
            control_plane = f"{self.cluster}-control-plane"
            return PacketCounter(Container(control_plane), [address_of(control_plane)], name=name)
        if where in ("internet", "metadata"):
            address = self.internet.address if where == "internet" else METADATA_ADDRESS
            return PacketCounter(self.internet.place, [address], name=name)
        if "/" in where:
            namespace, _, pod = where.partition("/")
            address = self.kubectl("-n", namespace, "get", "pod", pod, "-o", "jsonpath={.status.podIP}")
            return PacketCounter(self.pod_place(namespace, pod), [address], name=name)
        return PacketCounter(Container(where), [address_of(where)], name=name, hook="input")


def address_of(container: str) -> str:
    """Return the address of a container in kind's network."""
    template = f'{{{{(index .NetworkSettings.Networks "{DOCKER_NETWORK}").IPAddress}}}}'
    return run(("docker", "inspect", "--format", template, container)).strip()


def internal_address(node: Mapping[str, Any]) -> str:
    addresses: list[dict[str, str]] = node["status"]["addresses"]
    return next(entry["address"] for entry in addresses if entry["type"] == "InternalIP")


def require_linux(system: str = "") -> None:
    """Refuse another system: the programs that run inside the nodes are built for the machine itself."""
    if (system or platform.system()) != "Linux":
        raise ClusterError(
            f"the cluster's programs are built for this machine, {system or platform.system()}, and nodes run Linux",
            remedy="run it on Linux, in a virtual machine for example",
        )
