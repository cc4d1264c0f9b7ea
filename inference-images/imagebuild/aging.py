"""Folders that are made once and kept: those that nobody used for long go, and never is half of one taken for whole."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

from imagebuild.debian import remove
from imagebuild.store import locked_if_free

_UNUSED_SECONDS = 7 * 24 * 3600


def half_of(folder: Path) -> Path:
    """Return where a folder lies while it is made or removed."""
    return folder.with_suffix(".part")


def lock_of(folder: Path) -> Path:
    """Return the lock of whoever makes, uses or removes a folder."""
    return folder.with_suffix(".lock")


def drop_unused(folders: Iterable[Path]) -> None:
    """Remove the folders that nobody used for a week, and halves that killed processes left, but for those in use.

    The age of a half says nothing: it has the date of what was unpacked last, which may be years ago.
    """
    for folder in folders:
        with locked_if_free(lock_of(folder)) as is_mine:
            if is_mine and folder.is_dir() and (folder == half_of(folder) or _is_old(folder)):
                _remove(folder)


def _is_old(folder: Path) -> bool:
    return time.time() - folder.stat().st_mtime > _UNUSED_SECONDS


def _remove(folder: Path) -> None:
    half = half_of(folder)
    if folder != half:
        remove(half)
        folder.rename(half)  # who is killed on the way leaves nothing that looks whole
    remove(half)
