"""Turn a Containerfile and a prepared root into an OCI archive: by buildah, or by a Docker engine where one answers."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from imagebuild.failure import ImageBuildError, ensure_program, run_program
from imagebuild.oci import name_archive
from imagebuild.working import work_folder


@dataclass(frozen=True, slots=True)
class BuildOrder:
    """What a builder needs to know of one image."""

    containerfile: Path
    target: str
    """Stage of the Containerfile; empty for its last."""
    context: Path
    """Folder that holds ``root/``."""
    tag: str
    archive: Path
    zstd: bool = False
    """Compress with zstd: for images of gigabytes, where gzip takes minutes."""


class Builder(Protocol):
    """Something that builds an image without fetching anything."""

    def build(self, order: BuildOrder) -> str:
        """Build, write the archive and return the digest of the manifest."""
        ...


class Buildah:
    """buildah with a storage of its own that is gone afterwards; needs root, no daemon."""

    def build(self, order: BuildOrder) -> str:
        """Build by buildah (see the Protocol)."""
        with work_folder("buildah") as work:
            return self._build_in(work, order)

    def _build_in(self, work: Path, order: BuildOrder) -> str:
        policy = work / "policy.json"
        policy.write_text('{"default":[{"type":"insecureAcceptAnything"}]}')  # nothing is pulled: FROM scratch only
        base: list[str | Path] = [
            "buildah",
            "--root",
            work / "storage",
            "--runroot",
            work / "run",
            "--storage-driver",
            _storage_driver(),
        ]
        target = ["--target", order.target] if order.target else []
        run_program(
            [*base, "bud", "-q", "--signature-policy", policy, "--isolation", "chroot", "--format", "oci",
             "--timestamp", "0", *target, "-t", order.tag, "-f", order.containerfile, order.context]
        )  # fmt: skip
        compression = ["--compression-format", "zstd", "--compression-level", "3"] if order.zstd else []
        raw = work / "raw.tar"
        run_program([*base, "push", "-q", "--signature-policy", policy, *compression, order.tag, f"oci-archive:{raw}"])
        return name_archive(raw, order.archive, tag=order.tag)


class Docker:
    """The engine of a laptop or a CI service."""

    def build(self, order: BuildOrder) -> str:
        """Build by docker (see the Protocol)."""
        target = ["--target", order.target] if order.target else []
        environment = dict(os.environ) | {"SOURCE_DATE_EPOCH": "0", "DOCKER_BUILDKIT": "1"}
        run_program(
            [
                "docker",
                "build",
                "-q",
                "--provenance=false",
                *target,
                "-t",
                order.tag,
                "-f",
                order.containerfile,
                order.context,
            ],
            environment=environment,
        )
        with work_folder("docker") as work:
            raw = work / "raw.tar"
            run_program(["docker", "save", "-o", raw, order.tag])
            return name_archive(raw, order.archive, tag=order.tag)


def choose_builder(name: str = "") -> Builder:
    """Return the builder asked for, or Docker where its engine answers, else buildah.

    Raises:
        ImageBuildError: neither can work here; the message says what would help.
    """
    if name == "docker" or (not name and has_docker()):
        return Docker()
    if os.geteuid() != 0:
        raise ImageBuildError("No Docker engine answers and this is not root: start Docker, or build as root (buildah)")
    ensure_program("buildah", package="buildah")
    return Buildah()


def has_docker() -> bool:
    """Tell whether a Docker engine answers, not only whether the client is installed."""
    if shutil.which("docker") is None:
        return False
    try:
        done = subprocess.run(["docker", "info"], capture_output=True, timeout=10, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _storage_driver() -> str:
    """Overlay where this kernel and file system can, else plain copies, which are slower."""
    with work_folder("probe") as probe:
        for name in ("lower", "upper", "work", "merged"):
            (probe / name).mkdir()
        options = f"lowerdir={probe}/lower,upperdir={probe}/upper,workdir={probe}/work"
        mount = ["mount", "-t", "overlay", "overlay", "-o", options, f"{probe}/merged"]
        if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
            return "vfs"
        subprocess.run(["umount", f"{probe}/merged"], check=True)
        return "overlay"
