"""Serve one GGUF model with llama.cpp's own HTTP server (OpenAI paths, /health, /metrics).

On SIGTERM it goes on serving until nothing is being generated, then exits: a pod that leaves its Service finishes what
it began.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

_POLL_SECONDS = 0.2
_QUIET_LOOKS = 5
"""How often in a row nobody is answered: a request on its way to its slot is not counted, nor the end of an answer."""
_BUSY = re.compile(r"^llamacpp:requests_(?:processing|deferred) ([0-9.]+)", re.MULTILINE)


def find_model(path: Path) -> Path:
    """Return the GGUF file at a path: the file itself, or the only one under a folder.

    Of a model split in parts llama.cpp wants the first.

    Raises:
        FileNotFoundError: there is none.
        ValueError: there are several, and nothing says which is meant.
    """
    if path.is_file():
        return path
    found = sorted(file for file in path.rglob("*.gguf") if not file.name.startswith("."))
    parts = [file for file in found if re.search(r"-\d{5}-of-\d{5}\.gguf$", file.name)]
    if parts and parts == found and parts[0].name.find("-00001-of-") > 0:
        return parts[0]
    if not found:
        raise FileNotFoundError(f"no .gguf file under {path}")
    if len(found) > 1:
        names = ", ".join(file.name for file in found[:5])
        raise ValueError(f"{len(found)} .gguf files under {path} ({names}): name one with --model")
    return found[0]


def count_threads(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Return how many threads can run at once: cores of this machine, or the container's CPU limit if that is less.

    More threads than the limit make every step wait for the scheduler's next period.
    """
    cores = len(os.sched_getaffinity(0))
    limit = _read_words(cgroup / "cpu.max")  # cgroup v2: "200000 100000" or "max 100000"
    if not limit:
        quota, period = cgroup / "cpu/cpu.cfs_quota_us", cgroup / "cpu/cpu.cfs_period_us"  # v1; -1: no limit
        limit = _read_words(quota) + _read_words(period)
    if len(limit) == 2 and limit[0].isdigit() and int(limit[1]) > 0:
        cores = min(cores, -(-int(limit[0]) // int(limit[1])))
    return max(1, cores)


def _read_words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def is_busy(metrics: str) -> bool:
    """Tell from the server's metrics whether a request is being answered or waits for a slot."""
    return any(float(count) > 0 for count in _BUSY.findall(metrics))


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line; the profile in runtime.yaml uses these names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("/models"), help="a .gguf file, or a folder with one")
    parser.add_argument("--alias", default="model", help="the model's name in requests and answers")
    parser.add_argument("--host", default="0.0.0.0")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--ctx", type=int, default=2048, help="tokens of context for each request")
    parser.add_argument("--parallel", type=int, default=2, help="requests answered at once; the rest wait")
    parser.add_argument("--threads", type=int, default=0, help="0: as many as the container may use")
    parser.add_argument("--embeddings", action="store_true", help="answer /v1/embeddings too: the mean over all tokens")
    parser.add_argument("--drain-seconds", type=float, default=25.0, help="longest wait for running answers at the end")
    return parser.parse_args(arguments)


def start_server(options: argparse.Namespace, model: Path) -> object:
    """Start llama.cpp's server on its own threads; it answers 503 on /health until the model is loaded."""
    import xllamacpp  # noqa: PLC0415  only the image has it; the functions above are tested without

    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.model_alias = {options.alias}
    params.hostnames = [options.host]
    params.port = options.port
    params.n_ctx = options.ctx * options.parallel
    params.n_parallel = options.parallel
    params.cpuparams.n_threads = options.threads or count_threads()
    params.endpoint_metrics = True
    # /slots shows the prompts of others, POST /props changes the server: nobody needs either
    params.endpoint_slots = False
    params.endpoint_props = False
    params.ui = False
    params.warmup = False
    params.offline = True
    # the default keeps up to 8 GiB of prompts of earlier callers in memory
    params.cache_ram_mib = 0
    if options.embeddings:
        params.embedding = True
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    return xllamacpp.Server(params)


def drain(server: object, seconds: float) -> bool:
    """Wait until the server answers nobody, at most so many seconds; return whether it came to rest."""
    until = time.monotonic() + seconds
    quiet = 0
    while time.monotonic() < until:
        quiet = 0 if is_busy(_metrics_of(server)) else quiet + 1
        if quiet == _QUIET_LOOKS:
            return True
        time.sleep(_POLL_SECONDS)
    return False


def _metrics_of(server: object) -> str:
    answer = server.handle_metrics()  # type: ignore[attr-defined]
    return str(answer[1] if isinstance(answer, tuple) else answer)


def main(arguments: Sequence[str]) -> int:
    """Serve until told to stop; return the exit code."""
    options = parse_arguments(arguments)
    try:
        model = find_model(options.model)
    except (OSError, ValueError) as wrong:
        print(f"error: {wrong}", file=sys.stderr)
        return 2
    # Held back from every thread and asked for below: a handler that runs just as a wait begins may not end it.
    ending = (signal.SIGTERM, signal.SIGINT)
    signal.pthread_sigmask(signal.SIG_BLOCK, ending)
    server = start_server(options, model)
    print(f"serving {model.name} as {options.alias} on port {options.port}", flush=True)
    signal.sigwait(ending)
    drained = drain(server, options.drain_seconds)
    print("drained" if drained else f"still busy after {options.drain_seconds:.0f} s", flush=True)
    sys.stdout.flush()
    # the server's own teardown can wait for connections that callers keep open
    os._exit(0)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
