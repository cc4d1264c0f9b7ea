"""Turn a Containerfile and a prepared root into an OCI archive: by buildah, or by a Docker engine where one answers."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from imagebuild.failure import ImageBuildError, ensure_program, run_program
from imagebuild.oci import name_archive
from imagebuild.store import cache_folder

_STALE_SECONDS = 24 * 3600


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
        work = Path(tempfile.mkdtemp(prefix="buildah-", dir=work_folder()))
        try:
            return self._build_in(work, order)
        finally:
            _remove_work(work)

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
        with tempfile.TemporaryDirectory(dir=work_folder()) as work:
            raw = Path(work) / "raw.tar"
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
    with tempfile.TemporaryDirectory(dir=work_folder()) as probe:
        for name in ("lower", "upper", "work", "merged"):
            (Path(probe) / name).mkdir()
        options = f"lowerdir={probe}/lower,upperdir={probe}/upper,workdir={probe}/work"
        mount = ["mount", "-t", "overlay", "overlay", "-o", options, f"{probe}/merged"]
        if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
            return "vfs"
        subprocess.run(["umount", f"{probe}/merged"], check=True)
        return "overlay"


def work_folder() -> Path:
    """Return the folder for what a build needs while it runs; what killed builds left there a day ago is removed."""
    folder = cache_folder() / "work"
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.iterdir():
        if time.time() - left.stat().st_mtime > _STALE_SECONDS:
            _remove_work(left)
    return folder


def _remove_work(work: Path) -> None:
    # overlay storage of buildah leaves a private mount of itself behind
    subprocess.run(["umount", "-q", work / "storage/overlay"], check=False, capture_output=True)
    shutil.rmtree(work, ignore_errors=True)
