"""Whose a cluster is while it starts, and afterwards. Nothing is started here."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from e2e.cluster import host, local, state
from e2e.cluster.control_plane import ControlPlane
from e2e.cluster.errors import ClusterError
from e2e.cluster.local import LocalCluster
from e2e.cluster.processes import ProcessId
from e2e.cluster.provider import Options

OPTIONS = Options(name="one", control_plane_only=True, keep=True)
Starting = Callable[[Callable[[], None]], LocalCluster]


@pytest.fixture
def starting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Starting:
    """Return a cluster whose control plane does as told where it would start."""
    monkeypatch.setenv("SEKISHO_CACHE", str(tmp_path))
    monkeypatch.delenv("SEKISHO_KEEP_CLUSTER", raising=False)
    monkeypatch.setattr(host, "check_control_plane", lambda _: None)
    monkeypatch.setattr(local, "ensure_binaries", lambda _: tmp_path / "bin")

    def build(act: Callable[[], None]) -> LocalCluster:
        monkeypatch.setattr(ControlPlane, "start", lambda *_, **__: act())
        return LocalCluster(OPTIONS)

    return build


def somebody() -> ProcessId:
    """Return a process that lives and is not this one."""
    found = ProcessId.of(os.getppid())
    assert found is not None
    return found


def test_a_cluster_that_another_process_starts_just_now_is_not_replaced(starting: Starting) -> None:
    cluster = starting(lambda: pytest.fail("it started all the same"))
    state.Record("one", 15, 16457, "/none", control_plane_only=True, owner=somebody()).write()
    with pytest.raises(ClusterError) as refusal:
        cluster.start()
    assert refusal.value.problem == f"a cluster called one runs already for process {os.getppid()}"
    assert "down --name one" in refusal.value.remedy
    assert state.Record.read("one") is not None


def test_a_cluster_that_is_to_stay_is_an_orphan_where_it_was_killed_while_it_started(starting: Starting) -> None:
    seen: list[ProcessId | None] = []

    def look() -> None:
        record = state.Record.read("one")
        assert record is not None
        seen.append(record.owner)

    starting(look).start()
    assert seen == [state.current_owner()]
    record = state.Record.read("one")
    assert record is not None
    assert record.owner is None


def test_a_start_that_fails_removes_what_it_began(starting: Starting) -> None:
    def fail() -> None:
        raise KeyboardInterrupt

    cluster = starting(fail)
    with pytest.raises(KeyboardInterrupt):
        cluster.start()
    assert state.Record.read("one") is None
    assert not cluster.directory.exists()


def test_a_start_that_fails_does_not_remove_what_another_process_has_under_its_name_by_now(starting: Starting) -> None:
    def replaced() -> None:
        record = state.Record.read("one")
        assert record is not None
        replace(record, owner=somebody()).write()
        raise ClusterError("its processes are gone", remedy="none")

    with pytest.raises(ClusterError, match="its processes are gone"):
        starting(replaced).start()
    record = state.Record.read("one")
    assert record is not None
    assert record.owner == somebody()


def test_a_failure_is_kept_to_be_looked_at_where_that_is_asked_for(
    starting: Starting, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise ClusterError("it broke", remedy="none")

    cluster = starting(fail)
    monkeypatch.setenv("SEKISHO_KEEP_CLUSTER", "1")
    with pytest.raises(ClusterError, match="it broke"):
        cluster.start()
    record = state.Record.read("one")
    assert record is not None
    assert record.owner is None
