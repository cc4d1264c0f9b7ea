"""The API server with sekisho's CRDs, and nothing else of sekisho."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.cluster.local import LocalCluster
from tests.integration.api.server import ApiServer, connect, install_crds

REPOSITORY = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def server(control_plane: LocalCluster) -> Iterator[ApiServer]:
    with connect(control_plane.kubeconfig) as api_server:
        install_crds(api_server, REPOSITORY / "crds")
        yield api_server
