"""The entries of one log on the disk: a line each, its hash in the tree and the entry. They are the truth.

A line that is not whole can only be the end of what a crash interrupted: it was never acknowledged.
"""

import contextlib
import os
from binascii import hexlify
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from sekisho.errors import Reason, RefusedError
from sekisho.ledger.merkle import hash_leaf
from sekisho.recording.keys import sync_folder, write_all

JOURNAL: Final = "journal"
_HASH: Final = 64


class Line(NamedTuple):
    """One entry and its hash; a tuple, since every entry becomes one."""

    leaf: bytes
    entry: bytes

    @classmethod
    def of(cls, entry: bytes) -> "Line":
        """Hash an entry; it holds no line break."""
        return cls(hash_leaf(entry), entry)

    def __repr__(self) -> str:
        """Say which entry it is, and nothing of what it says."""
        return f"Line({self.leaf.hex()})"

    def encode(self) -> bytes:
        """Return the line with its line break."""
        return b"%b %b\n" % (hexlify(self.leaf), self.entry)


def parse_line(data: bytes) -> Line | None:
    """Read a line without its line break; None where it is not whole."""
    entry = data[_HASH + 1 :]
    line = Line.of(entry)
    return line if data[: _HASH + 1] == line.leaf.hex().encode() + b" " else None


def measure_sound(data: bytes) -> tuple[int, list[Line]]:
    """Return how many bytes of a journal are whole lines, and those; the rest is torn.

    Raises:
        RefusedError: RecordBroken; behind the break stands a line that was once written whole: that is no torn end.
    """
    at, lines = 0, list[Line]()
    while (end := data.find(b"\n", at)) >= 0 and (line := parse_line(data[at:end])) is not None:
        lines.append(line)
        at = end + 1
    rest = data[at:].split(b"\n")
    if len(rest) > 1 and any(parse_line(item) for item in rest[1:]):
        raise RefusedError(
            Reason.RECORD_BROKEN,
            f"the record is broken after entry {len(lines)}, byte {at}, and goes on behind it: what stands there is "
            "not what was written",
        )
    return at, lines


class Journal:
    """A journal that is appended to.

    Args:
        path: The file.
        size: Bytes of whole lines that it holds.
    """

    def __init__(self, path: Path, size: int = 0) -> None:
        self._path = path
        self._descriptor = -1
        self.size = size

    @property
    def is_open(self) -> bool:
        """Whether something can be appended."""
        return self._descriptor >= 0

    def create(self) -> None:
        """Make the file; it must not exist."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(self._path, flags, 0o600)
        sync_folder(self._path.parent)

    def open(self) -> None:
        """Open the file behind its last whole line, and cut off what is torn.

        Raises:
            OSError: The disk; FileNotFoundError also where it holds less than was acknowledged.
        """
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        try:
            if (found := os.fstat(self._descriptor).st_size) < self.size:
                raise FileNotFoundError(0, f"{self._path.name} has {found} bytes, {self.size} were acknowledged")
            if found > self.size:
                os.ftruncate(self._descriptor, self.size)
                os.fsync(self._descriptor)
        except OSError:
            self.close()
            raise

    def append(self, lines: Sequence[Line]) -> None:
        """Write lines and wait for the disk; after a failure the file is closed, its torn end cut at reopening.

        Raises:
            OSError: The disk did not take them.
        """
        data = b"".join([line.encode() for line in lines])
        try:
            write_all(self._descriptor, data)
            os.fdatasync(self._descriptor)
        except OSError:
            # What nobody was told to be written is taken back; what was acknowledged before is on the disk already.
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self.size)
            self.close()
            raise
        self.size += len(data)

    def close(self) -> None:
        """Close the file; `open` goes on in it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
