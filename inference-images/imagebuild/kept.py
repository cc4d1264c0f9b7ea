"""Folders that take minutes to fill, kept between builds of an image of which only something small has changed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from imagebuild import debian
from imagebuild.aging import drop_unused, half_of, lock_of
from imagebuild.store import cache_folder, hash_inputs, locked


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
    with locked(lock_of(kept), name):
        if kept.is_dir():
            os.utime(kept)
            shutil.copytree(kept, folder, symlinks=True, dirs_exist_ok=True)
            return
        fill()
        part = half_of(kept)
        debian.remove(part)
        shutil.copytree(folder, part, symlinks=True)
        os.utime(part)
        part.replace(kept)
        drop_unused(path for path in kept.parent.glob(f"{name}-*") if path.is_dir())
