"""One gateway a test, between simulators that behave."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.gateway.house import House, build_house


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with build_house(tmp_path) as built:
        yield built
