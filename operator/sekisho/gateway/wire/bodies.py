"""Bodies of HTTP/1.1 messages: where each ends, told by its length, by chunks, or by the connection's end. Pure."""

import re
from typing import Final, Protocol

from sekisho.gateway.wire.heads import Framing, WireError

# No extensions: nobody sends them, and readers differ on where they end.
_SIZE: Final = re.compile(rb"[0-9A-Fa-f]{1,16}")
_MAX_SIZE_LINE: Final = 16


class Body(Protocol):
    """One body that comes in parts."""

    @property
    def is_done(self) -> bool:
        """Whether it is whole."""
        ...

    @property
    def may_end(self) -> bool:
        """Whether it is whole if the connection ends now."""
        ...

    @property
    def is_between(self) -> bool:
        """Whether a chunk must come next, from its beginning."""
        ...

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """Return what of the bytes belongs to the body, and what comes after it.

        Raises:
            WireError: They are malformed.
        """
        ...


class FixedBody:
    """A body of a length that is known.

    Args:
        length: Its bytes.
    """

    is_between = False

    def __init__(self, length: int) -> None:
        self._left = length
        self.is_done = not length

    @property
    def may_end(self) -> bool:
        """See `Body`."""
        return self.is_done

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """See `Body`."""
        if len(data) <= self._left:
            self._left -= len(data)
            self.is_done = not self._left
            return data, b""
        own, rest = data[: self._left], data[self._left :]
        self._left, self.is_done = 0, True
        return own, rest


class EndlessBody:
    """A body that ends with its connection."""

    is_between = False
    is_done = False
    may_end = True

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """See `Body`."""
        return data, b""


class ChunkedBody:
    """A body in chunks, without extensions and trailers."""

    def __init__(self) -> None:
        self._held = b""
        # Bytes that the chunk under way still has, its line's end included; 0 between chunks.
        self._left = 0
        self.is_done = False
        self.is_between = True

    @property
    def may_end(self) -> bool:
        """See `Body`."""
        return self.is_done

    def take(self, data: bytes) -> tuple[bytes, bytes]:
        """See `Body`."""
        if self._held:
            data, self._held = self._held + data, b""
        pieces, at, size = [], 0, len(data)
        while at < size and not self.is_done:
            if not self._left:
                begun = self._begin(data, at)
                if begun is None:
                    break
                at = begun
                continue
            end = at + self._left
            if end > size:
                # All that is there but what may be the line's end, which is looked at once it is whole.
                cut = max(at, min(size, end - 2))
                pieces.append(data[at:cut])
                self._left, self._held = end - cut, data[cut:]
                at = size
                break
            if data[end - 2 : end] != b"\r\n":
                raise WireError("a chunk is longer or shorter than it says")
            pieces.append(data[at : end - 2])
            self._left, at = 0, end
        self.is_between = not self._left and not self._held and not self.is_done
        return pieces[0] if len(pieces) == 1 else b"".join(pieces), data[at:] if self.is_done else b""

    def _begin(self, data: bytes, at: int) -> int | None:
        """Read the line before a chunk; return where the chunk begins, None where the line is not whole."""
        end = data.find(b"\r\n", at, at + _MAX_SIZE_LINE + 2)
        if end < 0:
            if len(data) - at > _MAX_SIZE_LINE + 1:
                raise WireError("a chunk's size is malformed")
            self._held = data[at:]
            return None
        line = data[at:end]
        if not _SIZE.fullmatch(line):
            raise WireError("a chunk's size is malformed")
        length = int(line, 16)
        if length:
            self._left = length + 2
            return end + 2
        if data[end + 2 : end + 4] != b"\r\n":
            if len(data) - end >= 4 or data[end + 2 : end + 3] not in {b"", b"\r"}:
                raise WireError("fields after the last chunk are not taken")
            self._held = data[at:]
            return None
        self.is_done = True
        return end + 4


def begin_chunk(size: int) -> bytes | None:
    """Return the line that a chunk begins with which takes so many bytes in all; None where none does."""
    for digits in range(1, 9):
        length = size - digits - 4
        if length > 0 and len(line := b"%x\r\n" % length) == digits + 2:
            return line
    return None


def open_body(framing: Framing) -> Body:
    """Return what reads the body of a message."""
    if framing.chunked:
        return ChunkedBody()
    return EndlessBody() if framing.length is None else FixedBody(framing.length)
