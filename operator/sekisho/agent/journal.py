"""Logs of the agent: one JSON object a line on standard output. The agent never logs a token or a weight."""

import json
import sys
import threading
from datetime import UTC, datetime
from typing import Final, TextIO

_LOCK: Final = threading.Lock()


def log_event(level: str, message: str, *, stream: TextIO | None = None, **facts: str | float | bool) -> None:
    """Write one line; `facts` become keys beside it."""
    line = {
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "level": level,
        "process": "agent",
        "message": message,
        **facts,
    }
    with _LOCK:
        print(json.dumps(line, ensure_ascii=False), file=stream or sys.stdout, flush=True)
