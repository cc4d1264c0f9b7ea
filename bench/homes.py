"""Virtual environments with the libraries that the product is compared with, each made once into the cache."""

import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

IMAGES: Final = Path(__file__).resolve().parents[1] / "inference-images"


def ensure_home(
    name: str,
    lock: Path,
    *,
    who: str,
    about: str,
    inputs: Sequence[Path] = (),
    finish: Callable[[Path], None] | None = None,
) -> Path:
    """Return the Python of an environment; made where it is missing.

    Args:
        name: Of its folder in the cache.
        lock: Its packages, with hashes.
        who: What is installed, for people.
        about: How long that takes and what is fetched, for people.
        inputs: What else it is made from.
        finish: What is done with its folder once the packages are there.
    """
    if str(IMAGES) not in sys.path:
        sys.path.append(str(IMAGES))  # the folder's name is no package name; last, so that it shadows nothing
    from imagebuild.failure import run_program  # noqa: PLC0415
    from imagebuild.site import find_uv  # noqa: PLC0415
    from imagebuild.store import cache_folder, hash_inputs, locked, say  # noqa: PLC0415

    home = cache_folder() / "bench" / f"{name}-{hash_inputs([sys.version], [lock, *inputs])}"
    with locked(home.parent / f"{name}.lock", who):
        if not (home / ".complete").is_file():
            say(f"{who}: installing ({about} the first time)")
            shutil.rmtree(home, ignore_errors=True)
            run_program([*find_uv(), "venv", "-q", "--python", sys.executable, home])
            run_program(
                [*find_uv(), "pip", "install", "-q", "--no-deps", "--require-hashes", "--link-mode", "copy",
                 "--python", home / "bin/python", "-r", lock]
            )  # fmt: skip
            if finish is not None:
                finish(home)
            (home / ".complete").touch()
    return home / "bin/python"
