"""The files that a local node's programs read, as pure functions of its addresses."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.cluster.addressing import REGISTRY_PORT, Addressing
from e2e.cluster.host import CNI_PLUGINS
from e2e.cluster.images import PAUSE_IMAGE

CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
RUNTIME_HANDLERS = ("runc", "kata-qemu-snp", "kata-qemu-tdx")
"""All run by runc here: what a RuntimeClass selects and adds is real, the virtual machine is not."""
UNUSED_PLUGINS = (
    *(f"io.containerd.snapshotter.v1.{name}" for name in ("aufs", "btrfs", "devmapper", "zfs")),
    "io.containerd.tracing.processor.v1.otlp",
    "io.containerd.internal.v1.tracing",
)
# host directories that a node hides behind its own, by the folder of the node that replaces them
BINDS = {
    "/run/netns": "run-netns",
    "/var/lib/kubelet": "kubelet",
    "/var/lib/containerd": "containerd",
    "/run/containerd": "run-containerd",
    "/var/log/pods": "log-pods",
    "/var/log/containers": "log-containers",
    "/etc/cni/net.d": "cni-conf",
    "/var/lib/cni": "cni-state",
    "/opt/containerd": "opt-containerd",
}
LOST_WITH_POWER = ("/run/netns", "/run/containerd")


@dataclass(frozen=True, slots=True)
class NodePaths:
    """Where a node of a local cluster keeps what it reads and writes."""

    cluster: Path
    index: int

    @property
    def name(self) -> str:
        return f"n{self.index}"

    @property
    def directory(self) -> Path:
        return self.cluster / self.name

    @property
    def pki(self) -> Path:
        return self.cluster / "pki"

    @property
    def certs_d(self) -> Path:
        return self.directory / "certs.d"


def render_containerd(paths: NodePaths) -> str:
    """Return containerd's configuration (TOML)."""
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    handlers = "".join(
        f"""
    [{cri}.containerd.runtimes.{handler}]
      runtime_type = "io.containerd.runc.v2"
      [{cri}.containerd.runtimes.{handler}.options]
        SystemdCgroup = false"""
        for handler in RUNTIME_HANDLERS
    )
    return f"""version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = {json.dumps(UNUSED_PLUGINS)}
[grpc]
  address = "{CONTAINERD_SOCKET}"
[{cri}]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  [{cri}.cni]
    bin_dir = "{CNI_PLUGINS}"
    conf_dir = "/etc/cni/net.d"
  [{cri}.registry]
    config_path = "{paths.certs_d}"
  [{cri}.containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"{handlers}
"""


def render_cni(addressing: Addressing, index: int) -> str:
    """Return the CNI configuration: a bridge, and routes instead of address translation.

    Masquerading would hide the pods' addresses from policies and from the counters of tests.
    """
    ipam = {
        "type": "host-local",
        "dataDir": "/var/lib/cni/networks",
        "ranges": [[{"subnet": addressing.node_pods_cidr(index)}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": False, "hairpinMode": True, "ipam": ipam}
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    return json.dumps({"cniVersion": "1.0.0", "name": "test", "plugins": [bridge, portmap]})


def render_registry_hosts(addressing: Addressing) -> str:
    """Return containerd's hosts.toml for the cluster's registry, which speaks plain HTTP."""
    return f'[host."http://{addressing.control_plane}:{REGISTRY_PORT}"]\n  capabilities = ["pull", "resolve"]\n'


def render_kubelet(paths: NodePaths, addressing: Addressing, cgroup_root: str) -> str:
    """Return the KubeletConfiguration (JSON, which is YAML)."""
    serving = f"{paths.pki}/kubelet-serving-{paths.name}"
    config: dict[str, Any] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": addressing.node_address(paths.index),
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{paths.pki}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{serving}.crt",
        "tlsPrivateKeyFile": f"{serving}.key",
        "failCgroupV1": False,
        "failSwapOn": False,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup_root,
        "enforceNodeAllocatable": ["pods"],
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "clusterDNS": [addressing.dns_service],
        "clusterDomain": "cluster.local",
        "resolvConf": f"{paths.directory}/resolv.conf",
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "imagefs.available": "1%",
            "nodefs.inodesFree": "1%",
        },
        # images are loaded, not pulled: one that were collected could not come back
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "nodeStatusUpdateFrequency": "4s",
        # Unless told, it sends what is unchanged as often as it looks; a node's life is told by its Lease.
        "nodeStatusReportFrequency": "5m",
        "shutdownGracePeriod": "0s",
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        "allowedUnsafeSysctls": [],
    }
    return json.dumps(config)


def render_kube_proxy(paths: NodePaths, addressing: Addressing) -> str:
    """Return the KubeProxyConfiguration (JSON); connection-tracking limits belong to the host, so they stay."""
    return json.dumps({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "hostnameOverride": paths.name,
        "clientConnection": {"kubeconfig": f"{paths.pki}/proxy-lan.kubeconfig"},
        "clusterCIDR": addressing.pods_cidr,
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "conntrack": {
            "maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s",
        },
    })  # fmt: skip


def render_init(paths: NodePaths, addressing: Addressing, binaries: Path) -> str:
    """Return what `node_init.py` reads: the policy enforcer runs before the kubelet can start a pod."""
    directory, name = paths.directory, paths.name
    netpol = [
        str(binaries / "netpol"),
        f"--kubeconfig={paths.pki}/kube-router-lan.kubeconfig",
        f"--hostname-override={name}",
        "--run-router=false",
        "--run-service-proxy=false",
        "--enable-cni=false",
        f"--service-cluster-ip-range={addressing.service_cidr}",
        "--netpol-default-deny",
    ]
    kubelet = [
        str(binaries / "kubelet"),
        f"--config={directory}/kubelet.json",
        f"--kubeconfig={paths.pki}/kubelet-{name}-lan.kubeconfig",
        f"--hostname-override={name}",
        f"--node-ip={addressing.node_address(paths.index)}",
        "--root-dir=/var/lib/kubelet",
    ]
    steps: list[dict[str, Any]] = [
        {"start": "containerd", "command": ["containerd", "-c", f"{directory}/containerd.toml"]},
        {"succeeds": ["ctr", "version"]},
        {"start": "netpol", "command": netpol},
        {"succeeds": ["iptables", "-w", "-S", "KUBE-ROUTER-FORWARD"]},
        {"start": "kubelet", "command": kubelet},
        {"start": "kube-proxy", "command": [str(binaries / "kube-proxy"), f"--config={directory}/kube-proxy.json"]},
    ]
    return json.dumps({
        "binds": {target: str(directory / folder) for target, folder in BINDS.items()},
        "cgroups": str(directory / "cgroups"),
        "log": str(directory / "log"),
        "steps": steps,
    })  # fmt: skip


def render_node_object(name: str, addressing: Addressing, index: int, labels: dict[str, str]) -> dict[str, Any]:
    """Return the Node, made by the administrator: with a known pod range and labels no kubelet may give itself."""
    pods = addressing.node_pods_cidr(index)
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {"podCIDR": pods, "podCIDRs": [pods]},
    }


def render_node_addresses(name: str, addressing: Addressing, index: int) -> dict[str, Any]:
    """Return the status without which the policy enforcer refuses to start (it asks before the kubelet speaks)."""
    address = addressing.node_address(index)
    addresses = [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}]
    return {"status": {"addresses": addresses}}
