"""G4: how many streams a second, and what a request costs, against LiteLLM's proxy in an environment of its own."""

import asyncio
import json
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bench.gateway.speed import check_all, make_prompts
from bench.gateway.stand import Server, Stand, open_stand
from bench.gateway.streams import Caller, Heard, Place, ask_many, read_body, spell_request
from bench.harness import Benchmark, Pair, Registry, Sample, WrongAnswerError
from bench.homes import ensure_home
from bench.operators.process import OperatorProcess, wait_for
from tests.unit.gateway.house import MODEL

CHUNKS: Final = 100
LINES: Final = 32
_LOCK: Final = Path(__file__).with_name("requirements.txt")
_REFERENCE: Final = "LiteLLM's proxy, 1 worker, no guards, no TLS, same engine"
# The slower side is asked less, or a repetition takes minutes; it has every line busy twice over all the same.
_STREAMS: Final = {"reference": 64, "candidate": 640}
_REQUESTS: Final = {"reference": 96, "candidate": 640}
_KEY: Final = "sk-of-this-bench"
_START_SECONDS: Final = 240.0


def add_to(registry: Registry) -> None:
    """Register both halves."""
    for id_, what, goal, opening in (
        ("G4", f"SSE answers/s, guards on, {CHUNKS} unpaced chunks, {LINES} connections", 40, open_streams),
        ("G4b", "the reference's CPU per JSON request ÷ ours, guards on", 20, open_requests),
    ):
        registry.register(Benchmark(id_, what, _REFERENCE, goal, "min", opening))


@contextmanager
def open_streams() -> Iterator[Pair]:
    """Compare streams a second; every chunk of every stream must arrive."""
    with open_stand(guarded=True, nginx=False) as stand, open_litellm(stand.engine) as litellm:
        yield Pair(
            reference=lambda: measure_streams(stand, litellm, _STREAMS["reference"]),
            candidate=lambda: measure_streams(stand, stand.gateway, _STREAMS["candidate"]),
            check=check_all,
            notes=lambda: "a unit is a stream, CPU that of the process",
        )


@contextmanager
def open_requests() -> Iterator[Pair]:
    """Compare the CPU of the two processes for a request that wants no stream."""
    with open_stand(guarded=True, nginx=False) as stand, open_litellm(stand.engine) as litellm:
        yield Pair(
            reference=lambda: measure_requests(stand, litellm, _REQUESTS["reference"]),
            candidate=lambda: measure_requests(stand, stand.gateway, _REQUESTS["candidate"]),
            check=check_answers,
            measure=compare_cpu,
            drift_of=lambda sample: sample.cpu_seconds / sample.units,
            notes=lambda: f"prompts of 1,000 signs, {LINES} connections; CPU is the process's a request",
        )


def measure_streams(stand: Stand, server: Server, count: int) -> tuple[Sample, list[tuple[Heard, int]]]:
    """Return how fast a server brings streams that the engine writes at once, and what came."""
    sample, answers = _measure(stand, server, count, stream=True, max_tokens=CHUNKS)
    return sample, [(heard, CHUNKS) for heard in answers]


def measure_requests(stand: Stand, server: Server, count: int) -> tuple[Sample, list[bytes]]:
    """Return how fast a server answers requests that want no stream, and what it answered."""
    sample, answers = _measure(stand, server, count)
    return sample, [read_body(heard.raw) for heard in answers]


def _measure(stand: Stand, server: Server, count: int, **fields: object) -> tuple[Sample, list[Heard]]:
    requests = [spell_request(server.place, prompt, **fields) for prompt in make_prompts(stand, count)]
    before = server.process.cpu_seconds()
    seconds, answers = asyncio.run(ask_many(server.place, requests, lines=LINES))
    if len(answers) != count:
        raise WrongAnswerError(f"{len(answers)} answers of {count} came")
    return Sample(count, seconds, server.process.cpu_seconds() - before), answers


def compare_cpu(reference: Sample, candidate: Sample) -> float:
    """Tell how many times as much CPU time the reference uses for one request."""
    return (reference.cpu_seconds / reference.units) / (candidate.cpu_seconds / candidate.units)


def check_answers(*sides: object) -> None:
    """Demand that both told the engine's words to every request.

    Raises:
        WrongAnswerError: One was told something else, or nothing was.
    """
    for side in sides:
        if not isinstance(side, Sequence) or not side:
            raise WrongAnswerError("nothing was measured")
        told = {json.loads(body)["choices"][0]["message"]["content"] for body in side}
        if told != {"It is so."}:
            raise WrongAnswerError(f"callers were told {sorted(told)}")


@contextmanager
def open_litellm(engine: Place) -> Iterator[Server]:
    """Run the proxy before an engine; nothing of it leaves this machine.

    Raises:
        WrongAnswerError: It does not start.
    """
    home = ensure_home("litellm", _LOCK, who="LiteLLM", about="about 1 min, 200 MB fetched").parent
    with TemporaryDirectory(prefix="bench-litellm-") as name:
        folder, port = Path(name), _find_port()
        (folder / "config.json").write_text(json.dumps(render_config(engine)))
        command = [
            str(home / "python"), "-I", str(home / "litellm"), "--config", str(folder / "config.json"),
            "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1", "--telemetry", "False",
        ]  # fmt: skip
        environ = {
            "PATH": os.environ.get("PATH", ""), "HOME": name, "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR",
        }  # fmt: skip
        with OperatorProcess(command, user="litellm", env=environ, log=folder / "litellm.log") as process:
            server = Server(Place(port, token=_KEY), process)
            wait_for(lambda: _answers(server), seconds=_START_SECONDS, pause=0.5, what="LiteLLM answers")
            yield server


def render_config(engine: Place) -> dict[str, object]:
    """Render its configuration (YAML reads JSON): one model, no retries, a key."""
    params = {"model": "openai/m", "api_base": f"http://127.0.0.1:{engine.port}/v1", "api_key": "none"}
    return {
        "model_list": [{"model_name": MODEL, "litellm_params": params}],
        "litellm_settings": {"num_retries": 0, "telemetry": False},
        "general_settings": {"master_key": _KEY},
    }


def _answers(server: Server) -> bool:
    server.process.cpu_seconds()  # raises where it has ended
    try:
        caller = Caller(server.place)
    except OSError:
        return False
    try:
        _, heard = caller.ask(spell_request(server.place, "go on", max_tokens=1))
    except (OSError, WrongAnswerError):
        return False
    finally:
        caller.close()
    return heard.raw.startswith(b"HTTP/1.1 200 ")


def _find_port() -> int:
    with socket.socket() as trial:
        trial.bind(("127.0.0.1", 0))
        return int(trial.getsockname()[1])
