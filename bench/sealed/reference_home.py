"""A virtual environment with the libraries that sealed weights are compared with, made once into the cache."""

import ctypes.util
from pathlib import Path
from typing import Final

from bench.harness import WrongAnswerError
from bench.homes import IMAGES, ensure_home

_LOCK: Final = Path(__file__).with_name("requirements.txt")


def ensure_references() -> Path:
    """Return the Python of the environment; made where it is missing, about a minute and 600 MB fetched.

    Raises:
        WrongAnswerError: A system library that a reference needs is missing.
    """
    if ctypes.util.find_library("sodium") is None:
        raise WrongAnswerError("tensorizer's encryption needs libsodium: apt-get install libsodium23")
    # The lock leaves out CUDA's libraries on purpose.
    return ensure_home(
        "weights", _LOCK, who="reference loaders", about="about 1 min, 600 MB fetched",
        inputs=[IMAGES / "vllm/cpu_torch.py"], finish=_stub_cuda,
    )  # fmt: skip


def _stub_cuda(home: Path) -> None:
    from vllm.cpu_torch import stub_cuda  # noqa: PLC0415 - the folder of the image, not the engine

    stub_cuda(next(home.glob("lib/python3*/site-packages/torch")), Path("/"))
