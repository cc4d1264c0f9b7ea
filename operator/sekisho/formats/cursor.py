"""Bounded reading of a binary header, front to back; nothing is allocated that the file does not really hold."""

from dataclasses import dataclass
from typing import BinaryIO

from sekisho.formats.layout import MAX_READ_BYTES, refuse


@dataclass(slots=True)
class Cursor:
    """A place in a file.

    Attributes:
        stream: The file, at its start.
        size: Its bytes; every length is compared with what is left of them before anything is read.
        kind: What the file claims to be, for refusals.
        read_bytes: How many were read so far, at most 33 MiB; what is skipped does not count.
    """

    stream: BinaryIO
    size: int
    kind: str
    place: int = 0
    read_bytes: int = 0

    def take(self, length: int, *, most: int, what: str) -> bytes:
        """Read exactly `length` bytes, at most `most`."""
        if length > most:
            raise refuse(self.kind, f"{what} at byte {self.place} has {length} bytes, {most} are allowed")
        if length > self.size - self.place or len(data := self.stream.read(length)) != length:
            raise refuse(
                self.kind, f"{what} of {length} bytes at byte {self.place} passes the end of {self.size} bytes"
            )
        self.place += length
        self.read_bytes += length
        if self.read_bytes > MAX_READ_BYTES:
            raise refuse(self.kind, f"its header has more than {MAX_READ_BYTES} bytes")
        return data

    def number(self, width: int, *, what: str) -> int:
        """Read an unsigned little-endian number of `width` bytes."""
        return int.from_bytes(self.take(width, most=8, what=what), "little")

    def skip(self, length: int, *, what: str) -> None:
        """Pass over `length` bytes without reading them."""
        if length > self.size - self.place:
            raise refuse(
                self.kind, f"{what} of {length} bytes at byte {self.place} passes the end of {self.size} bytes"
            )
        self.place += length
        self.stream.seek(self.place)
