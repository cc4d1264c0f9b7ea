"""A real OCI registry (Debian's docker-registry) on loopback, with TLS and a password where a test wants them."""

import base64
import contextlib
import hashlib
import json
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.cluster.host import require_packages
from e2e.cluster.progress import silent
from e2e.cluster.registry import PACKAGES
from e2e.ports import free_port
from tests.unit.depot.parts import Keys

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
EMPTY = b"{}"


@dataclass
class Registry:
    """One running registry.

    Attributes:
        host: host:port.
        storage: Its folder, for tests that spoil what it holds.
    """

    host: str
    storage: Path
    keys: Keys | None
    password: str

    def request(self, method: str, path: str, data: bytes | None = None, **headers: str) -> Any:
        url = path if path.startswith("http") else f"{'https' if self.keys else 'http'}://{self.host}{path}"
        request = urllib.request.Request(url, data=data, method=method)
        for name, value in headers.items():
            request.add_header(name.replace("_", "-"), value)
        if self.password:
            word = base64.b64encode(f"reader:{self.password}".encode()).decode()
            request.add_header("Authorization", f"Basic {word}")
        context = ssl.create_default_context(cafile=str(self.keys.ca)) if self.keys else None
        with urllib.request.urlopen(request, timeout=60, context=context) as response:
            response.read()
            return response

    def push_blob(self, repository: str, data: bytes) -> str:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        place = self.request("POST", f"/v2/{repository}/blobs/uploads/", b"").headers["Location"]
        joint = "&" if "?" in place else "?"
        self.request("PUT", f"{place}{joint}digest={digest}", data, Content_Type="application/octet-stream")
        return digest

    def push(self, repository: str, tag: str, files: dict[str, bytes], *, titles: bool = True) -> str:
        """Push files as one artifact, as `oras push` does; returns the manifest's digest."""
        config = self.push_blob(repository, EMPTY)
        layers = [
            {
                "mediaType": "application/octet-stream", "digest": self.push_blob(repository, data), "size": len(data),
                "annotations": {"org.opencontainers.image.title": name} if titles else {},
            }
            for name, data in files.items()
        ]  # fmt: skip
        manifest = {
            "schemaVersion": 2, "mediaType": MANIFEST, "layers": layers,
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": config, "size": len(EMPTY)},
        }  # fmt: skip
        return self.put_manifest(repository, tag, manifest, MANIFEST)

    def put_manifest(self, repository: str, tag: str, manifest: dict[str, Any], kind: str) -> str:
        data = json.dumps(manifest).encode()
        self.request("PUT", f"/v2/{repository}/manifests/{tag}", data, Content_Type=kind)
        return f"sha256:{hashlib.sha256(data).hexdigest()}"

    def blob_file(self, digest: str) -> Path:
        plain = digest.removeprefix("sha256:")
        return self.storage / "docker/registry/v2/blobs/sha256" / plain[:2] / plain / "data"


@contextlib.contextmanager
def run_registry(
    folder: Path, *, keys: Keys | None = None, password: str = "", more: Mapping[str, Any] | None = None
) -> Iterator[Registry]:
    """Run a registry until the context closes; `more` stands in its configuration besides."""
    require_packages(PACKAGES, silent)
    folder.mkdir(parents=True, exist_ok=True)
    host = f"127.0.0.1:{free_port()}"
    http: dict[str, Any] = {"addr": host}
    if keys is not None:
        http["tls"] = {"certificate": str(keys.certificate), "key": str(keys.key)}
    config: dict[str, Any] = {
        "version": 0.1, "log": {"level": "error", "accesslog": {"disabled": True}}, "http": http,
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
    }  # fmt: skip
    if password:
        # The C library hashes by bcrypt; perl, which every Debian has, is the shortest way to it.
        words = ["perl", "-e", "print crypt($ARGV[0], $ARGV[1])", password, "$2b$05$abcdefghijklmnopqrstuu"]
        line = subprocess.run(words, capture_output=True, text=True, check=True, timeout=60).stdout
        (folder / "htpasswd").write_text(f"reader:{line}\n")
        config["auth"] = {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}}
    (folder / "config.json").write_text(json.dumps(config | dict(more or {})))
    log = (folder / "log").open("w")
    process = subprocess.Popen(["docker-registry", "serve", str(folder / "config.json")], stdout=log, stderr=log)
    try:
        registry = Registry(host, folder / "data", keys, password)
        _wait(registry, folder / "log")
        yield registry
    finally:
        process.kill()
        process.wait()
        log.close()


def _wait(registry: Registry, log: Path) -> None:
    for _ in range(1200):
        try:
            registry.request("GET", "/v2/")
            return
        except urllib.error.HTTPError as error:
            with error:
                return  # it runs, and asks who we are
        except (urllib.error.URLError, ConnectionError):
            pass
        time.sleep(0.05)
    raise TimeoutError(log.read_text())
