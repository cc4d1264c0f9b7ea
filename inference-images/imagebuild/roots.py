"""Roots of images: Debian's Python, shared and kept between builds, and what each image adds to it."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from imagebuild import debian, site
from imagebuild.aging import drop_unused, half_of, lock_of
from imagebuild.store import cache_folder, hash_inputs, locked, say


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
    root.parent.mkdir(parents=True, exist_ok=True)
    _lay_python(root, files)
    fill(root)
    for folder in bytecode:
        site.compile_bytecode(root, folder)
    _set_modes(root)
    return {name: debian.version_of(file) for name, file in files.items()}


def _lay_python(root: Path, packages: dict[str, Path]) -> None:
    """Copy a root with only Debian packages in it, made once for every image that wants the same ones."""
    key = hash_inputs([file.name for file in packages.values()], [Path(debian.__file__), Path(site.__file__)])
    base = cache_folder() / "roots" / key
    with locked(lock_of(base), "Python root"):
        if not base.is_dir():
            _make_python(base, packages)
        os.utime(base)
        shutil.copytree(base, root, symlinks=True)


def _make_python(base: Path, packages: dict[str, Path]) -> None:
    drop_unused(path for path in base.parent.iterdir() if path.is_dir())
    say(f"root of {len(packages)} Debian packages: unpacking and compiling (about 10 s)")
    part = half_of(base)
    debian.remove(part)
    debian.lay_root(part, list(packages.values()))
    site.compile_bytecode(part, "usr/lib/python3.11")
    part.replace(base)


def _set_modes(root: Path) -> None:
    """Give each file and folder the mode of its kind, for the image's user is not their owner.

    What umask the builder has, and had when the sources were checked out, must not decide what the image can read.
    """
    for place, _, files in os.walk(root):
        for path in (Path(place), *(Path(place, name) for name in files)):
            if path.is_symlink():
                continue
            mode = stat.S_IMODE(path.stat().st_mode)
            usual = mode & stat.S_ISVTX | (0o755 if path.is_dir() or mode & stat.S_IXUSR else 0o644)
            if mode & stat.S_ISVTX:
                usual |= 0o777
            if mode != usual:
                path.chmod(usual)
