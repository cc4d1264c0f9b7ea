"""What engines say of requests and of tokens, read without trust. Pure."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeGuard

_MAX_ENGINE_WORDS: Final = 512
# No answer has more; a number of thousands of digits would end whoever adds it up.
_MAX_TOKENS: Final = 1 << 32
_COUNTS: Final = (("prompt", "prompt_tokens"), ("completion", "completion_tokens"))


def read_engine_message(body: bytes) -> str:
    """Return what an engine says about a request it refuses; empty where it says nothing that can be read."""
    try:
        raw = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    error = raw.get("error", raw) if isinstance(raw, dict) else None
    said = error.get("message") if isinstance(error, dict) else error
    words = "".join(char if char.isprintable() else " " for char in said) if isinstance(said, str) else ""
    return words[:_MAX_ENGINE_WORDS]


def read_usage(texts: Iterable[bytes]) -> dict[str, int]:
    """Return the counts of tokens that an answer, or the last events of a stream, tell; empty where none does.

    Where one cannot be a count, none is believed.
    """
    for text in texts:
        if b'"usage"' not in text:
            continue
        try:
            raw = json.loads(text.removeprefix(b"data:"))
        except (ValueError, RecursionError):
            continue
        usage = raw.get("usage") if isinstance(raw, dict) else None
        if isinstance(usage, dict):
            return _read_counts(usage)
    return {}


def _read_counts(usage: Mapping[str, Any]) -> dict[str, int]:
    told = {}
    for key, name in _COUNTS:
        count = usage.get(name)
        if count is None:
            continue
        if not is_count(count):
            return {}
        told[key] = count
    return told


def is_count(value: object) -> TypeGuard[int]:
    """Tell whether a value counts tokens."""
    return type(value) is int and 0 <= value <= _MAX_TOKENS
