"""Folders that take minutes to fill, kept between builds of an image of which only something small has changed."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from imagebuild import debian
from imagebuild.store import cache_folder, hash_inputs, locked

_UNUSED_SECONDS = 7 * 24 * 3600


def fill_once(
    folder: Path, *, name: str, inputs: Sequence[Path], words: Sequence[str], fill: Callable[[], None]
) -> None:
    """Fill `folder` as `fill` does, by a copy where the same inputs were filled before.

    Args:
        folder: what `fill` writes to, and nowhere else.
        name: of the kept copies; the other copies of that name go once nobody has used them for a week.
        inputs: files and folders that decide the content.
        words: whatever else does.
        fill: fills it.
    """
    kept = cache_folder() / "kept" / f"{name}-{hash_inputs(words, inputs)}"
    with locked(kept.with_suffix(".lock"), name):
        if kept.is_dir():
            os.utime(kept)
            shutil.copytree(kept, folder, symlinks=True, dirs_exist_ok=True)
            return
        fill()
        part = kept.with_suffix(".part")
        debian.remove(part)
        shutil.copytree(folder, part, symlinks=True)
        os.utime(part)
        part.replace(kept)
        _drop_unused(kept)


def _drop_unused(kept: Path) -> None:
    stem = kept.name.rpartition("-")[0]
    for other in kept.parent.glob(f"{stem}-*"):
        if other.is_dir() and other != kept and time.time() - other.stat().st_mtime > _UNUSED_SECONDS:
            debian.remove(other)
