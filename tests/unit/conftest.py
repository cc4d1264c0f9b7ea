"""What holds for every unit test."""

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left_open() -> Iterator[None]:
    """Find what a module's tests left open, and let that fail there and not in a module that is not to blame."""
    yield
    gc.collect()
    gc.freeze()  # what stays is not looked through again after each module
