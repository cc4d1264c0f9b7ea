"""Lines of the record, each bound to the one before it. Pure.

A line is a JSON object whose last member, `digest`, is the SHA-256 of every byte of the line before it. `prev` holds
the digest of the line before, `seq` counts. Whoever knows the digest of the last line knows that no earlier one was
changed, removed or exchanged.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sekisho.errors import Reason, RefusedError

GENESIS: Final = "0" * 64
_MARK: Final = b',"digest":"'
_TRAIL: Final = len(_MARK) + 64 + 2
MAX_LINE: Final = 64 << 10


@dataclass(frozen=True, slots=True)
class Head:
    """The last line: its number and its digest. Keep it elsewhere, and nothing can be cut off unnoticed."""

    seq: int = 0
    digest: str = GENESIS


def seal_line(head: Head, entry: Mapping[str, Any]) -> tuple[bytes, Head]:
    """Return the next line, with its line break, and the head after it."""
    seq = head.seq + 1
    text = json.dumps({"seq": seq, "prev": head.digest, **entry}, ensure_ascii=True, separators=(",", ":")).encode()
    digest = hashlib.sha256(text[:-1]).hexdigest()
    return text[:-1] + _MARK + digest.encode() + b'"}\n', Head(seq, digest)


def read_line(line: bytes) -> tuple[Head, str] | None:
    """Return the head that a line (without its line break) makes and the digest it follows; None if it is not whole."""
    text, digest = line[:-_TRAIL], line[-66:-2]
    if not 0 < len(text) <= MAX_LINE or line[-_TRAIL:] != _MARK + digest + b'"}':
        return None
    if hashlib.sha256(text).hexdigest().encode() != digest:
        return None
    try:
        entry = json.loads(line)
        return Head(int(entry["seq"]), str(entry["digest"])), str(entry["prev"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def verify_records(lines: Iterable[bytes], *, start: Head | None = None, end: Head | None = None) -> Head:
    """Follow the chain over lines without their line breaks; return the last head.

    Args:
        lines: In order, over all files.
        start: What the first line must follow; the beginning of the record if None.
        end: What the last line must be, from where it was kept; without it a cut at the end is not seen.

    Raises:
        RefusedError: Something was changed, removed, added or exchanged; the message names the line.
    """
    head = start or Head()
    for number, line in enumerate(lines, 1):
        found = read_line(line)
        if found is None:
            raise RefusedError(Reason.RECORD_BROKEN, f"line {number} is not as it was written")
        fresh, follows = found
        if fresh.seq != head.seq + 1 or follows != head.digest:
            raise RefusedError(
                Reason.RECORD_BROKEN,
                f"line {number} is record {fresh.seq} after {follows[:12]}; after record {head.seq} comes "
                f"{head.seq + 1} after {head.digest[:12]}",
            )
        head = fresh
    if end is not None and head != end:
        raise RefusedError(
            Reason.RECORD_BROKEN,
            f"the record ends with {head.seq} ({head.digest[:12]}), not with {end.seq} ({end.digest[:12]})",
        )
    return head


def measure_sound(data: bytes, head: Head) -> tuple[int, Head]:
    """Return how many bytes of a file are whole lines of the chain, and the head after them; the rest is torn.

    Raises:
        RefusedError: Beyond the break stands a line that was once written whole: that is no torn end.
    """
    at = 0
    while (end := data.find(b"\n", at)) >= 0:
        found = read_line(data[at:end])
        if found is None or found[0].seq != head.seq + 1 or found[1] != head.digest:
            break
        head, at = found[0], end + 1
    rest = data[at:].split(b"\n")
    # A last line that lacks nothing but its line break was never acknowledged: it is torn like any other.
    if len(rest) > 1 and any(read_line(line) for line in rest):
        raise RefusedError(
            Reason.RECORD_BROKEN,
            f"the record is broken after record {head.seq}, byte {at}, and goes on behind it; nothing is recorded "
            "until the files are moved away and looked at",
        )
    return at, head
