"""What engines say of requests and of tokens, read without trust. Pure."""

import json
from collections.abc import Iterable
from typing import Final

_MAX_ENGINE_WORDS: Final = 512


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
    """Return the counts of tokens that an answer, or the last events of a stream, tell; empty where none does."""
    for text in texts:
        if b'"usage"' not in text:
            continue
        try:
            raw = json.loads(text.removeprefix(b"data:"))
        except (ValueError, RecursionError):
            continue
        usage = raw.get("usage") if isinstance(raw, dict) else None
        if isinstance(usage, dict):
            counts = {key: usage.get(f"{key}_tokens") for key in ("prompt", "completion")}
            return {key: value for key, value in counts.items() if isinstance(value, int) and value >= 0}
    return {}
