"""Unpacked images, lent to whoever runs them at the time: unpacked once for all, and gone with the last of them."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imagebuild.oci import unpack_archive
from imagebuild.store import cache_folder, say


@contextmanager
def lend_root(archive: Path) -> Iterator[Path]:
    """Yield the root of an image; nobody may change it, for others run it too.

    Who has it holds a shared lock, which the kernel takes back from a process that is killed: what such a process
    leaves is removed by the next one that lends anything.
    """
    folder = unpacked_folder()
    folder.mkdir(parents=True, exist_ok=True)
    root, lock = folder / archive.stem, folder / f"{archive.stem}.lock"
    with lock.open("w") as handle:
        _take(handle.fileno(), archive, root)
        _sweep(folder)
        try:
            yield root
        finally:
            _give_back(handle.fileno(), root)


def unpacked_folder() -> Path:
    """Return where roots lie while they are lent."""
    return cache_folder() / "unpacked"


def _take(lock: int, archive: Path, root: Path) -> None:
    """Hold the shared lock of a root that is there."""
    while True:
        fcntl.flock(lock, fcntl.LOCK_SH)
        if root.is_dir():
            return
        fcntl.flock(lock, fcntl.LOCK_EX)  # the shared one is lost meanwhile, so look again
        if not root.is_dir():
            part = _part_of(root)
            shutil.rmtree(part, ignore_errors=True)
            say(f"{archive.stem}: unpacking")
            unpack_archive(archive, part)
            part.rename(root)


def _sweep(folder: Path) -> None:
    """Remove the roots that nobody has."""
    for path in folder.glob("*.lock"):
        root = path.with_suffix("")
        if root.is_dir() or _part_of(root).is_dir():
            with path.open("w") as handle:
                _give_back(handle.fileno(), root)


def _give_back(lock: int, root: Path) -> None:
    """Remove a root where nobody else has it; the lock ends with its file."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    part = _part_of(root)
    if root.is_dir():
        shutil.rmtree(part, ignore_errors=True)
        root.rename(part)  # half a root must not look like a whole one
    shutil.rmtree(part, ignore_errors=True)


def _part_of(root: Path) -> Path:
    return root.with_name(f"{root.name}.part")
