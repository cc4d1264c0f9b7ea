"""Writes and reads OCI image archives: one layer, no daemon, the same input gives the same bytes."""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from e2e.cluster.errors import ClusterError

MEDIA_TYPE = "application/vnd.oci.image"
NAME_ANNOTATION = "io.containerd.image.name"
TAG_ANNOTATION = "org.opencontainers.image.ref.name"
BASE_DIRECTORIES = ("tmp", "etc", "proc", "sys", "dev", "run")
INDEX_LIMIT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ImageContent:
    """What goes into an image: destination paths, with source files or the targets of symbolic links."""

    entrypoint: Sequence[str]
    files: Mapping[str, Path]
    links: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ArchiveReference:
    """What an archive says it holds."""

    name: str | None
    """`repository:tag`, where the archive says it."""
    digest: str

    def by_digest(self, name: str) -> str:
        """Return `repository@digest` for a `repository:tag`."""
        return f"{split_name(name)[0]}@{self.digest}"


def split_name(name: str) -> tuple[str, str]:
    """Split `repository:tag`, where the repository may begin with `host:port/`; the tag defaults to `latest`."""
    head, separator, tail = name.rpartition(":")
    if separator and "/" not in tail:
        return head, tail
    return name, "latest"


def write_archive(out: Path, name: str, content: ImageContent) -> None:
    """Write an OCI image layout as a tar file whose index carries the image's name."""
    layer = _layer(content)
    config = json.dumps({
        "architecture": "amd64",
        "os": "linux",
        "config": {"Entrypoint": list(content.entrypoint), "Env": ["PATH=/bin"], "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
    }).encode()  # fmt: skip
    manifest = json.dumps({
        "schemaVersion": 2,
        "mediaType": f"{MEDIA_TYPE}.manifest.v1+json",
        "config": _descriptor(f"{MEDIA_TYPE}.config.v1+json", config),
        "layers": [_descriptor(f"{MEDIA_TYPE}.layer.v1.tar", layer)],
    }).encode()  # fmt: skip
    described = _descriptor(f"{MEDIA_TYPE}.manifest.v1+json", manifest)
    described["annotations"] = {NAME_ANNOTATION: name, TAG_ANNOTATION: split_name(name)[1]}
    # Two workers may write the same image at once; each writes its own, and either will do.
    unfinished = out.with_suffix(f".unfinished-{os.getpid()}")
    try:
        with tarfile.open(unfinished, "w") as archive:
            _add(archive, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
            _add(archive, "index.json", json.dumps({"schemaVersion": 2, "manifests": [described]}).encode())
            for blob in (layer, config, manifest):
                _add(archive, f"blobs/sha256/{_digest(blob)[7:]}", blob)
        unfinished.rename(out)
    finally:
        unfinished.unlink(missing_ok=True)


def read_reference(archive: Path) -> ArchiveReference:
    """Return the name and digest of the one image in an archive.

    Raises:
        ClusterError: The file is no OCI image layout, or holds no image or several.
    """
    remedy = "give an OCI archive of one image (`buildah push IMAGE oci-archive:FILE:NAME`)"
    try:
        with tarfile.open(archive) as content:
            member = next((m for m in content if m.name.removeprefix("./") == "index.json"), None)
            file = content.extractfile(member) if member is not None else None
            if file is None:
                raise ClusterError(f"{archive} has no index.json: it is no OCI image archive", remedy=remedy)
            manifests = json.loads(file.read(INDEX_LIMIT_BYTES))["manifests"]
    except (OSError, tarfile.TarError, ValueError, KeyError) as error:
        raise ClusterError(f"{archive} cannot be read as an OCI image archive: {error}", remedy=remedy) from error
    digests = {manifest["digest"] for manifest in manifests}  # one image may stand there under a tag and a digest
    if len(digests) != 1:
        raise ClusterError(f"{archive} holds {len(digests)} images, not one", remedy=remedy)
    annotations = manifests[0].get("annotations", {})
    name = annotations.get(NAME_ANNOTATION) or annotations.get(TAG_ANNOTATION)
    is_whole = name is not None and "/" in name
    return ArchiveReference(name if is_whole else None, manifests[0]["digest"])


def is_undamaged(archive: Path) -> bool:
    """Tell whether every blob of an archive has the digest that it is called by."""
    try:
        with tarfile.open(archive) as content:
            for member in content:
                algorithm, _, digest = member.name.removeprefix("./blobs/").removeprefix("blobs/").partition("/")
                file = content.extractfile(member) if algorithm == "sha256" else None
                if file is not None and hashlib.file_digest(file, "sha256").hexdigest() != digest:
                    return False
    except (OSError, tarfile.TarError):
        return False
    return True


def _layer(content: ImageContent) -> bytes:
    buffer, made = io.BytesIO(), set[str]()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as layer:

        def make_directory(path: PurePosixPath) -> None:
            if str(path) in (".", *made):
                return
            make_directory(path.parent)
            made.add(str(path))
            entry = tarfile.TarInfo(str(path))
            entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if str(path) == "tmp" else 0o755
            layer.addfile(entry)

        for directory in BASE_DIRECTORIES:
            make_directory(PurePosixPath(directory))
        for destination, source in sorted(content.files.items()):
            make_directory(PurePosixPath(destination).parent)
            entry = tarfile.TarInfo(destination)
            entry.mode, entry.size = 0o755, source.stat().st_size
            with source.open("rb") as file:
                layer.addfile(entry, file)
        for destination, target in sorted(content.links.items()):
            make_directory(PurePosixPath(destination).parent)
            entry = tarfile.TarInfo(destination)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            layer.addfile(entry)
    return buffer.getvalue()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _descriptor(media_type: str, content: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": _digest(content), "size": len(content)}
