"""Compare with the bytes that are expected, or write them: SEKISHO_WRITE_GOLDEN=1 with the tests that read them."""

import os
from pathlib import Path

ROOT = Path(__file__).parent


def check(name: str, text: str) -> None:
    """Compare `text` with the file of that name below this folder."""
    path = ROOT / name
    if os.environ.get("SEKISHO_WRITE_GOLDEN") == "1":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.exists(), f"{name} is missing; write it with SEKISHO_WRITE_GOLDEN=1 and read what was written"
    assert text == path.read_text(encoding="utf-8"), f"{name} differs; if that is meant, see the head of expected.py"
