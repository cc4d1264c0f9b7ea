"""Who makes a cluster, on a machine where a Docker engine answers."""

from dataclasses import replace
from pathlib import Path

import pytest

from e2e.cluster import state
from e2e.cluster.choose import default_provider, new_cluster, new_registry
from e2e.cluster.kind import KindCluster
from e2e.cluster.kind_registry import KindRegistry
from e2e.cluster.local import LocalCluster
from e2e.cluster.provider import Options
from e2e.cluster.registry import Registry

OPTIONS = Options(name="one")
RECORD = state.Record(name="one", number=1, api_port=16443, binaries="/cache/bin", control_plane_only=False)


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of our own, and a `docker` that answers as one with an engine does."""
    monkeypatch.setenv("SEKISHO_CACHE", str(tmp_path))
    docker = tmp_path / "docker"
    docker.write_text("#!/bin/sh\nexit 0\n")
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def test_where_an_engine_answers_kind_makes_the_nodes() -> None:
    assert isinstance(new_cluster(OPTIONS), KindCluster)


def test_where_none_answers_this_machine_makes_them(machine: Path) -> None:
    (machine / "docker").write_text("#!/bin/sh\nexit 1\n")
    assert isinstance(new_cluster(OPTIONS), LocalCluster)


def test_a_control_plane_alone_needs_no_engine() -> None:
    assert default_provider(replace(OPTIONS, control_plane_only=True)) == "local"


def test_a_cluster_that_this_machine_made_stays_in_reach() -> None:
    RECORD.write()
    assert isinstance(new_cluster(OPTIONS), LocalCluster)
    assert isinstance(new_cluster(replace(OPTIONS, name="other")), KindCluster)


def test_a_registry_is_of_the_clusters_own_kind() -> None:
    assert isinstance(new_registry(new_cluster(OPTIONS)), KindRegistry)
    RECORD.write()
    assert isinstance(new_registry(new_cluster(OPTIONS)), Registry)
