"""etcd, API server, controller manager and scheduler of a local cluster, in a network namespace of their own."""

import http.client
import os
import signal
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster import audit, pki
from e2e.cluster.addressing import API_PORT, Addressing
from e2e.cluster.errors import ClusterError
from e2e.cluster.netns import BRIEF_GO, NetworkNamespace, run
from e2e.cluster.patience import PATIENCE_SECONDS, TIMEOUT
from e2e.cluster.processes import ProcessId, end, poll, spawn, tail
from e2e.cluster.progress import Report

ETCD_CLIENT = "http://127.0.0.1:2379"
ETCD_PEER = "http://127.0.0.1:2380"
BRIDGE = "br0"
COLLECTING = {"GOGC": "400"}
"""What saves an API server a sixth of its CPU, and takes 150 MB: it looks for garbage less often; what is set stays."""
UNUSED_CONTROLLERS = (
    "certificatesigningrequest-approving", "certificatesigningrequest-cleaner", "certificatesigningrequest-signing",
    "cronjob", "device-taint-eviction", "endpoints", "endpointslice-mirroring", "ephemeral-volume",
    "horizontal-pod-autoscaler", "job", "legacy-serviceaccount-token-cleaner", "persistentvolume-attach-detach",
    "persistentvolume-expander", "replicationcontroller", "resourceclaim", "ttl", "ttl-after-finished",
)  # fmt: skip
"""What nothing that sekisho makes or its users apply in a test needs: two fifths of a controller manager at rest."""
ENDING_ORDER = ("forward", "kwok", "scheduler", "kcm", "apiserver", "etcd")


@dataclass(frozen=True, slots=True)
class ControlPlaneOptions:
    """What can be chosen about a control plane."""

    api_port: int
    audit_level: audit.AuditLevel = "writes"
    api_server_flags: tuple[str, ...] = ()


