"""The API server with sekisho's CRDs, and nothing else of sekisho."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.cluster.local import LocalCluster
from tests.integration.api.server import ApiServer, connect, install_crds
from tests.integration.conftest import start_own

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def control_plane() -> Iterator[LocalCluster]:
    yield from start_own("it-api")


@pytest.fixture(scope="module")
def server(control_plane: LocalCluster) -> Iterator[ApiServer]:
    with connect(control_plane.kubeconfig) as api_server:
        install_crds(api_server, REPOSITORY / "crds")
        yield api_server
