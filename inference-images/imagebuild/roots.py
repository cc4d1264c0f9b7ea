"""Roots of images: Debian's Python, shared and kept between builds, and what each image adds to it."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from imagebuild import debian, site
from imagebuild.store import cache_folder, hash_inputs, locked, say

_UNUSED_ROOT_SECONDS = 7 * 24 * 3600


def prepare_root(
    root: Path, *, packages: Sequence[str], fill: Callable[[Path], None], bytecode: Sequence[str] = ("app",)
) -> dict[str, str]:
    """Make a root of Debian packages and what the image adds; return the Debian versions in it.

    Args:
        root: the root to make.
        packages: names of Debian packages.
        fill: adds the rest.
        bytecode: folders whose Python is compiled at the end.
    """
    files = debian.fetch_packages(packages)
    base = _python_base(files)
    root.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(base, root, symlinks=True)
    fill(root)
    for folder in bytecode:
        site.compile_bytecode(root, folder)
    return {name: debian.version_of(file) for name, file in files.items()}


def _python_base(packages: dict[str, Path]) -> Path:
    """Return a root with only Debian packages in it, made once for every image that wants the same ones."""
    key = hash_inputs([file.name for file in packages.values()], [Path(debian.__file__), Path(site.__file__)])
    base = cache_folder() / "roots" / key
    with locked(base.with_suffix(".lock"), "Python root"):
        if base.is_dir():
            os.utime(base)
            return base
        _drop_unused_roots(base.parent)
        say(f"root of {len(packages)} Debian packages: unpacking and compiling (about 10 s)")
        part = base.with_suffix(".part")
        debian.remove(part)
        debian.lay_root(part, list(packages.values()))
        site.compile_bytecode(part, "usr/lib/python3.11")
        os.utime(part)
        part.replace(base)
    return base


def _drop_unused_roots(folder: Path) -> None:
    for root in folder.iterdir():
        if root.is_dir() and time.time() - root.stat().st_mtime > _UNUSED_ROOT_SECONDS:
            debian.remove(root)
