"""What the llama.cpp image is made of."""

from __future__ import annotations

import shutil
from pathlib import Path

from imagebuild import debian, site
from imagebuild.catalog import Image
from imagebuild.failure import ensure_program, run_program

_LIBRARIES = ("libstdc++6", "libgomp1")
"""What the wheel's extension links to and does not carry."""


def describe(folder: Path) -> Image:
    """Return the image of the engine in this folder."""
    lock, entry = folder / "requirements.txt", folder / "serve.py"

    def fill(root: Path) -> None:
        site.install_wheels(root, lock)
        ensure_program("strip", package="binutils")
        for library in (root / site.SITE / "xllamacpp").glob("*.so"):
            # 106 MB to 25: the wheel ships its symbols
            run_program(["strip", "--strip-unneeded", library])
        shutil.copyfile(entry, root / "app/serve.py")

    return Image(
        name="llamacpp",
        containerfile=folder / "Containerfile",
        debian=(*debian.PYTHON, *_LIBRARIES),
        inputs=(lock, entry, folder / "image.py"),
        fill=fill,
    )
