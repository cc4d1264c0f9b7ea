"""What nodes begin with: images unpacked once into a stock, and linked from there into the containerd of each node."""

import errno
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from e2e.cluster.errors import ClusterError
from e2e.cluster.netns import run
from e2e.cluster.node_config import CONTAINERD_SOCKET, UNUSED_PLUGINS
from e2e.cluster.oci import is_undamaged, read_reference, split_name
from e2e.cluster.paths import SOURCES, cache_dir
from e2e.cluster.processes import tail
from e2e.cluster.progress import Report

INDEX = "stocked"
KEPT_STOCKS = 3
BUILDER = SOURCES / "stock_init.py"
# What containerd writes once and never again: others may have the same file. All else is each node's own.
UNCHANGING = (
    "io.containerd.content.v1.content/blobs",
    "io.containerd.snapshotter.v1.overlayfs/snapshots",
)


def lay_stock(archives: Sequence[Path], folders: Sequence[Path], report: Report) -> None:
    """Give each folder, the root of a containerd that does not run yet, the images of these archives.

    The first who asks unpacks them, once for all; who asks meanwhile waits for it.
    """
    images = [_describe(archive) for archive in archives]
    stock = cache_dir() / "stocks" / _key_of(images)
    with _alone_with(stock):
        if not stock.is_dir():
            report(f"unpacking {len(images)} images, once for every node to come")
            _fill(stock, images)
        os.utime(stock)
        for folder in folders:
            link_stock(stock, folder)
    _sweep(stock.parent)


def is_stocked(folder: Path, name: str, by_digest: str) -> bool:
    """Whether a containerd began with an image, under this name and by this digest."""
    try:
        return f"{name} {by_digest}" in (folder / INDEX).read_text().splitlines()
    except FileNotFoundError:
        return False


def link_stock(stock: Path, folder: Path) -> None:
    """Copy a stock but for what nobody changes: that is linked, and costs neither disk nor memory."""
    folder.mkdir(parents=True, exist_ok=True)
    run(("cp", "--archive", "--link", f"{stock}/.", str(folder)))
    for place, folders, files in os.walk(folder):
        here = Path(place)
        folders[:] = [name for name in folders if str((here / name).relative_to(folder)) not in UNCHANGING]
        for name in files:
            (here / name).unlink()
            shutil.copy2(stock / here.relative_to(folder) / name, here / name)


def render_containerd() -> str:
    """Return the configuration (TOML) of a containerd that only takes images in."""
    return f"""version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = {json.dumps(("io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt", *UNUSED_PLUGINS))}
[grpc]
  address = "{CONTAINERD_SOCKET}"
"""


def import_commands(archive: Path, name: str, by_digest: str) -> list[list[str]]:
    """Return what imports an archive under its tag and under its digest, so that pods may name either."""
    ctr = ("ctr", "--namespace", "k8s.io", "images")
    take = [*ctr, "import", "--digests", "--base-name", split_name(name)[0], str(archive)]
    return [take, [*ctr, "tag", "--force", by_digest, name]]


def _fill(stock: Path, images: Sequence[tuple[Path, str, str]]) -> None:
    """Let a containerd of its own unpack the images; what a killed one left begins anew."""
    part = stock.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    root = part / "root"
    root.mkdir(parents=True)
    configuration, task, log = part / "containerd.toml", part / "task.json", part / "log"
    configuration.write_text(render_containerd())
    commands = [command for image in images for command in import_commands(*image)]
    task.write_text(json.dumps({"root": str(root), "configuration": str(configuration), "commands": commands}))
    alone = ("unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child", "--mount-proc")
    with log.open("wb") as output:
        done = subprocess.run(
            # Who waits here may be killed: then this ends too, and whatever runs below it.
            ["setpriv", "--pdeathsig", "KILL", *alone, sys.executable, "-I", str(BUILDER), str(task)],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False,
        )  # fmt: skip
    if done.returncode != 0:
        shutil.rmtree(root, ignore_errors=True)
        raise ClusterError(f"images cannot be unpacked; the last words:\n{tail(log)}", remedy=_find_remedy(images, log))
    (root / INDEX).write_text("".join(f"{name} {by_digest}\n" for _, name, by_digest in images))
    os.utime(root)
    root.rename(stock)
    shutil.rmtree(part)


def _find_remedy(images: Sequence[tuple[Path, str, str]], log: Path) -> str:
    if os.strerror(errno.ENOSPC).lower() in log.read_text(errors="replace").lower():
        return "make room, or set SEKISHO_CACHE to a directory on a larger disk"
    damaged = [str(archive) for archive, _, _ in images if not is_undamaged(archive)]
    return f"remove {' '.join(damaged)}, which is damaged, and try again" if damaged else f"read {log}"


def _describe(archive: Path) -> tuple[Path, str, str]:
    reference = read_reference(archive)
    if reference.name is None:
        raise ClusterError(f"{archive} does not say what its image is called", remedy="load it under a name")
    return archive, reference.name, reference.by_digest(reference.name)


def _key_of(images: Sequence[tuple[Path, str, str]]) -> str:
    how = Path(__file__).read_bytes() + BUILDER.read_bytes()
    return hashlib.sha256(repr([image[1:] for image in images]).encode() + how).hexdigest()[:12]


def _sweep(stocks: Path) -> None:
    """Remove the stocks that were not used of late, and halves that killed processes left, but for those in use."""
    whole = sorted((path for path in stocks.iterdir() if _is_stock(path)), key=lambda path: path.stat().st_mtime)
    for old in [*whole[:-KEPT_STOCKS], *stocks.glob("*.part")]:
        stock = old.with_suffix("")
        with suppress(BlockingIOError), _alone_with(stock, how=fcntl.LOCK_NB):
            gone = stock.with_suffix(".part")
            if old == stock:
                shutil.rmtree(gone, ignore_errors=True)
                stock.rename(gone)  # half a stock must not look like a whole one
            shutil.rmtree(gone, ignore_errors=True)


def _is_stock(path: Path) -> bool:
    return path.is_dir() and not path.suffix


@contextmanager
def _alone_with(stock: Path, *, how: int = 0) -> Iterator[None]:
    """Wait until nobody else makes, links or removes this stock.

    Raises:
        BlockingIOError: Somebody does, and `how` is not to wait for it.
    """
    stock.parent.mkdir(parents=True, exist_ok=True)
    with stock.with_suffix(".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX | how)
        yield
