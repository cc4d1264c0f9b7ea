"""The files of the record: appended to, synced, rotated, and opened behind their last whole line."""

import contextlib
import errno
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from sekisho.errors import Reason, UnavailableError
from sekisho.ledger.chain import MAX_LINE, Head, measure_sound, read_line, seal_line

_SEGMENTS: Final = "record-*.jsonl"


class Segments:
    """The last file of the chain."""

    def __init__(self, folder: Path, segment_bytes: int, *, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._others = 0
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._descriptor = -1
        self._number = 0
        self._size = 0
        self.head = Head()

    @property
    def is_open(self) -> bool:
        """Whether something can be appended."""
        return self._descriptor >= 0

    def open(self) -> int:
        """Open the last file behind its last whole line; return how many torn bytes were cut off."""
        if self._number and self._reopen():
            return 0
        self._folder.mkdir(parents=True, exist_ok=True)
        files = sorted(self._folder.glob(_SEGMENTS))
        # Where the files are gone while this process runs, the chain goes on, so that the gap shows.
        self._number, before = max(1, self._number), self.head
        if files:
            self._number = int(files[-1].stem.partition("-")[2])
            before = _last_head(files[-2]) if len(files) > 1 else _head_before(files[0])
        path = self._path()
        data = path.read_bytes() if files else b""
        sound, self.head = measure_sound(data, before)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            if len(data) > sound:
                os.ftruncate(self._descriptor, sound)
                os.fsync(self._descriptor)
            sync_folder(self._folder)
        except OSError:
            self.close()
            raise
        self._size = sound
        self._measure()
        return len(data) - sound

    def _reopen(self) -> bool:
        """Go on in the file of before, where it still holds what was acknowledged; a full disk costs no reading."""
        try:
            descriptor = os.open(self._path(), os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            if os.fstat(descriptor).st_size < self._size:
                os.close(descriptor)
                return False
            os.ftruncate(descriptor, self._size)
            os.fsync(descriptor)
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        self._measure()
        return True

    def append(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Write the entries and wait for the disk; after a failure the file is closed, its torn end cut at reopening.

        Raises:
            OSError: The disk did not take them.
        """
        try:
            if self._size >= self._segment_bytes:
                self._rotate()
            head, lines = self.head, []
            for entry in entries:
                line, head = seal_line(head, entry)
                lines.append(line)
            data = b"".join(lines)
            self._check_room(len(data))
            self._write(data)
            os.fdatasync(self._descriptor)
        except OSError:
            self._undo()
            raise
        self.head = head
        self._size += len(data)

    def _check_room(self, size: int) -> None:
        """Stop before the volume's own limit: a pod that exceeds an emptyDir's is evicted, and its record lost."""
        if (held := self._others + self._size) + size > self._max_bytes:
            raise OSError(
                errno.ENOSPC,
                f"the record holds {held} bytes, {self._max_bytes} are allowed; move finished files away or raise "
                "SEKISHO_RECORD_MAX",
            )

    def _measure(self) -> None:
        self._others = sum(path.stat().st_size for path in self._folder.glob(_SEGMENTS) if path != self._path())

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def _undo(self) -> None:
        """Take back what nobody was told to be written; what was acknowledged before is on the disk already."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, self._size)
        self.close()

    def _rotate(self) -> None:
        self.close()
        self._number, self._size = self._number + 1, 0
        self._measure()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(self._path(), flags, 0o600)
        sync_folder(self._folder)

    def _path(self) -> Path:
        return self._folder / f"record-{self._number:08d}.jsonl"

    def close(self) -> None:
        """Close the file; `open` goes on in it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def list_lines(folder: Path) -> list[bytes]:
    """Return every line of a record, over all its files, without line breaks."""
    return [line for path in sorted(folder.glob(_SEGMENTS)) for line in path.read_bytes().split(b"\n") if line]


def _head_before(path: Path) -> Head:
    """Return what the first line of the oldest file that is left follows; those before may have been moved away."""
    with path.open("rb") as file:
        first = read_line(file.readline(MAX_LINE + 1).rstrip(b"\n"))
    return Head(first[0].seq - 1, first[1]) if first is not None else Head()


def _last_head(path: Path) -> Head:
    last = path.read_bytes().rstrip(b"\n").rpartition(b"\n")[2]
    found = read_line(last)
    if found is None:
        raise UnavailableError(
            Reason.RECORD_BROKEN, f"{path.name} does not end with a whole line; move the files away and look at them"
        )
    return found[0]


def sync_folder(folder: Path) -> None:
    """Wait until the disk knows the names in a folder."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
