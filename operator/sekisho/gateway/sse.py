"""Cut a stream of server-sent events at the ends of events, byte for byte. Pure.

Only whole events go on, so that an engine that dies in the middle of one never leaves half an event before the error.
"""

import re
from typing import Final

from sekisho.errors import Reason, UnavailableError

# An empty line ends an event, whichever way lines end; "\r\n\r\n" ends with the second.
_ENDS: Final = (b"\n\n", b"\n\r\n", b"\r\r")
_SPLIT: Final = re.compile(rb"\r?\n\r?\n|\r\r")
_STRAY: Final = re.compile(rb"(?:\A|[\r\n])(?!data:|:|[\r\n]|\Z)")
_DONE: Final = b"[DONE]"
_TAIL: Final = 8192
_MOST_LATE: Final = 4 * _TAIL


class EventFramer:
    """Takes chunks as they come and gives back whole events, every byte unchanged and in order.

    Args:
        max_event_bytes: Longest event that is held back while its end has not come.
        max_bytes: Of all events together; an engine that never ends is ended.
    """

    def __init__(self, max_event_bytes: int, max_bytes: int = 256 << 20) -> None:
        self._limit = max_event_bytes
        self._most = self._left = max_bytes
        self._held = b""
        # The last of what passed, and its length: at least as much of it as is remembered.
        self._late: list[bytes] = []
        self._late_bytes = 0
        self.events = 0

    @property
    def is_between(self) -> bool:
        """Whether an event must come next, from its beginning."""
        return not self._held

    def pass_by(self, size: int) -> None:
        """Count an event of so many bytes that went another way, which is none that tells an end, or counts.

        Raises:
            UnavailableError: There are more bytes than there may be.
        """
        self._spend(size)
        self.events += 1

    def feed(self, chunk: bytes) -> bytes:
        """Return the bytes up to the end of the last whole event.

        Raises:
            UnavailableError: An event is longer than the limit, or has a line that is neither data nor a comment, or
                there are more bytes than there may be.
        """
        self._spend(len(chunk))
        begin = max(0, len(self._held) - 2)
        data = self._held + chunk if self._held else chunk
        cut = len(data) if data.endswith(b"\n\n") else _find_end(data, begin)
        self._held = data[cut:]
        if len(self._held) > self._limit:
            raise UnavailableError(
                Reason.UPSTREAM_FAILED, f"the engine sent an event longer than {self._limit} bytes; the answer ends"
            )
        if not cut:
            return b""
        whole = data[:cut] if self._held else data
        if _is_odd(whole) and _STRAY.search(whole):
            raise UnavailableError(
                Reason.UPSTREAM_FAILED, "the engine sent an event of a type that is not known; the answer ends"
            )
        self.events += whole.count(b"\n\n") or len(_SPLIT.findall(whole))
        self._late.append(whole)
        self._late_bytes += len(whole)
        if self._late_bytes > _MOST_LATE:
            self._late = [self._last()]
            self._late_bytes = len(self._late[0])
        return whole

    def _spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise UnavailableError(
                Reason.UPSTREAM_FAILED, f"the engine sent a stream of more than {self._most} bytes; the answer ends"
            )

    @property
    def is_complete(self) -> bool:
        """Whether the stream ended as the dialect ends streams, with nothing half said."""
        # A model may say the word, and a comment too: it is the last where it is all that an event holds.
        said = filter(None, map(_read_data, self.last_events()))
        return not self._held.strip() and next(said, b"") == _DONE

    def last_events(self) -> list[bytes]:
        """Return the last events, newest first, as far as they are remembered."""
        return [event.strip() for event in reversed(split_events(self._last())) if event.strip()]

    def _last(self) -> bytes:
        return b"".join(self._late)[-_TAIL:]


def split_events(whole: bytes) -> list[bytes]:
    """Return whole events without the empty lines between them."""
    if whole.endswith(b"\n\n") and b"\r" not in whole:
        return [event for event in whole.split(b"\n\n") if event]
    return [event for event in _SPLIT.split(whole) if event]


def _read_data(event: bytes) -> bytes:
    """Return what an event says, without its comments; of one that was cut at its beginning, more than that."""
    lines = [line.removeprefix(b"data:") for line in event.splitlines() if not line.startswith(b":")]
    return b"\n".join(lines).strip()


def _is_odd(whole: bytes) -> bool:
    """Whether events must be looked at line by line: others than "data: …" on one line each, which most are."""
    lines = whole.count(b"\n")
    return not whole.startswith(b"data:") or lines != 2 * whole.count(b"\n\ndata:") + 2 or b"\r" in whole


def _find_end(data: bytes, begin: int) -> int:
    return max((at + len(end) for end in _ENDS if (at := data.rfind(end, begin)) >= 0), default=0)
