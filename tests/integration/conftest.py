"""Everything below this folder talks to a real API server, with controllers and a scheduler but without nodes."""

import os
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from e2e.cluster.local import LocalCluster
from e2e.cluster.namespaces import create_namespace, drop_namespace
from e2e.cluster.provider import Options

KEPT_NAME = "kept-integration"
OPTIONS = Options(name="", control_plane_only=True, audit_level="all")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.nodeid.startswith("tests/integration/"):
            item.add_marker(pytest.mark.integration)


def start_own(name: str, *, definitions: Path | None = None) -> Iterator[LocalCluster]:
    """Run a control plane for a folder that must not meet what others leave in theirs."""
    with LocalCluster(replace(OPTIONS, name=f"{name}-{os.getpid()}"), definitions=definitions) as cluster:
        yield cluster


def start_kept_or_own(name: str, *, definitions: Path | None = None) -> Iterator[LocalCluster]:
    """Run a control plane; with SEKISHO_KEEP_CLUSTER one that stays for the next session."""
    if "SEKISHO_KEEP_CLUSTER" not in os.environ:
        yield from start_own(name, definitions=definitions)
        return
    cluster = LocalCluster(replace(OPTIONS, name=KEPT_NAME, keep=True), definitions=definitions)
    if not cluster.is_running():
        cluster.start()
    yield cluster


@pytest.fixture(scope="package")
def control_plane() -> Iterator[LocalCluster]:
    """A control plane for the modules that come here one after the other."""
    yield from start_kept_or_own("it")


@pytest.fixture
def namespace(control_plane: LocalCluster) -> Iterator[str]:
    """A fresh namespace, deleted afterwards."""
    name = f"t-{uuid.uuid4().hex[:10]}"
    create_namespace(control_plane.kubeconfig, name)
    yield name
    drop_namespace(control_plane.kubeconfig, name)
