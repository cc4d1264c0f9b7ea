"""Fixtures of the engines' smoke tests."""

import os
import shutil
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
if str(HERE) not in sys.path:
    sys.path.append(str(HERE))  # the folder's name is no package name; last, so that it shadows nothing


@pytest.fixture(scope="session")
def need_root() -> None:
    """Running an image needs mounts of its own."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root and unshare to run an image")
