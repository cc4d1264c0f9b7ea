"""Processes are started to outlive us and ended without ever hitting a stranger."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from e2e.cluster.processes import ProcessId, end, poll, spawn, tail


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[ProcessId]:
    identity = spawn(("sleep", "1000"), log=tmp_path / "log", pid_file=tmp_path / "pid")
    yield identity
    identity.write(tmp_path / "cleanup")
    end(tmp_path / "cleanup")


def test_a_process_that_stays_holds_nothing_that_whoever_started_us_gave_us(tmp_path: Path) -> None:
    given = os.open(tmp_path / "lock", os.O_CREAT | os.O_WRONLY)
    os.set_inheritable(given, True)
    identity = spawn(("sleep", "1000"), log=tmp_path / "log", pid_file=tmp_path / "pid")
    try:
        # Until it runs itself, its loader has the libraries open, one after the other.
        assert poll(lambda: _held(identity) == {os.devnull, str(tmp_path / "log")}, seconds=60), _held(identity)
    finally:
        end(tmp_path / "pid")
        os.close(given)


def _held(process: ProcessId) -> set[str]:
    """Return what a process has open; what it closes meanwhile is left out."""
    held = set[str]()
    for entry in Path(f"/proc/{process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            held.add(str(entry.readlink()))
    return held


def test_a_pid_file_of_another_start_time_does_not_end_the_process_that_has_its_pid(
    sleeper: ProcessId, tmp_path: Path
) -> None:
    replace(sleeper, started=sleeper.started - 1).write(tmp_path / "stale")
    end(tmp_path / "stale")
    assert sleeper.is_alive()
    assert not (tmp_path / "stale").exists()


def test_a_pid_file_of_another_boot_does_not_end_the_process_that_has_its_pid(
    sleeper: ProcessId, tmp_path: Path
) -> None:
    replace(sleeper, boot="another").write(tmp_path / "stale")
    end(tmp_path / "stale")
    assert sleeper.is_alive()


def test_a_process_of_its_pid_file_is_ended_and_reaped(sleeper: ProcessId, tmp_path: Path) -> None:
    end(tmp_path / "pid")
    assert not sleeper.is_alive()
    assert not Path(f"/proc/{sleeper.pid}").exists()


def test_a_process_that_ignores_the_first_signal_is_killed(tmp_path: Path) -> None:
    script = "trap '' TERM; echo ready; while :; do sleep 0.05; done"
    stubborn = spawn(("sh", "-c", script), log=tmp_path / "log", pid_file=tmp_path / "pid")
    assert poll(lambda: "ready" in (tmp_path / "log").read_text(), seconds=60)
    end(tmp_path / "pid", grace_seconds=0.2)
    assert not stubborn.is_alive()


def test_an_ended_process_that_nobody_reaped_is_not_alive(sleeper: ProcessId) -> None:
    os.kill(sleeper.pid, signal.SIGKILL)
    assert poll(lambda: ProcessId.of(sleeper.pid) is None, seconds=60)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}'])
def test_a_pid_file_that_a_crash_left_unfinished_names_nobody(tmp_path: Path, content: str) -> None:
    (tmp_path / "pid").write_text(content)
    assert ProcessId.read(tmp_path / "pid") is None
    end(tmp_path / "pid")
    assert not (tmp_path / "pid").exists()


def test_a_process_runs_in_a_session_of_its_own_and_writes_to_its_log(tmp_path: Path) -> None:
    identity = spawn(
        ("sh", "-c", "echo out; echo err >&2; sleep 1000"), log=tmp_path / "log", pid_file=tmp_path / "pid"
    )
    assert os.getsid(identity.pid) == identity.pid
    assert poll(lambda: tail(tmp_path / "log") == "out\nerr", seconds=60)
    end(tmp_path / "pid")


def test_the_tail_of_a_log_that_is_not_there_says_so(tmp_path: Path) -> None:
    assert tail(tmp_path / "none") == "(no log)"
