"""A run that is ended by a signal leaves nothing behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[3]
# A benchmark that holds something while it measures: a folder, and a process that would outlive it.
PROGRAM = """
import contextlib, os, signal, subprocess, sys, time
from pathlib import Path
from bench import __main__ as bench
from bench.harness import Benchmark, Count, Registry

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
        time.sleep(60)

def build():
    registry = Registry()
    registry.register(Benchmark("X1", "things", "none", 1.0, "max", opened))
    return registry

bench.build_registry = build
sys.exit(bench.main([], build=held.parent))
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
            assert run.wait(timeout=30) == 128 + number
        finally:
            run.kill()
    assert not held.exists()
    assert not Path(f"/proc/{server}").exists()
