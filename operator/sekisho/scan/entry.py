"""One file, or one member of an archive, as the checks see it."""

from dataclasses import dataclass
from typing import BinaryIO, Final, Protocol

from sekisho.scan.findings import Check, Collector, Finding, Severity, show

HEAD_BYTES: Final = 4096
WHOLE_BYTES: Final = 16 * 1024 * 1024


class ModelFile(Protocol):
    """A file of a model that somebody else opens.

    Attributes:
        path: Relative to the model's folder, "/" between parts.
        size: Bytes of it.
    """

    @property
    def path(self) -> str:
        """Where it stands."""
        ...

    @property
    def size(self) -> int:
        """How many bytes it has."""
        ...

    def open(self) -> BinaryIO:
        """Open it, seekable and buffered, at its start; the scan closes it."""
        ...


@dataclass(frozen=True, slots=True)
class Entry:
    """What is being looked at.

    Attributes:
        path: The file of the model.
        member: Name inside the archive; empty for the file itself.
        size: Bytes in all.
        head: The first 4 KiB.
        stream: The bytes at their start, seekable; of a large member of an archive only the first 16 MiB.
    """

    path: str
    member: str
    size: int
    head: bytes
    stream: BinaryIO
    found: Collector

    @property
    def name(self) -> str:
        """Its own name in lower case, without folders."""
        return (self.member or self.path).rsplit("/", 1)[-1].lower()

    def report(self, check: Check, severity: Severity, detail: str, where: str = "") -> None:
        """Hold something against it."""
        place = ": ".join(part for part in (show(self.member, 80), show(where, 80)) if part)
        self.found.add(Finding(self.path, check, severity, place, show(detail)))

    def read_whole(self, most: int = WHOLE_BYTES) -> bytes | None:
        """Read all of it; None where it has more than `most` bytes or is not all there."""
        if self.size > most:
            return None
        self.stream.seek(0)
        data = self.stream.read(self.size + 1)
        return data if len(data) == self.size else None


class TooLongError(Exception):
    """Say that a part of a file is longer than anybody should read."""


@dataclass(slots=True)
class Window:
    """A stream that gives at most `left` bytes, and `most` at once, to readers that trust lengths they find.

    What passes a bound raises TooLongError before anything is allocated.
    """

    stream: BinaryIO
    left: int
    most: int

    def read(self, length: int = -1) -> bytes:
        """Read `length` bytes, or raise."""
        if length > self.most or length > self.left:
            raise TooLongError
        data = self.stream.read(min(self.most, self.left) + 1 if length < 0 else length)
        if len(data) > min(self.most, self.left):
            raise TooLongError
        self.left -= len(data)
        return data

    def readline(self) -> bytes:
        """Read a line, or raise."""
        data = self.stream.readline(min(self.most, self.left) + 1)
        if len(data) > min(self.most, self.left):
            raise TooLongError
        self.left -= len(data)
        return data

    def tell(self) -> int:
        """Tell the place."""
        return self.stream.tell()

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place."""
        return self.stream.seek(offset, whence)

    def seekable(self) -> bool:
        """Say yes."""
        return True
