"""What is written down about clusters."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from e2e.cluster import state
from e2e.cluster.addressing import NUMBERS, Addressing
from e2e.cluster.errors import ClusterError
from e2e.cluster.processes import ProcessId

RECORD = state.Record(
    name="one",
    number=1,
    api_port=16443,
    binaries="/cache/bin",
    control_plane_only=False,
    nodes=(("n1", {"zone": "a"}), ("n2", {})),
    audit_level="all",
    api_server_flags=("--v=4",),
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SEKISHO_CACHE", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a b", "../etc", "a" * 41, "a/b"])
def test_a_name_that_could_leave_its_folder_or_break_a_command_is_refused(name: str) -> None:
    with pytest.raises(ClusterError, match="cannot name a cluster") as refusal:
        state.require_valid_name(name)
    assert "lower-case letters, digits and hyphens" in refusal.value.remedy


def test_a_record_reads_back_as_it_was_written() -> None:
    record = replace(RECORD, owner=state.current_owner())
    record.write()
    assert state.Record.read("one") == record
    assert state.records() == [record]


def test_a_cluster_of_nobody_is_not_read() -> None:
    assert state.Record.read("absent") is None
    assert state.records() == []


def test_a_cluster_is_an_orphan_only_when_its_owner_is_gone() -> None:
    gone = ProcessId(pid=os.getpid(), started=1, boot="another")
    assert replace(RECORD, owner=gone).is_orphan()
    assert not replace(RECORD, owner=state.current_owner()).is_orphan()
    assert not RECORD.is_orphan()


def test_numbers_that_are_written_down_are_not_given_again() -> None:
    with state.lock():
        number, _ = state.allocate(None)
        replace(RECORD, number=number).write()
        another, port = state.allocate(None)
    assert another != number
    assert port == Addressing(another).default_api_port


def test_no_number_left_is_refused_with_the_clusters_that_hold_them() -> None:
    for number in NUMBERS:
        replace(RECORD, name=f"c{number}", number=number).write()
    with pytest.raises(ClusterError) as refusal, state.lock():
        state.allocate(None)
    names = ", ".join(sorted(f"c{number}" for number in NUMBERS))
    assert f"{len(NUMBERS)} clusters run ({names})" in refusal.value.problem
    assert "down --name NAME" in refusal.value.remedy
