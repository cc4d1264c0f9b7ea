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
Say = Callable[[Channel, str], bytes]
Feed = Callable[[Channel, str], str]


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


class Usual:
    """Tells the usual events of a stream while one text of it goes on: nothing but that text changes, here or there.

    Args:
        mould: Of the engine's events.
        around: What the caller's dialect has around a piece of the text, before and after it.
        say: Spells a piece that is not as it came.
        feed: Examines the pieces; None lets them pass.
    """

    __slots__ = ("_around", "_channel", "_feed", "_mould", "_say", "after", "before", "told")

    def __init__(self, mould: Mould, around: tuple[bytes, bytes], say: Say, feed: Feed | None) -> None:
        self.before = mould.before
        self.after = mould.after + b"\n\n"
        self.told = 0
        self._mould = mould
        self._channel = mould.channel
        self._around = around
        self._say = say
        self._feed = feed

    def take(self, event: bytes) -> bytes | None:
        """Tell an event, which has no empty line at its end; None: it is not the usual one. See `tell`."""
        mould = self._mould
        return self.tell(event[len(mould.before) : -len(mould.after)]) if mould.fits(event) else None

    def tell(self, inside: bytes) -> bytes | None:
        """Return what the caller is told of an event that has this between `before` and `after`.

        Returns:
            Nothing of it yet, perhaps; None: the event is not the usual one and has to be read. Nobody examined it yet.

        Raises:
            SekishoError: The answer must end here.
        """
        if _PLAIN.fullmatch(inside) is None:
            return None
        try:
            text = inside.decode()
        except UnicodeDecodeError:
            return None
        self.told += 1
        if self._feed is not None and (said := self._feed(self._channel, text)) is not text:
            return self._say(self._channel, said) if said else b""
        before, after = self._around
        return before + inside + after


def make_usual(mould: Mould, say: Say, feed: Feed | None) -> Usual | None:
    """Return how usual events are told; None where the caller's dialect has something else around each piece.

    Args:
        mould: Of the engine's events.
        say: Spells a piece of the text; it must spell the same whenever it is asked.
        feed: Examines the pieces; None lets them pass.
    """
    spelt = [say(mould.channel, probe).rpartition(probe.encode()) for probe in _PROBES]
    (before, found, after), other = spelt
    if not found or other[::2] != (before, after):
        return None
    return Usual(mould, (before, after), say, feed)


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
