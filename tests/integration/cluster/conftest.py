"""A control plane without anybody's nodes or definitions."""

from collections.abc import Iterator

import pytest

from e2e.cluster.local import LocalCluster
from tests.integration.conftest import start_own


@pytest.fixture(scope="module")
def control_plane() -> Iterator[LocalCluster]:
    yield from start_own("it-cluster")
