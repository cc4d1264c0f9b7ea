"""What is written down about clusters."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from e2e.cluster import netns, state
from e2e.cluster.__main__ import note_on, show_status
from e2e.cluster.addressing import NUMBERS, Addressing
from e2e.cluster.errors import ClusterError
from e2e.cluster.paths import make_run_dir
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


def write_fields(**changes: object) -> Path:
    """Write a record down and change it as another commit would have it; None takes a field away."""
    RECORD.write()
    file = RECORD.directory / "cluster.json"
    content = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
    return file


def test_a_record_that_lacks_what_is_needed_is_refused_with_its_file() -> None:
    file = write_fields(number=None)
    with pytest.raises(ClusterError) as refusal:
        state.Record.read("one")
    assert f"{file} was written by another version" in refusal.value.problem
    assert "remove cluster one with that version" in refusal.value.remedy


def test_a_record_of_another_commit_is_read_as_far_as_it_is_known() -> None:
    write_fields(colour="blue")
    assert state.Record.read("one") == RECORD


@pytest.mark.parametrize(
    ("owner", "has_networks", "words"),
    [
        (ProcessId(pid=1, started=1, boot="another"), True, "left by a crash"),
        (None, False, "not running: gone with the last start of the machine"),
        (None, True, ""),
    ],
)
def test_the_status_says_what_is_not_as_it_should_be(
    owner: ProcessId | None, has_networks: bool, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(netns, "NETNS_DIR", tmp_path / "netns")
    (tmp_path / "netns").mkdir()
    if has_networks:
        (tmp_path / "netns/sekisho1-cp").touch()
    note = note_on(replace(RECORD, owner=owner))
    assert words in note
    assert bool(note) == bool(words)


def test_namespaces_of_no_cluster_here_are_shown_with_what_removes_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(netns, "NETNS_DIR", tmp_path / "netns")
    (tmp_path / "netns").mkdir()
    for name in ("sekisho1-cp", "sekisho11-cp", "other"):
        (tmp_path / "netns" / name).touch()
    RECORD.write()
    show_status()
    said = capsys.readouterr().out
    assert "ip netns del sekisho11-cp" in said
    assert "del sekisho1-cp" not in said
    assert "other:" not in said


def test_the_folder_of_clusters_is_closed_to_others_even_if_it_was_open(cache: Path) -> None:
    (cache / "run").mkdir(mode=0o755)
    assert make_run_dir().stat().st_mode & 0o777 == 0o700


def test_a_cache_that_cannot_be_made_is_refused_with_the_variable_that_moves_it(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cache / "file").touch()
    monkeypatch.setenv("SEKISHO_CACHE", str(cache / "file"))
    with pytest.raises(ClusterError) as refusal:
        make_run_dir()
    assert refusal.value.problem == f"{cache}/file/run cannot be made: Not a directory"
    assert "SEKISHO_CACHE" in refusal.value.remedy
