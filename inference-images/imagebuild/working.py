"""Folders for what a build needs while it runs: gone with it, even if it is killed."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imagebuild.store import cache_folder, locked


@contextmanager
def work_folder(name: str) -> Iterator[Path]:
    """Yield an empty folder, and remove it at the end; what killed builds left beside it goes first.

    Who has one holds a lock on it, which the kernel takes back from a process that is killed. Its age says nothing:
    a clock that was set leaps over days.
    """
    parent = cache_folder() / "building"
    with locked(cache_folder() / "building.lock", "work folders"):  # nobody meets a folder before it is locked
        parent.mkdir(exist_ok=True)
        for left in parent.iterdir():
            _remove_if_left(left)
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=parent))
        handle = _try_lock(folder)
    try:
        yield folder
    finally:
        _remove(folder)
        if handle is not None:
            os.close(handle)


def _remove_if_left(folder: Path) -> None:
    try:
        handle = _try_lock(folder)
    except FileNotFoundError:  # its builder is done with it just now
        return
    if handle is not None:
        _remove(folder)
        os.close(handle)


def _try_lock(folder: Path) -> int | None:
    """Return a handle that holds the folder, None where somebody else does."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return None
    return handle


def _remove(folder: Path) -> None:
    # overlay storage of buildah leaves a private mount of itself behind, and below it, where it was killed, another
    subprocess.run(
        ["umount", "--quiet", "--recursive", "--lazy", folder / "storage/overlay"], check=False, capture_output=True
    )
    shutil.rmtree(folder, ignore_errors=True)
