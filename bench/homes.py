"""Virtual environments with the libraries that the product is compared with, each made once into the cache."""

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Final

IMAGES: Final = Path(__file__).resolve().parents[1] / "inference-images"
# What the product's images have: Debian's, where this machine has it and it takes the packages that are installed here.
_OF_IMAGES: Final = Path("/usr/bin/python3.11")


@cache
def find_python() -> str:
    """Return the interpreter of the product's images where this machine has all of it, and our own where it has not."""
    if sys.version_info[:2] != (3, 11) or not os.access(_OF_IMAGES, os.X_OK):
        return sys.executable
    # The least of Debian's packages has no TLS.
    tried = subprocess.run([_OF_IMAGES, "-c", "import asyncio, json, ssl"], stderr=subprocess.DEVNULL, check=False)
    return sys.executable if tried.returncode else str(_OF_IMAGES)


def find_packages() -> list[str]:
    """Return what another interpreter of our version has to be told to find all that we import but its own library."""
    library = Path(sysconfig.get_path("stdlib"))
    own = {library, library / "lib-dynload", library.with_name("python311.zip")}
    return [folder for folder in sys.path if Path(folder) not in own]


def ensure_home(
    name: str,
    lock: Path,
    *,
    who: str,
    about: str,
    inputs: Sequence[Path] = (),
    finish: Callable[[Path], None] | None = None,
    python: str = sys.executable,
) -> Path:
    """Return the Python of an environment; made where it is missing.

    Args:
        name: Of its folder in the cache.
        lock: Its packages, with hashes.
        who: What is installed, for people.
        about: How long that takes and what is fetched, for people.
        inputs: What else it is made from.
        finish: What is done with its folder once the packages are there.
        python: Its interpreter.
    """
    if str(IMAGES) not in sys.path:
        sys.path.append(str(IMAGES))  # the folder's name is no package name; last, so that it shadows nothing
    from imagebuild.failure import run_program  # noqa: PLC0415
    from imagebuild.site import find_uv  # noqa: PLC0415
    from imagebuild.store import cache_folder, hash_inputs, locked, say  # noqa: PLC0415

    home = cache_folder() / "bench" / f"{name}-{hash_inputs(_name(python), [lock, *inputs])}"
    with locked(home.parent / f"{name}.lock", who):
        if not (home / ".complete").is_file():
            say(f"{who}: installing ({about} the first time)")
            shutil.rmtree(home, ignore_errors=True)
            run_program([*find_uv(), "venv", "-q", "--python", python, home])
            run_program(
                [*find_uv(), "pip", "install", "-q", "--no-deps", "--require-hashes", "--link-mode", "copy",
                 "--python", home / "bin/python", "-r", lock]
            )  # fmt: skip
            if finish is not None:
                finish(home)
            (home / ".complete").touch()
    return home / "bin/python"


def _name(python: str) -> Sequence[str]:
    return [sys.version] if python == sys.executable else [sys.version, python]
