"""G7: requests a second through the gateway with the ledger on, against the same gateway with nothing recorded.

Gateway, what it needs around it, and load are three processes. Nothing of the product can switch the ledger off: the
reference runs with a record in its place that forgets. A run counts what is in the ledger afterwards.
"""

import asyncio
import json
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from bench.harness import Benchmark, Pair, Registry, Sample, WrongAnswerError
from sekisho.recording.logs import LOGS, list_logs
from tests.unit.gateway.house import build_chat, write_certificate
from tests.unit.recording.reading import read_log

_REQUESTS = 1200
_CONNECTIONS = 60


def add_to(registry: Registry) -> None:
    """Register the benchmark."""
    registry.register(
        Benchmark(
            id="G7",
            what="requests a second with the ledger on, group commit, fdatasync",
            reference="the same gateway, ledger off",
            goal=0.90,
            direction="min",
            open=_open,
        )
    )


@contextmanager
def _open() -> Iterator[Pair]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="bench-ledger-", dir=Path.cwd())))
        write_certificate(folder / "tls")
        world = stack.enter_context(_process("world", folder))
        told = json.loads(_line(world))
        gateways = {}
        for name in ("off", "on"):
            place = folder / name
            place.mkdir()
            process = stack.enter_context(_process(name, folder, told["api"]))
            gateways[name] = Gateway(process, int(_line(process)), told["token"], folder)
        yield Pair(
            reference=gateways["off"].run, candidate=gateways["on"].run, check=lambda a, b: _check(folder / "on", a, b),
            measure=_rate, drift_of=lambda sample: sample.wall_seconds / sample.units,
            notes=lambda: _tell(gateways["off"], gateways["on"]),
        )  # fmt: skip


@dataclass
class Gateway:
    """One gateway process, and the load on it.

    Attributes:
        total: Requests of all runs.
    """

    process: "subprocess.Popen[str]"
    port: int
    token: str
    folder: Path
    total: int = 0
    cpu: list[float] = field(default_factory=list)

    def run(self) -> tuple[Sample, object]:
        """Ask as fast as it answers, over a number of connections."""
        cpu, wall = _cpu_of(self.process.pid), time.perf_counter()
        asyncio.run(self._load())
        wall, cpu = time.perf_counter() - wall, _cpu_of(self.process.pid) - cpu
        self.total += _REQUESTS
        self.cpu.append(cpu / _REQUESTS)
        return Sample(_REQUESTS, wall, cpu), self.total

    async def _load(self) -> None:
        context = ssl.create_default_context(cafile=str(self.folder / "tls/tls.crt"))
        body = json.dumps(build_chat()).encode()
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        request = head.encode() + body

        async def ask(count: int) -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=context)
            for _ in range(count):
                writer.write(request)
                answer = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(_length_of(answer))
                if not answer.startswith(b"HTTP/1.1 200 "):
                    raise WrongAnswerError(f"the gateway answered {answer[:60]!r}")
            writer.close()
            await writer.wait_closed()

        share, rest = divmod(_REQUESTS, _CONNECTIONS)
        await asyncio.gather(*(ask(share + (number < rest)) for number in range(_CONNECTIONS)))


def _length_of(answer: bytes) -> int:
    for line in answer.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    raise WrongAnswerError(f"the gateway answered without a length: {answer[:200]!r}")


def _check(place: Path, asked: object, recorded: object) -> None:
    """Every answered request is in the ledger, under what was signed."""
    if asked != recorded:
        raise WrongAnswerError(f"{asked} requests against {recorded}")
    entries = [entry for log in list_logs(place / LOGS) for entry in read_log(log, place / "log.pub")]
    found = sum(json.loads(entry).get("decision") == "relayed" for entry in entries)
    if found != recorded:
        raise WrongAnswerError(f"{found} relayed requests are in the ledger, {recorded} were answered")


def _rate(reference: Sample, candidate: Sample) -> float:
    return (candidate.units / candidate.wall_seconds) / (reference.units / reference.wall_seconds)


def _tell(off: Gateway, on: Gateway) -> str:
    costs = {name: sorted(gateway.cpu)[len(gateway.cpu) // 2] * 1e6 for name, gateway in (("off", off), ("on", on))}
    return f"CPU of the gateway a request {costs['off']:.0f} µs off, {costs['on']:.0f} µs on, two entries each"


def _cpu_of(pid: int) -> float:
    """Return the CPU seconds of a process by now."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


@contextmanager
def _process(*words: Any) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, "-m", "bench.gateway.ledger_processes", *map(str, words)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.communicate(timeout=60)


def _line(process: "subprocess.Popen[str]") -> str:
    stream: IO[str] | None = process.stdout
    assert stream is not None
    line = stream.readline()
    if not line:
        raise WrongAnswerError(f"a process ended with {process.wait(60)}")
    return line
