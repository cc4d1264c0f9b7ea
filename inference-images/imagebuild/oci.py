"""OCI archives: the names containerd gives an image on import, and reading one back as a folder."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import tarfile
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from imagebuild.failure import ImageBuildError, find_remedy

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def name_archive(source: Path, target: Path, *, tag: str) -> str:
    """Copy an OCI archive so that importing it creates the image by tag and by digest; return the digest.

    A kubelet finds an image it shall not pull only under the exact name a pod uses, so both names are written into
    the index. Order, owners and times in the archive are fixed: same image, same bytes.

    Raises:
        ImageBuildError: the archive is no OCI layout with one image.
    """
    with tarfile.open(source) as archive:
        names = {os.path.normpath(member.name): member for member in archive if member.isfile()}
        if "index.json" not in names:
            raise ImageBuildError(f"{source.name} is no OCI layout; Docker writes one from version 25 on: update it")
        descriptor = _only_manifest(_read_json(archive, names["index.json"]), names, archive)
        digest = str(descriptor["digest"])
        reference = f"{tag.rpartition(':')[0]}@{digest}"
        index = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [
                descriptor
                | {"annotations": {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name}}
                for name in (tag, reference)
            ],
        }
        kept = _blobs_of(archive, names, digest)
        part = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            with tarfile.open(part, "w", format=tarfile.GNU_FORMAT) as out:
                _add_bytes(out, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
                _add_bytes(out, "index.json", json.dumps(index, sort_keys=True).encode())
                for blob in kept:
                    out.addfile(_fixed(blob, names[blob].size), archive.extractfile(names[blob]))
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    return digest


def _only_manifest(
    index: dict[str, Any], names: dict[str, tarfile.TarInfo], archive: tarfile.TarFile
) -> dict[str, Any]:
    found = [m for m in index.get("manifests", []) if m.get("annotations", {}).get("vnd.docker.reference.type") is None]
    if len({m["digest"] for m in found}) != 1:
        raise ImageBuildError(f"the archive holds {len(found)} images, one was expected")
    first = found[0]
    if first.get("mediaType") != _MANIFEST:  # an index around one image, as newer Docker engines save it
        return _only_manifest(_read_json(archive, names[_blob_path(first["digest"])]), names, archive)
    return {key: first[key] for key in ("mediaType", "digest", "size")}


def _blobs_of(archive: tarfile.TarFile, names: dict[str, tarfile.TarInfo], digest: str) -> list[str]:
    manifest = _read_json(archive, names[_blob_path(digest)])
    digests = {digest, manifest["config"]["digest"], *(layer["digest"] for layer in manifest["layers"])}
    return sorted(_blob_path(d) for d in digests)


def _blob_path(digest: str) -> str:
    algorithm, _, value = digest.partition(":")
    return f"blobs/{algorithm}/{value}"


def _read_json(archive: tarfile.TarFile, member: tarfile.TarInfo) -> dict[str, Any]:
    file = archive.extractfile(member)
    return cast("dict[str, Any]", json.load(file)) if file else {}


def _fixed(name: str, size: int) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o644
    return info


def _add_bytes(out: tarfile.TarFile, name: str, content: bytes) -> None:
    out.addfile(_fixed(name, len(content)), io.BytesIO(content))


def read_config(path: Path) -> dict[str, Any]:
    """Return the image configuration (user, entrypoint, environment) of a finished archive."""
    with tarfile.open(path) as archive:
        names = {member.name: member for member in archive}
        manifest = _read_json(
            archive, names[_blob_path(_read_json(archive, names["index.json"])["manifests"][0]["digest"])]
        )
        return _read_json(archive, names[_blob_path(manifest["config"]["digest"])])


def unpack_archive(path: Path, root: Path) -> None:
    """Unpack the layers of a finished archive into a folder. Files removed by a later layer are not expected."""
    root.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path) as archive:
        names = {member.name: member for member in archive}
        manifest = _read_json(
            archive, names[_blob_path(_read_json(archive, names["index.json"])["manifests"][0]["digest"])]
        )
        for layer in manifest["layers"]:
            blob = archive.extractfile(names[_blob_path(layer["digest"])])
            if blob is None:
                raise ImageBuildError(f"{path.name} has no blob {layer['digest']}")
            _unpack_layer(blob, str(layer["mediaType"]), root)


def _unpack_layer(blob: Any, media_type: str, root: Path) -> None:
    options = ["--zstd"] if media_type.endswith("zstd") else []
    stream = gzip.GzipFile(fileobj=blob) if media_type.endswith("gzip") else blob
    command = ["tar", "-x", "-C", str(root), "--keep-directory-symlink", *options]
    with tempfile.TemporaryFile() as log:
        tar = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=log)
        with suppress(BrokenPipeError), tar:  # it may end before its input does: what it says tells why
            assert tar.stdin is not None
            while chunk := stream.read(1 << 20):
                tar.stdin.write(chunk)
        log.seek(0)
        said = log.read().decode(errors="replace").strip()[-500:]
    if tar.returncode != 0:
        raise ImageBuildError(
            f"a layer of type {media_type} could not be unpacked: {said} {find_remedy(said)}".rstrip()
        )
