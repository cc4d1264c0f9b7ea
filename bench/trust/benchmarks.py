"""T1: all nodes of a large cluster attest anew at once, as after a restart of the trust controller."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.harness import Benchmark, Count, Registry, WrongAnswerError
from bench.trust.fleet import FleetNode, attest_all, count_attested, make_node, spell_policy
from tests.unit.depot.parts import build_keys

NODES = 5000
_TICKS = os.sysconf("SC_CLK_TCK")


def add_to(registry: Registry) -> None:
    """Register the benchmark of node trust."""
    registry.register(
        Benchmark(
            id="T1",
            what="5,000 nodes re-attest at once: ms of CPU a node",
            reference="one TLS handshake, one quote, one patch each",
            goal=20,
            direction="max",
            open=open_fleet,
        )
    )


@contextmanager
def open_fleet() -> Iterator[Count]:
    """Start the two processes and make the nodes."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-trust-")))
        nodes = [make_node(number) for number in range(NODES)]
        api = start(stack, "api", folder, {"nodes": {node.name: node.ak_name for node in nodes},
                                           "policy": spell_policy()})  # fmt: skip
        keys = build_keys(folder / "tls", "127.0.0.1")
        (folder / "collateral").mkdir()
        how = {"api": api[1], "tls": str(folder / "tls"), "collateral": str(folder / "collateral")}
        trust = start(stack, "trust", folder, how)
        walls: list[float] = []
        yield Count(
            lambda: measure(nodes, api[1], trust, str(keys.ca), walls),
            repetitions=3,
            notes=lambda: (
                f"{NODES:,} nodes in {min(walls):.1f} to {max(walls):.1f} s, {NODES / min(walls):.0f} a second"
            ),
        )


def measure(
    nodes: list[FleetNode], api: str, trust: tuple["subprocess.Popen[str]", str], ca: str, walls: list[float]
) -> float:
    """Have all attested; returns milliseconds of the controller's CPU for each."""
    process, port = trust
    before, started = cpu_seconds(process.pid), time.monotonic()
    asyncio.run(attest_all(nodes, int(port), ca))
    walls.append(time.monotonic() - started)
    used = cpu_seconds(process.pid) - before
    with urllib.request.urlopen(f"{api}/api/v1/nodes", timeout=60) as answer:
        found = count_attested(json.load(answer)["items"])
    if found != len(nodes):
        raise WrongAnswerError(f"{found} of {len(nodes)} nodes carry the label")
    return used * 1000 / len(nodes)


def start(stack: ExitStack, what: str, folder: Path, how: object) -> tuple["subprocess.Popen[str]", str]:
    """Start a process; returns it and where it serves."""
    file = folder / f"{what}.json"
    file.write_text(json.dumps(how))
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.trust.processes", what, str(file)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    stack.callback(process.stdout.close)
    stack.callback(process.wait, 30)
    stack.callback(process.stdin.close)
    where = process.stdout.readline().strip()
    if not where:
        raise WrongAnswerError(f"the process {what} did not start")
    return process, where


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
