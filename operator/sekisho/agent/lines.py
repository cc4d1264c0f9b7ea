"""Lines to the depot: each opens one stretch of a file after another, every byte through two buffers of its own.

A large file is cut into stretches, so that several lines work on it at once; where its bytes go is known before, and
memory stays what the lines' buffers are. Nothing of a segment is written before its tag held.
"""

import contextlib
import http.client
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Final

from sekisho.agent.release import wipe
from sekisho.agent.transport import ServerAccess, open_blob
from sekisho.errors import Reason, RefusedError, UnavailableError
from sekisho.seal.facts import SEGMENT_BYTES, TAG_BYTES, SealedFile
from sekisho.seal.segments import SegmentOpener
from sekisho.seal.table import Segment

LINES: Final = 3
_LEAST_STRETCH_BYTES: Final = 32 << 20
_MOST_STRETCH_BYTES: Final = 512 << 20
_STRETCHES_A_LINE: Final = 2
_ATTEMPTS: Final = 4
_PAUSE_SECONDS: Final = 0.5


@dataclass(slots=True)
class Target:
    """A file to unseal: half written below `partial`, and at `place` once all of its stretches are whole.

    Attributes:
        key: The file's own key; wiped as soon as the cipher has it, or when the file is given up.
        open_stretches: How many are not whole yet.
    """

    file: SealedFile
    partial: Path
    place: Path
    key: bytearray = field(repr=False)
    open_stretches: int = 1
    _opener: SegmentOpener | None = field(default=None, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def begin(self) -> SegmentOpener:
        """Make the half-written file, once, and return what opens its segments."""
        with self._lock:
            if self._opener is None:
                self._opener = SegmentOpener(self.key, self.file.segments, name=f'"{self.file.path}"')
                wipe(self.key)
                self.partial.open("xb").close()
            return self._opener

    def conclude(self) -> None:
        """Note that a stretch is whole; the last one gives the file its name."""
        with self._lock:
            self.open_stretches -= 1
            if self.open_stretches:
                return
            self._opener = None
            self.partial.chmod(0o444)
            self.place.parent.mkdir(parents=True, exist_ok=True)
            self.partial.rename(self.place)

    def give_up(self) -> None:
        """Wipe the key, if it still is there."""
        wipe(self.key)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some segments of a file, one after another."""

    target: Target
    segments: Sequence[Segment]


def cut_stretches(target: Target, segments: Sequence[Segment]) -> Iterator[Stretch]:
    """Cut a file so that every line finds work; small files stay whole. Sets how many stretches are open."""
    wanted = target.file.size // (LINES * _STRETCHES_A_LINE)
    least = max(_LEAST_STRETCH_BYTES, min(_MOST_STRETCH_BYTES, wanted))
    cuts, begin, size = [], 0, 0
    for index, segment in enumerate(segments):
        size += segment.length
        if size >= least or index == len(segments) - 1:
            cuts.append(segments[begin : index + 1])
            begin, size = index + 1, 0
    target.open_stretches = len(cuts)
    return (Stretch(target, cut) for cut in cuts)


@dataclass(slots=True)
class Line:
    """One connection at a time, and two buffers of the size of a segment.

    Attributes:
        stop: Ends the work soon after it is set.
        halt: Set once any line failed.
        progress: Called with the number of bytes that were added.
    """

    depot: ServerAccess
    stop: threading.Event
    halt: threading.Event
    progress: Callable[[int], None]
    _sealed: bytearray = field(default_factory=lambda: bytearray(SEGMENT_BYTES + TAG_BYTES), repr=False)
    _plain: bytearray = field(default_factory=lambda: bytearray(SEGMENT_BYTES), repr=False)

    def wipe(self) -> None:
        """Overwrite what the buffers hold."""
        wipe(self._plain)
        wipe(self._sealed)

    def unseal(self, stretch: Stretch) -> None:
        """Unseal every segment; where a connection breaks off, go on by another from the same segment.

        Raises:
            RefusedError: A segment does not open, or the volume cannot be written.
            UnavailableError: The depot goes on breaking off, or the work was stopped.
        """
        target, segments = stretch.target, stretch.segments
        with _disk_errors(target.file.path):
            opener = target.begin()
        done = failures = 0
        while done < len(segments):
            before = done
            try:
                for _ in self._stream(target, segments[done:], opener):
                    done += 1
            except UnavailableError:
                failures = 0 if done > before else failures + 1
                if failures >= _ATTEMPTS or self._is_over() or self.stop.wait(_PAUSE_SECONDS * failures):
                    raise
        with _disk_errors(target.file.path):
            target.conclude()

    def _stream(self, target: Target, segments: Sequence[Segment], opener: SegmentOpener) -> Iterator[Segment]:
        file, begin = target.file, segments[0].offset
        end = segments[-1].offset + segments[-1].length
        to_the_end = end == file.size
        with open_blob(self.depot, file.ciphertext.digest, offset=begin, end=None if to_the_end else end) as response:
            span = f"bytes {begin}-{end - 1}/{file.size}"
            if (begin or not to_the_end) and response.headers.get("Content-Range") != span:
                raise UnavailableError(
                    Reason.DEPOT_UNREACHABLE, f'the depot did not resume "{file.path}" at byte {begin}'
                )
            with _opened(target) as out:
                out.seek(begin)
                for segment in segments:
                    if self._is_over():
                        raise UnavailableError(Reason.WEIGHTS_PENDING, "the transfer was stopped")
                    with _disk_errors(file.path):
                        self._open(segment, opener, response, out)
                    self.progress(segment.length)
                    yield segment

    def _open(self, segment: Segment, opener: SegmentOpener, response: http.client.HTTPResponse, out: FileIO) -> None:
        """Read one segment, open it, and write it; nothing is written before its tag held."""
        end = segment.length
        sealed, plain = memoryview(self._sealed)[: end + TAG_BYTES], memoryview(self._plain)[:end]
        _read_whole(response, sealed[:end])
        sealed[end:] = segment.tag
        opener.open_into(segment.index, sealed, plain)
        _write_whole(out, plain)

    def _is_over(self) -> bool:
        return self.stop.is_set() or self.halt.is_set()


def _read_whole(response: http.client.HTTPResponse, view: memoryview) -> None:
    done = 0
    try:
        while done < len(view) and (count := response.readinto(view[done:])):
            done += count
    except (OSError, http.client.HTTPException) as error:
        raise UnavailableError(Reason.DEPOT_UNREACHABLE, f"the depot broke off: {type(error).__name__}") from error
    if done < len(view):
        raise UnavailableError(Reason.DEPOT_UNREACHABLE, f"the depot broke off {len(view) - done} bytes too early")


def _write_whole(out: FileIO, view: memoryview) -> None:
    done = 0
    while done < len(view):
        done += out.write(view[done:])


@contextlib.contextmanager
def _opened(target: Target) -> Iterator[FileIO]:
    """Open the half-written file for one stretch; it is there, so a failure is the volume's."""
    with _disk_errors(target.file.path):
        descriptor = os.open(target.partial, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with FileIO(descriptor, "wb") as out:
        yield out


@contextlib.contextmanager
def _disk_errors(path: str) -> Iterator[None]:
    """Tell a full volume from a broken connection: both are OSErrors."""
    try:
        yield
    except OSError as error:
        raise RefusedError(
            Reason.SIZE_EXCEEDED,
            f'"{path}" cannot be written to the memory-backed volume: {error.strerror or type(error).__name__}; make '
            "it larger by stating the Model's size",
        ) from error
