"""Speak to an engine as its callers do: with the standard library, bounded in time and size."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from typing import Any

_MOST_BYTES = 4 << 20
_REQUEST_SECONDS = 60


def fetch(port: int, path: str, *, body: dict[str, Any] | None = None) -> tuple[int, str]:
    """Send one request to the loopback address and return status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_REQUEST_SECONDS)
    try:
        headers = {"content-type": "application/json"} if body is not None else {}
        content = json.dumps(body) if body is not None else None
        connection.request("POST" if body is not None else "GET", path, body=content, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read(_MOST_BYTES).decode(errors="replace")
    finally:
        connection.close()


def wait_until_healthy(port: int, *, seconds: float, is_alive: Callable[[], bool]) -> bool:
    """Poll /health until it answers 200; give up when the engine is gone or the time is over."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and is_alive():
        try:
            if fetch(port, "/health")[0] == 200:
                return True
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.1)
    return False


def ask(model: str, *, words: str = "hello", tokens: int = 8, stream: bool = False) -> dict[str, Any]:
    """Return the body of a chat completion at temperature 0."""
    question: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": words}]}
    question |= {"max_tokens": tokens, "temperature": 0}
    return question | ({"stream": True, "stream_options": {"include_usage": True}} if stream else {})


def read_stream(body: str) -> list[dict[str, Any]]:
    """Return the events of a streamed answer; the closing mark must be there.

    Raises:
        ValueError: the stream ended without it.
    """
    lines = [line.removeprefix("data: ") for line in body.splitlines() if line.startswith("data: ")]
    if not lines or lines[-1] != "[DONE]":
        raise ValueError(f"the stream has no end: {body[-200:]!r}")
    return [json.loads(line) for line in lines[:-1]]
