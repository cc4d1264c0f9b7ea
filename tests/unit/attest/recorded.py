"""Evidence that was recorded on real hardware; it is no part of the project; what needs it is skipped without."""

from pathlib import Path

import pytest


def read_recorded(name: str) -> bytes:
    """Return a recorded file, or skip the test that asks for it."""
    for parent in Path(__file__).parents:
        path = parent.parent / "shared" / "vectors" / name
        if path.is_file():
            return path.read_bytes()
    pytest.skip(f"recorded evidence ../shared/vectors/{name} is not here")
