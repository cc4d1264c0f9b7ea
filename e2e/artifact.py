"""Pushes a folder into a registry as an OCI artifact: one layer a file, the file's name in its title annotation."""

import hashlib
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
EMPTY = b"{}"


def push_folder(base_url: str, repository: str, files: list[Path], *, tag: str = "latest") -> str:
    """Push `files` to `repository` of the registry at `base_url` and return the manifest's digest.

    Args:
        base_url: For example http://127.0.0.1:5000; no credentials.
    """
    return push_layers(base_url, repository, {path.name: path.read_bytes() for path in files}, tag=tag)


def push_layers(base_url: str, repository: str, files: Mapping[str, bytes], *, tag: str = "latest") -> str:
    """Push files by their titles, whatever is in them; see `push_folder`."""
    layers = [_push_blob(base_url, repository, data, title=title) for title, data in files.items()]
    config = _push_blob(base_url, repository, EMPTY, media_type="application/vnd.oci.empty.v1+json")
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": "application/vnd.cncf.model.manifest.v1+json",
            "config": config,
            "layers": layers,
        }
    ).encode()
    url = f"{base_url}/v2/{repository}/manifests/{tag}"
    _send(urllib.request.Request(url, data=manifest, method="PUT", headers={"Content-Type": MANIFEST}))
    return _digest(manifest)


def _push_blob(
    base_url: str, repository: str, data: bytes, *, title: str = "", media_type: str = "application/octet-stream"
) -> dict[str, Any]:
    digest = _digest(data)
    start = urllib.request.Request(f"{base_url}/v2/{repository}/blobs/uploads/", data=b"", method="POST")
    location = _send(start).headers["Location"]
    location = location if location.startswith("http") else base_url + location
    url = f"{location}{'&' if '?' in location else '?'}digest={digest}"
    _send(urllib.request.Request(url, data=data, method="PUT", headers={"Content-Type": "application/octet-stream"}))
    blob: dict[str, Any] = {"mediaType": media_type, "digest": digest, "size": len(data)}
    if title:
        blob["annotations"] = {"org.opencontainers.image.title": title}
    return blob


def _send(request: urllib.request.Request) -> Any:
    try:
        return urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{request.method} {request.full_url}: {error.code} {error.read()[:300]!r}") from error


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()