class ControlPlane:
    """The processes that make an API, and the way to it from outside their network namespace."""

    def __init__(self, directory: Path, binaries: Path, addressing: Addressing, options: ControlPlaneOptions) -> None:
        self.directory = directory
        self.binaries = binaries
        self.addressing = addressing
        self.options = options
        self.netns = NetworkNamespace(addressing.control_plane_netns)
        self.pki = directory / "pki"
        self.kubeconfig = directory / "kubeconfig"
        self.audit_log = directory / "audit.jsonl"

    def start(self, report: Report, *, definitions: Path | None = None) -> None:
        """Start everything and return when the API serves and controllers work.

        Args:
            definitions: A folder of manifests of kinds, which the API serves before the controllers start.
        """
        for part in ("log", "pid", "etcd"):
            (self.directory / part).mkdir(parents=True, exist_ok=True)
        self._create_network()
        pki.create_cluster_pki(self.pki, self.addressing)
        (self.directory / "audit-policy.json").write_text(audit.render_policy(self.options.audit_level))
        self._spawn("etcd", etcd_flags(self.directory / "etcd"), program="etcd")
        self._spawn("apiserver", self._api_server_flags(), program="kube-apiserver")
        self._forward_api()
        self._await("apiserver", "the API server", "/readyz")
        report("API server ready")
        if definitions is not None:
            self.kubectl("apply", "--server-side", "-f", str(definitions))
            self.kubectl("wait", "--for=condition=Established", TIMEOUT, "-f", str(definitions))
        self._spawn("kcm", controller_flags(self.pki, self.addressing), program="kube-controller-manager")
        self._spawn("scheduler", scheduler_flags(self.pki), program="kube-scheduler")
        self._await("kcm", "the controller manager", "/api/v1/namespaces/default/serviceaccounts/default")
        report("controllers and scheduler ready")

    def stop(self) -> None:
        """End every process and remove the namespace, whatever state a crash left."""
        for name in ENDING_ORDER:
            end(self.directory / "pid" / name, first=signal.SIGKILL)  # nothing of it is kept, so nothing is flushed
        self.netns.destroy()

    def kill(self, name: str) -> None:
        """Kill one process (`apiserver`, `kcm`, `scheduler`, `etcd`), as a crash would."""
        end(self.directory / "pid" / name, first=signal.SIGKILL)

    def start_api_server(self) -> None:
        """Start the API server again after :meth:`kill`, and wait until it is ready."""
        self._spawn("apiserver", self._api_server_flags(), program="kube-apiserver")
        self._await("apiserver", "the API server", "/readyz")

    def spawn_inside(self, name: str, command: Sequence[str]) -> ProcessId:
        """Start another process in the control plane's namespace; it ends with it."""
        log, pid_file = self.directory / "log" / f"{name}.log", self.directory / "pid" / name
        environment = {**COLLECTING, **os.environ}
        return spawn((*self.netns.prefix, *command), log=log, pid_file=pid_file, environment=environment)

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        return run(
            (
                str(self.binaries / "kubectl"),
                f"--kubeconfig={self.kubeconfig}",
                f"--cache-dir={self.directory}/kube-cache",  # nothing in the home of whoever runs tests
                *arguments,
            ),
            stdin=stdin,
            check=check,
            environment=BRIEF_GO,
        )

    def forward(self, name: str, port: int, target: str) -> ProcessId:
        """Relay 127.0.0.1:`port` of the host to an address inside; `port` 0 is not allowed."""
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind(("127.0.0.1", port))
            except OSError as error:
                raise ClusterError(
                    f"port {port} of 127.0.0.1 cannot be had: {error.strerror}",
                    remedy=f"end what listens there (`ss -ltnp 'sport = :{port}'` shows it) and try again",
                ) from error
            listener.listen(512)
            log, pid_file = self.directory / "log" / f"{name}.log", self.directory / "pid" / name
            command = (*self.netns.prefix, str(self.binaries / "probe"), "forward", "-fd", "3", target)
            return spawn(command, log=log, pid_file=pid_file, inherit_fd=listener.fileno())

    def _create_network(self) -> None:
        self.netns.create()
        self.netns.run("ip", "link", "add", BRIDGE, "type", "bridge")
        self.netns.run("ip", "addr", "add", f"{self.addressing.control_plane}/24", "dev", BRIDGE)
        self.netns.run("ip", "link", "set", BRIDGE, "up")

    def _forward_api(self) -> None:
        port = self.options.api_port
        self.forward("forward", port, f"127.0.0.1:{API_PORT}")
        config = pki.render_kubeconfig(self.pki, "admin", f"https://127.0.0.1:{port}", context="sekisho-test")
        with os.fdopen(os.open(self.kubeconfig, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as file:
            file.write(config)

    def _spawn(self, name: str, flags: Sequence[str], *, program: str) -> None:
        self.spawn_inside(name, (str(self.binaries / program), *flags))

    def _await(self, process: str, what: str, path: str) -> None:
        """Wait until the API serves a path, by requests of our own: a kubectl costs a tenth of a second of a core."""
        context = ssl.create_default_context(cafile=str(self.pki / "ca.crt"))
        context.load_cert_chain(self.pki / "admin.crt", self.pki / "admin.key")

        def answers() -> bool:
            if self._serves(path, context):
                return True
            identity = ProcessId.read(self.directory / "pid" / process)
            if identity is None or not identity.is_alive():
                raise self._failure(process, f"{what} ended while starting")
            return False

        if not poll(answers, seconds=PATIENCE_SECONDS, interval=0.05):
            raise self._failure(process, f"{what} was not ready within {PATIENCE_SECONDS} s")

    def _serves(self, path: str, context: ssl.SSLContext) -> bool:
        connection = http.client.HTTPSConnection("127.0.0.1", self.options.api_port, context=context, timeout=10)
        try:
            connection.request("GET", path)
            with connection.getresponse() as response:
                response.read()
                return response.status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _failure(self, process: str, problem: str) -> ClusterError:
        log = self.directory / "log" / f"{process}.log"
        return ClusterError(f"{problem}; its last words:\n{tail(log)}", remedy=f"read {log}")

    def _api_server_flags(self) -> list[str]:
        return api_server_flags(self.directory, self.addressing, self.options)


def etcd_flags(data: Path) -> list[str]:
    return [
        "--name=test",
        f"--data-dir={data}",
        "--unsafe-no-fsync",  # a test cluster's data is thrown away
        f"--listen-client-urls={ETCD_CLIENT}",
        f"--advertise-client-urls={ETCD_CLIENT}",
        f"--listen-peer-urls={ETCD_PEER}",
        f"--initial-advertise-peer-urls={ETCD_PEER}",
        f"--initial-cluster=test={ETCD_PEER}",
        "--log-level=warn",
    ]


def api_server_flags(directory: Path, addressing: Addressing, options: ControlPlaneOptions) -> list[str]:
    """Return the API server's flags; those of the options come last and so win."""
    keys = directory / "pki"
    flags = [
        f"--etcd-servers={ETCD_CLIENT}",
        f"--advertise-address={addressing.control_plane}",
        "--bind-address=0.0.0.0",
        f"--secure-port={API_PORT}",
        "--allow-privileged=true",
        f"--tls-cert-file={keys}/apiserver.crt",
        f"--tls-private-key-file={keys}/apiserver.key",
        f"--client-ca-file={keys}/ca.crt",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={keys}/sa.pub",
        f"--service-account-signing-key-file={keys}/sa.key",
        f"--service-cluster-ip-range={addressing.service_cidr}",
        f"--kubelet-client-certificate={keys}/apiserver-kubelet.crt",
        f"--kubelet-client-key={keys}/apiserver-kubelet.key",
        f"--kubelet-certificate-authority={keys}/ca.crt",
        "--kubelet-preferred-address-types=InternalIP",
        f"--proxy-client-cert-file={keys}/front-proxy.crt",
        f"--proxy-client-key-file={keys}/front-proxy.key",
        f"--requestheader-client-ca-file={keys}/front-proxy-ca.crt",
        "--requestheader-allowed-names=front-proxy-client",
        "--requestheader-username-headers=X-Remote-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--enable-aggregator-routing=true",
        "--profiling=false",
        "--feature-gates=APIResponseCompression=false",  # nothing here is far away
    ]
    if options.audit_level != "off":
        flags += [
            f"--audit-policy-file={directory}/audit-policy.json",
            f"--audit-log-path={directory}/audit.jsonl",
            "--audit-log-mode=blocking",  # a line is there before its request is answered: counts are exact
            "--audit-log-maxsize=100000",
        ]
    return [*flags, *options.api_server_flags]


def controller_flags(keys: Path, addressing: Addressing) -> list[str]:
    return [
        *_client_flags(keys / "kcm.kubeconfig"),
        f"--root-ca-file={keys}/ca.crt",
        f"--service-account-private-key-file={keys}/sa.key",
        "--use-service-account-credentials=true",
        f"--cluster-signing-cert-file={keys}/ca.crt",
        f"--cluster-signing-key-file={keys}/ca.key",
        "--allocate-node-cidrs=true",
        f"--cluster-cidr={addressing.pods_cidr}",
        "--node-cidr-mask-size=24",
        f"--service-cluster-ip-range={addressing.service_cidr}",
        "--controllers=" + ",".join(["*", *(f"-{name}-controller" for name in UNUSED_CONTROLLERS)]),
        "--node-monitor-period=2s",
        "--node-monitor-grace-period=20s",
    ]


def scheduler_flags(keys: Path) -> list[str]:
    return _client_flags(keys / "scheduler.kubeconfig")


def _client_flags(kubeconfig: Path) -> list[str]:
    return [
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--secure-port=0",  # nobody asks them; a certificate of their own would take as long as the rest of their start
        "--leader-elect=false",
        "--kube-api-qps=1000",
        "--kube-api-burst=2000",
        "--profiling=false",
    ]
