"""Unpacked images, lent to whoever runs them at the time: unpacked once for all, and gone with the last of them."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
        with _alone_with(root):
            fcntl.flock(handle, fcntl.LOCK_SH)
            _unpack(archive, root)
        _sweep(folder, but=root)
        try:
            yield root
        finally:
            with _alone_with(root):
                _give_back(handle.fileno(), root)


def unpacked_folder() -> Path:
    """Return where roots lie while they are lent."""
    return cache_folder() / "unpacked"


@contextmanager
def _alone_with(root: Path, *, how: int = 0) -> Iterator[None]:
    """Wait until nobody else makes or removes this root: a lock that changes its kind lets others in between.

    Raises:
        BlockingIOError: Somebody does, and `how` is not to wait for it.
    """
    with root.with_name(f"{root.name}.door").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX | how)
        yield


def _unpack(archive: Path, root: Path) -> None:
    if root.is_dir():
        return
    part = _part_of(root)
    shutil.rmtree(part, ignore_errors=True)
    say(f"{archive.stem}: unpacking")
    unpack_archive(archive, part)
    part.rename(root)


def _sweep(folder: Path, *, but: Path) -> None:
    """Remove the other roots that nobody has."""
    for path in folder.glob("*.lock"):
        root = path.with_suffix("")
        if root != but and (root.is_dir() or _part_of(root).is_dir()):
            with suppress(BlockingIOError), _alone_with(root, how=fcntl.LOCK_NB), path.open("w") as handle:
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
