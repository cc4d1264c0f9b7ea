"""Words for sentences; whatever is listed is cut, so that no sentence outgrows a status field."""

from collections.abc import Sequence
from typing import Final

MAX_LISTED: Final = 8
MAX_SENTENCE: Final = 1024


def count(number: int, noun: str) -> str:
    """Count things: "1 node", "3 nodes"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def join_names(items: Sequence[str], word: str) -> str:
    """List things: "a, b or c"; those beyond `MAX_LISTED` are counted instead. Nothing is the empty text."""
    shown = list(items[:MAX_LISTED])
    if len(items) > MAX_LISTED:
        shown.append(f"{len(items) - MAX_LISTED} more")
    return f" {word} ".join(part for part in (", ".join(shown[:-1]), *shown[-1:]) if part)


def clip(sentence: str) -> str:
    """Cut what is longer than a field of the status may be; names of users make sentences long."""
    return sentence if len(sentence) <= MAX_SENTENCE else f"{sentence[: MAX_SENTENCE - 1]}…"
