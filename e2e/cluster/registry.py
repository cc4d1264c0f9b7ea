"""An OCI registry inside the cluster's network, which tests fill, cut off and bring back."""

import json
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from e2e.cluster import host
from e2e.cluster.addressing import REGISTRY_PORT
from e2e.cluster.errors import ClusterError
from e2e.cluster.local import LocalCluster
from e2e.cluster.netns import run
from e2e.cluster.pki import Authority, Subject
from e2e.cluster.processes import end, poll, tail
from e2e.cluster.progress import silent
from e2e.cluster.provider import Cluster
from e2e.ports import free_port

PACKAGES = {"/usr/bin/docker-registry": "docker-registry"}


@dataclass(frozen=True, slots=True)
class Access:
    """How the registry is protected: TLS by an authority of its own, and a user's name and password."""

    tls: bool = False
    user: str = ""
    password: str = ""


def render_config(storage: Path, access: Access, *, address: str, keys: Path) -> str:
    """Return the registry's configuration (JSON, which is YAML)."""
    http: dict[str, object] = {"addr": address}
    if access.tls:
        http["tls"] = {"certificate": f"{keys}/registry.crt", "key": f"{keys}/registry.key"}
    config: dict[str, object] = {
        "version": 0.1,
        "log": {"level": "info"},
        "storage": {"filesystem": {"rootdirectory": str(storage)}, "delete": {"enabled": True}},
        "http": http,
    }
    if access.user:
        config["auth"] = {"htpasswd": {"realm": "test", "path": f"{keys}/htpasswd"}}
    return json.dumps(config)


class Registry:
    """One registry of a local cluster.

    Attributes:
        host: `address:port` as pods and nodes name it.
        url: How this machine reaches the same registry; known after :meth:`start`.
        ca_file: The authority of its certificate, where it has one.
    """

    def __init__(
        self, cluster: Cluster, *, access: Access | None = None, port: int = REGISTRY_PORT, name: str = "registry"
    ) -> None:
        if not isinstance(cluster, LocalCluster):
            raise ClusterError("a registry needs the local provider", remedy="use --provider local")
        self.cluster = cluster
        self.access = access or Access()
        self.name = name
        self.directory = cluster.directory / name
        self.keys = self.directory / "keys"
        self.host = f"{cluster.addressing.control_plane}:{port}"
        self.ca_file = self.keys / "ca.crt"
        self._port = port

    @property
    def url(self) -> str:
        scheme = "https" if self.access.tls else "http"
        return f"{scheme}://127.0.0.1:{(self.directory / 'port').read_text()}"

    def start(self) -> None:
        """Start it, with what it held before a :meth:`kill`; nothing happens where it runs already."""
        if self._answers():
            return
        host.require_packages(PACKAGES, silent)
        self.keys.mkdir(parents=True, exist_ok=True)
        self._write_keys()
        config = self.directory / "config.json"
        config.write_text(render_config(self.directory / "data", self.access, address=self.host, keys=self.keys))
        control_plane = self.cluster.control_plane
        control_plane.spawn_inside(self.name, ("docker-registry", "serve", str(config)))
        if not (self.directory / "port").exists():
            port = free_port()
            control_plane.forward(f"{self.name}-forward", port, self.host)
            (self.directory / "port").write_text(str(port))
        if not poll(self._answers, seconds=60):
            log = self.cluster.directory / "log" / f"{self.name}.log"
            raise ClusterError(f"the registry does not answer; its last words:\n{tail(log)}", remedy=f"read {log}")

    def kill(self) -> None:
        """End it at once; what it holds stays for the next :meth:`start`."""
        end(self.cluster.directory / "pid" / self.name, first=signal.SIGKILL)

    def cut(self) -> None:
        """Make it silent, neither refusing nor answering, until :meth:`restore`."""
        chain = f"type filter hook input priority 0; tcp dport {self._port} drop;"
        rule = f"table inet cut_{self._port} {{\n chain input {{ {chain} }}\n}}\n"
        self.cluster.place("control-plane").run("nft", "-f", "-", stdin=rule)

    def restore(self) -> None:
        """End a :meth:`cut`."""
        self.cluster.place("control-plane").run("nft", "delete", "table", "inet", f"cut_{self._port}", check=False)

    def _answers(self) -> bool:
        pid_file = self.cluster.directory / "pid" / self.name
        if not pid_file.exists():
            return False
        command = ("nc", "-w", "2", *self.host.split(":"))
        return _succeeds(lambda: self.cluster.place("control-plane").run("/bin/busybox", *command))

    def _write_keys(self) -> None:
        if self.access.tls and not self.ca_file.exists():
            authority = Authority.create(self.keys, "ca")
            addresses = (self.host.partition(":")[0], "127.0.0.1")
            authority.issue("registry", Subject("registry", dns=("localhost",), addresses=addresses))
        if self.access.user:
            probe = str(self.cluster.binaries / "probe")
            line = run((probe, "htpasswd", self.access.user, self.access.password))
            (self.keys / "htpasswd").write_text(line)


def _succeeds(action: Callable[[], object]) -> bool:
    try:
        action()
    except ClusterError:
        return False
    return True
