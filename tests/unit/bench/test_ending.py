"""A run that is ended by a signal leaves nothing behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench.__main__ import main
from bench.harness import Benchmark, Count, Registry, always

REPO = Path(__file__).resolve().parents[3]
# A benchmark that holds something while it measures: a folder, and a process that would outlive it.
PROGRAM = """
import contextlib, os, signal, subprocess, sys, time
from pathlib import Path
from bench.ending import ending_in_order
from bench.harness import Benchmark, Count, run

held = Path(sys.argv[1])

@contextlib.contextmanager
def opened():
    with subprocess.Popen(["sleep", "600"]) as server:
        held.write_text(str(server.pid))
        try:
            yield Count(measure)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)  # who is impatient asks twice
            server.terminate()
            server.wait()
            held.unlink()

def measure():
    print("measures", flush=True)
    while True:
        time.sleep(0.05)  # short: a signal that comes just before a sleep begins does not end it

with ending_in_order():
    run(Benchmark("X1", "things", "none", 1.0, "max", opened), tell=print)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_a_benchmark_holds_is_removed_when_a_signal_ends_the_run(tmp_path: Path, number: signal.Signals) -> None:
    held = tmp_path / "held"
    command = [sys.executable, "-c", PROGRAM, str(held)]
    with subprocess.Popen(command, cwd=REPO, env={**os.environ, "PYTHONPATH": f"{REPO / 'operator'}:{REPO}"},
                          stdout=subprocess.PIPE, text=True) as run:  # fmt: skip
        try:
            assert run.stdout is not None
            assert run.stdout.readline() == "measures\n"
            server = int(held.read_text())
            run.send_signal(number)
            assert run.wait(timeout=60) == 128 + number
        finally:
            run.kill()
    assert not held.exists()
    assert not Path(f"/proc/{server}").exists()


def test_a_run_is_one_that_signals_end_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def count() -> float:
        seen.append([signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)])
        return 1.0

    registry = Registry()
    registry.register(Benchmark("X1", "things", "none", 1.0, "max", lambda: always(Count(count, repetitions=1))))
    monkeypatch.setattr("bench.__main__.build_registry", lambda: registry)
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    assert main([], build=tmp_path) == 0
    assert seen[0][0] is seen[0][1] is not None
    assert seen[0][0] not in before
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before
