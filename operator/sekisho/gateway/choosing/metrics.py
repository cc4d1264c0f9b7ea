"""What engines say of their load, in the text format of Prometheus: strictly read, or not used. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

_MAX_LINE: Final = 4096


@dataclass(frozen=True, slots=True)
class EngineLoad:
    """How much an engine says it has to do.

    Attributes:
        cache_use: The used share of its key-value cache, 0 to 1; None where it does not say.
    """

    running: float
    waiting: float
    cache_use: float | None = None


_Field = Literal["running", "waiting", "cache_use"]
# vLLM has renamed its cache's gauge; whichever is there counts.
_NAMES: Final[Mapping[str, Mapping[bytes, _Field]]] = {
    "vllm": {
        b"vllm:num_requests_running": "running",
        b"vllm:num_requests_waiting": "waiting",
        b"vllm:kv_cache_usage_perc": "cache_use",
        b"vllm:gpu_cache_usage_perc": "cache_use",
    },
    "llamacpp": {
        b"llamacpp:requests_processing": "running",
        b"llamacpp:requests_deferred": "waiting",
        b"llamacpp:kv_cache_usage_ratio": "cache_use",
    },
}
DIALECTS: Final = frozenset(_NAMES)


def parse_load(text: bytes, dialect: str) -> EngineLoad | None:
    """Read an engine's load; None where it does not say both how much runs and how much waits, or says nonsense.

    Args:
        text: The whole page; whoever fetches it bounds it.
        dialect: Whose names these are.
    """
    wanted = _NAMES.get(dialect)
    if wanted is None:
        return None
    prefix = dialect.encode() + b":"
    found: dict[str, list[float]] = {}
    for line in text.split(b"\n"):
        if not line.startswith(prefix):
            continue
        name = line.partition(b"{")[0].partition(b" ")[0]
        field = wanted.get(name)
        if field is None:
            continue
        value = _read_value(line[len(name) :])
        if value is None:
            return None
        found.setdefault(field, []).append(value)
    if "running" not in found or "waiting" not in found:
        return None
    use = max(found["cache_use"]) if "cache_use" in found else None
    # Engines in one process have a line each: requests add up, and the fullest cache is the one that matters.
    return EngineLoad(sum(found["running"]), sum(found["waiting"]), use)


def _read_value(rest: bytes) -> float | None:
    """Read what follows a name: labels, a value, perhaps a time; None where it is no finite number from 0 up."""
    if len(rest) > _MAX_LINE:
        return None
    if rest.startswith(b"{"):
        # Label values may hold braces and blanks in quotes; nothing after the last brace does.
        rest = rest.rpartition(b"}")[2]
    parts = rest.split()
    if len(parts) not in {1, 2}:
        return None
    try:
        value = float(parts[0])
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None
