"""Everything below this folder needs real nodes, pods and packets."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.cluster.choose import new_cluster
from e2e.cluster.provider import Cluster, NodeSpec, Options

HERE = Path(__file__).parent
KEPT_NAME = "kept-e2e"
NODES = (
    NodeSpec(labels={"topology.kubernetes.io/zone": "a"}),
    NodeSpec(labels={"topology.kubernetes.io/zone": "b"}),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Two real nodes, of this session's own; with SEKISHO_KEEP_CLUSTER a cluster that stays for the next session."""
    if "SEKISHO_KEEP_CLUSTER" in os.environ:
        kept = new_cluster(Options(name=KEPT_NAME, nodes=NODES, kwok=True, audit_level="all", keep=True))
        if not kept.is_running():
            kept.start()
        yield kept
        return
    with new_cluster(Options(name=f"e2e-{os.getpid()}", nodes=NODES, kwok=True, audit_level="all")) as own:
        yield own


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A fresh namespace, deleted afterwards."""
    name = f"t-{uuid.uuid4().hex[:10]}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")
