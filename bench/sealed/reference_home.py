"""A virtual environment with the libraries that sealed weights are compared with, made once into the cache."""

import ctypes.util
import shutil
import sys
from pathlib import Path
from typing import Final

from bench.harness import WrongAnswerError

_REPO: Final = Path(__file__).resolve().parents[2]
_IMAGES: Final = _REPO / "inference-images"
_LOCK: Final = Path(__file__).with_name("requirements.txt")


def ensure_references() -> Path:
    """Return the Python of the environment; made where it is missing, about a minute and 600 MB fetched.

    Raises:
        WrongAnswerError: A system library that a reference needs is missing.
    """
    if str(_IMAGES) not in sys.path:
        sys.path.append(str(_IMAGES))  # the folder's name is no package name; last, so that it shadows nothing
    from imagebuild.failure import run_program  # noqa: PLC0415
    from imagebuild.site import find_uv  # noqa: PLC0415
    from imagebuild.store import cache_folder, hash_inputs, locked, say  # noqa: PLC0415

    if ctypes.util.find_library("sodium") is None:
        raise WrongAnswerError("tensorizer's encryption needs libsodium: apt-get install libsodium23")
    home = cache_folder() / "bench" / f"weights-{hash_inputs([sys.version], [_LOCK, _IMAGES / 'vllm/cpu_torch.py'])}"
    with locked(home.parent / "weights.lock", "reference loaders"):
        if not (home / ".complete").is_file():
            say("reference loaders: installing (about 1 min, 600 MB fetched the first time)")
            shutil.rmtree(home, ignore_errors=True)
            run_program([*find_uv(), "venv", "-q", "--python", sys.executable, home])
            # The lock leaves out CUDA's libraries on purpose.
            run_program(
                [*find_uv(), "pip", "install", "-q", "--no-deps", "--require-hashes", "--link-mode", "copy",
                 "--python", home / "bin/python", "-r", _LOCK]
            )  # fmt: skip
            _stub_cuda(home)
            (home / ".complete").touch()
    return home / "bin/python"


def _stub_cuda(home: Path) -> None:
    from vllm.cpu_torch import stub_cuda  # noqa: PLC0415 - the folder of the image, not the engine

    stub_cuda(next(home.glob("lib/python3*/site-packages/torch")), Path("/"))
