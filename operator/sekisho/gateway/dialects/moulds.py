"""The usual chunk of a stream, read without JSON: nothing of it changes from chunk to chunk but one plain string. Pure.

What stands around that string was read as JSON once, and twice more with probes in the string's place. A JSON string
that is a value can be any other without changing what is around it: whatever matches says what the probes said.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sekisho.errors import SekishoError
from sekisho.gateway.dialects.answers import Channel
from sekisho.gateway.dialects.chunks import Part, Said

# The inside of a string of JSON that stands for itself: no quotes, no escapes, no control signs.
_PLAIN: Final = re.compile(rb'[^"\\\x00-\x1f]+')
_PROBES: Final = ("sekisho probe 1", "プローブ2")
_MAX_BYTES: Final = 4096

Read = Callable[[bytes], list[Part]]


@dataclass(frozen=True, slots=True)
class Mould:
    """What stands around the text of the usual event, and where that is told."""

    before: bytes
    after: bytes
    channel: Channel

    def fits(self, event: bytes) -> bool:
        """Tell whether an event looks like this around its text, which may still be more than one plain string."""
        return event.startswith(self.before) and event.endswith(self.after)

    def read(self, event: bytes) -> str | None:
        """Return the text of an event of this form; None: it has another, and has to be read as JSON."""
        if not self.fits(event):
            return None
        inside = event[len(self.before) : len(event) - len(self.after)]
        if _PLAIN.fullmatch(inside) is None:
            return None
        try:
            return inside.decode()
        except UnicodeDecodeError:
            return None


def make_mould(event: bytes, parts: list[Part], read: Read) -> Mould | None:
    """Return the form of an event, None where it is not the usual one.

    Args:
        event: One event of one line.
        parts: What was read from it.
        read: Reads an event as JSON into its parts; may raise.
    """
    said = parts[0] if len(parts) == 1 else None
    if not isinstance(said, Said) or len(event) > _MAX_BYTES or not event.startswith(b"data:") or _breaks(event):
        return None
    spelt = json.dumps(said.text, ensure_ascii=False).encode("utf-8", "surrogatepass")
    before, found, after = event.rpartition(spelt)
    if not found:
        return None
    mould = Mould(before + b'"', b'"' + after, said.channel)
    return mould if all(_holds(mould, probe, read) for probe in _PROBES) else None


def _breaks(event: bytes) -> bool:
    return b"\n" in event or b"\r" in event


def _holds(mould: Mould, probe: str, read: Read) -> bool:
    try:
        found: list[Any] = read(mould.before + probe.encode() + mould.after)
    except SekishoError:
        return False
    return found == [Said(mould.channel, probe)]
