"""How a process proves itself to the API server: the pod's own token, or a kubeconfig outside a cluster."""

import asyncio
import base64
import os
import ssl
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from sekisho.errors import Reason, RefusedError

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TOKEN_LIFE_SECONDS: Final = 60.0
MAX_FILE_BYTES: Final = 1 << 20


@dataclass(slots=True)
class Credentials:
    """Where the API server is and what to show it.

    Attributes:
        token_file: Read again every minute: the kubelet replaces it before it expires.
    """

    server: str
    ca_pem: str = ""
    token_file: Path | None = None
    token: str = field(default="", repr=False)
    certificate_pem: str = field(default="", repr=False)
    key_pem: str = field(default="", repr=False)
    _token_read_at: float = field(default=0.0, repr=False)

    def read_token(self, *, fresh: bool = False) -> str:
        """Return the token; empty where a client certificate is what counts."""
        if self.token_file is None:
            return self.token
        if fresh or not self.token or time.monotonic() - self._token_read_at > TOKEN_LIFE_SECONDS:
            self.token = _read(self.token_file).strip()
            self._token_read_at = time.monotonic()
        return self.token

    def build_ssl_context(self) -> ssl.SSLContext | bool:
        """Return what verifies the server and holds the client certificate."""
        if self.server.startswith("http://"):
            return False
        context = ssl.create_default_context(cadata=self.ca_pem or None)
        if self.certificate_pem:
            # OpenSSL loads a key from a file alone; it is on disk for the length of this call.
            with tempfile.NamedTemporaryFile("w", prefix="sekisho-", suffix=".pem") as file:
                file.write(f"{self.certificate_pem}\n{self.key_pem}\n")
                file.flush()
                context.load_cert_chain(file.name)
        return context


async def find_credentials(environ: Mapping[str, str] = os.environ) -> Credentials:
    """Find the pod's own credentials, or else those of the kubeconfig's current context.

    Raises:
        RefusedError: There are none, or they cannot be used.
    """
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT", "443")
    if host and not environ.get("KUBECONFIG"):
        bracketed = f"[{host}]" if ":" in host else host
        return await asyncio.to_thread(
            lambda: Credentials(
                server=f"https://{bracketed}:{port}",
                ca_pem=_read(SERVICE_ACCOUNT / "ca.crt"),
                token_file=SERVICE_ACCOUNT / "token",
            )
        )
    path = Path(environ.get("KUBECONFIG") or Path(environ.get("HOME", "/")) / ".kube/config")
    return await read_kubeconfig(path)


async def read_kubeconfig(path: Path) -> Credentials:
    """Read the current context of a kubeconfig; plug-ins are run by the Kubernetes client library.

    Raises:
        RefusedError: The file cannot be read or names no usable context.
    """
    raw = await asyncio.to_thread(_load_yaml, path)
    cluster, user = _current(raw, path)
    if "exec" in user or "auth-provider" in user:
        return await _ask_library(path)
    return await asyncio.to_thread(
        lambda: Credentials(
            server=str(cluster.get("server", "")),
            ca_pem=_inline(cluster, "certificate-authority", path),
            token=str(user.get("token", "")),
            token_file=_relative(user["tokenFile"], path) if user.get("tokenFile") else None,
            certificate_pem=_inline(user, "client-certificate", path),
            key_pem=_inline(user, "client-key", path),
        )
    )


def _current(raw: Mapping[str, Any], path: Path) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    context = _named(raw, "contexts", str(raw.get("current-context", "")), path)["context"]
    cluster = _named(raw, "clusters", str(context.get("cluster", "")), path)["cluster"]
    return cluster, _named(raw, "users", str(context.get("user", "")), path).get("user") or {}


def _named(raw: Mapping[str, Any], section: str, name: str, path: Path) -> Mapping[str, Any]:
    for item in raw.get(section) or ():
        if item.get("name") == name:
            return dict(item)
    raise RefusedError(Reason.UNAUTHENTICATED, f'{path} has no entry "{name}" in {section}; set its current-context')


def _inline(entry: Mapping[str, Any], key: str, path: Path) -> str:
    if data := entry.get(f"{key}-data"):
        return base64.b64decode(data).decode()
    return _read(_relative(entry[key], path)) if entry.get(key) else ""


def _relative(name: str, path: Path) -> Path:
    return path.parent / name


def _load_yaml(path: Path) -> Mapping[str, Any]:
    try:
        raw = yaml.safe_load(_read(path))
    except yaml.YAMLError as error:
        raise RefusedError(Reason.UNAUTHENTICATED, f"{path} is not YAML") from error
    return raw if isinstance(raw, dict) else {}


def _read(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(MAX_FILE_BYTES)
    except OSError as error:
        raise RefusedError(
            Reason.UNAUTHENTICATED,
            f"credentials of the API server cannot be read from {path}: {error.strerror}; "
            "run in a pod or set KUBECONFIG",
        ) from error


async def _ask_library(path: Path) -> Credentials:
    # Imported here alone: it costs a second and 60 MiB, and only people outside a cluster use plug-ins.
    try:
        from kubernetes.aio import client, config  # noqa: PLC0415
    except ImportError as error:
        message = f"{path} asks for a credential plug-in; install the package kubernetes to run it"
        raise RefusedError(Reason.UNAUTHENTICATED, message) from error

    loaded = client.Configuration()
    await config.load_kube_config(config_file=str(path), client_configuration=loaded)
    token = str(loaded.api_key.get("BearerToken", ""))
    return await asyncio.to_thread(
        lambda: Credentials(
            server=str(loaded.host),
            ca_pem=_read(Path(loaded.ssl_ca_cert)) if loaded.ssl_ca_cert else "",
            token=token.partition(" ")[2] or token,
            certificate_pem=_read(Path(loaded.cert_file)) if loaded.cert_file else "",
            key_pem=_read(Path(loaded.key_file)) if loaded.key_file else "",
        )
    )
