"""Start vLLM's OpenAI server on a CPU with defaults that fit a small pod; every argument of vLLM's may be given.

The process becomes vLLM itself, so signals reach it and its exit code is the container's.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_SERVER = "vllm.entrypoints.openai.api_server"
_ARGUMENTS = {
    "--model": "/models",
    "--host": "0.0.0.0",
    "--port": "8080",
    "--max-model-len": "512",
    "--max-num-seqs": "4",
    "--dtype": "float32",
    # of all memory of the node, which other pods use too; the default wants nearly all of it free
    "--gpu-memory-utilization": "0.2",
}
_ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    "CUDA_VISIBLE_DEVICES": "",
}


def build_command(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of Python: vLLM's server, what the caller said, and defaults for what they did not."""
    given = {argument.partition("=")[0] for argument in arguments}
    defaults = [word for name, value in _ARGUMENTS.items() if name not in given for word in (name, value)]
    if "--enforce-eager" not in given:
        defaults.append("--enforce-eager")  # compiling a graph takes longer than a test
    return ["-m", _SERVER, *arguments, *defaults]


def build_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with the defaults added."""
    return _ENVIRONMENT | dict(environment)


def check_model(arguments: Sequence[str]) -> str:
    """Return what is wrong with the model's folder, or nothing.

    vLLM takes a folder that is missing for the name of a model on a hub and then speaks of that.
    """
    words = [part for argument in arguments for part in argument.split("=", 1)]
    path = Path(words[words.index("--model") + 1]) if "--model" in words[:-1] else Path(_ARGUMENTS["--model"])
    return "" if (path / "config.json").is_file() else f"no config.json in {path}: the weights are not there"


def main(arguments: Sequence[str]) -> int:  # noqa: RET503 - exec does not return
    """Become vLLM, or return 2 where that is pointless."""
    if wrong := check_model(arguments):
        print(f"error: {wrong}", file=sys.stderr)
        return 2
    sys.stdout.flush()
    os.execve(  # noqa: S606 - our own arguments
        sys.executable, [sys.executable, *build_command(arguments)], build_environment(os.environ)
    )


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
