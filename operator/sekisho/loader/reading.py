"""Open segments straight into their destination: a few threads, one scratch each, the next segment to whoever is free.

Each thread reads the ciphertext of a whole segment into its scratch, puts the tag behind it, and decrypts from there
into the destination. Two facts, both measured: AES-GCM is bound by arithmetic and not by memory, so smaller steps that
stay nearer to the core only add calls; and ciphertext must be copied before it is checked, because what is mapped from
a file can change between the check of the tag and the decryption.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

from sekisho.errors import Reason, RefusedError
from sekisho.loader.mapping import Region, wipe
from sekisho.seal.facts import TAG_BYTES
from sekisho.seal.segments import SegmentOpener
from sekisho.seal.table import Segment

MAX_THREADS: Final = 64
_MOST_BY_DEFAULT: Final = 8
_COMES_UP_SECONDS: Final = 0.5
Read = Callable[[int, Sequence[memoryview], int], int]


@dataclass(frozen=True, slots=True)
class Source:
    """The ciphertext of one file and what opens it.

    Attributes:
        descriptor: The open file.
        segments: All segments of the file, by the verified table.
        name: What the file is called in a refusal.
        read: Reads at an offset as `os.preadv` does.
    """

    descriptor: int
    segments: Sequence[Segment]
    opener: SegmentOpener
    name: str
    read: Read = os.preadv


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of a file's plaintext and where it goes.

    Attributes:
        start: Where it begins in the file.
        dest: As many writable bytes as the stretch has; nobody may read them before `open_parts` returns.
    """

    start: int
    dest: memoryview

    @property
    def end(self) -> int:
        """Where it ends in the file."""
        return self.start + self.dest.nbytes


def count_threads() -> int:
    """Tell how many threads are worth having: one a core of this process, 8 at most."""
    return max(1, min(len(os.sched_getaffinity(0)), _MOST_BY_DEFAULT))


def open_parts(source: Source, parts: Sequence[Part], *, threads: int | None = None) -> None:
    """Decrypt parts of a file into their destinations; segments that no part touches are not read.

    Args:
        source: The file.
        parts: Ascending and without overlap. An empty file has its only tag checked whatever they are.
        threads: 1 to 64, this one among them; by default one a core.

    Raises:
        RefusedError: A segment does not open, or the ciphertext ends early or cannot be read. All destinations are
            zeros then.
    """
    wanted = count_threads() if threads is None else threads
    if not 1 <= wanted <= MAX_THREADS:
        raise ValueError(f"{wanted} threads; 1 to {MAX_THREADS} are possible")
    _check(source.segments, parts)
    jobs = list(_plan(source.segments, parts))
    largest = max((job.segment.length for job in jobs), default=0)
    work = _Work(source, iter(jobs), largest)
    try:
        _run(work, min(wanted, len(jobs)))
        if work.failures:
            raise work.failures[0]
    except BaseException:
        for part in parts:
            wipe(part.dest)
        raise


@dataclass(frozen=True, slots=True)
class _Job:
    """A segment and the places of its plaintext: (where it begins in the segment, destination)."""

    segment: Segment
    pieces: tuple[tuple[int, memoryview], ...]


@dataclass(slots=True)
class _Work:
    source: Source
    jobs: Iterator[_Job]  # of a list, so that threads can share it
    largest: int
    failures: list[BaseException] = field(default_factory=list)

    def do(self, ended: threading.Event | None = None) -> None:
        try:
            with _Scratch(self.largest) as scratch:
                for job in self.jobs:
                    if self.failures:
                        return
                    _open_job(self.source, job, scratch)
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that asked
            self.failures.append(error)
        finally:
            if ended is not None:
                ended.set()


class _Scratch:
    """Memory of one thread: a segment as it is stored, and a segment of plaintext where it has several destinations."""

    __slots__ = ("_largest", "_spare", "_stack", "sealed")

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self._stack = ExitStack()
        self._spare: memoryview | None = None

    def __enter__(self) -> "_Scratch":
        self.sealed = self._stack.enter_context(Region(self._largest + TAG_BYTES)).view
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def spare(self) -> memoryview:
        if self._spare is None:
            self._spare = self._stack.enter_context(Region(self._largest)).view
        return self._spare


def _run(work: _Work, threads: int) -> None:
    # Not by join: an interrupted join of Python 3.11 takes the thread for ended though it still writes.
    ended = [threading.Event() for _ in range(1, threads)]
    others = [
        threading.Thread(target=work.do, args=(event,), name=f"unseal-{number}")
        for number, event in enumerate(ended, start=1)
    ]
    try:
        for thread in others:
            thread.start()
        work.do()
        _wait(ended)
    except BaseException as error:  # an interrupt: the others must have stopped before anything is wiped
        work.failures.append(error)
        _wait([event for thread, event in zip(others, ended, strict=True) if _has_begun(thread)])
        raise


def _has_begun(thread: threading.Thread) -> bool:
    """Tell whether a thread runs or ran; one whose start was interrupted has a moment to come up."""
    deadline = time.monotonic() + _COMES_UP_SECONDS
    while thread.ident is None and time.monotonic() < deadline:
        time.sleep(0.01)
    return thread.ident is not None


def _wait(events: Sequence[threading.Event]) -> None:
    for event in events:
        event.wait()


def _check(segments: Sequence[Segment], parts: Sequence[Part]) -> None:
    place = 0
    for part in parts:
        if part.dest.readonly or part.start < place:
            raise ValueError("parts must be writable, ascend and not overlap")
        place = part.end
    if place > segments[-1].offset + segments[-1].length:
        raise ValueError("a part passes the end of the file")


def _plan(segments: Sequence[Segment], parts: Sequence[Part]) -> Iterator[_Job]:
    """Give each segment its pieces; both lists ascend, so one pass is enough."""
    first = 0
    for segment in segments:
        if segment.length == 0:  # of an empty file: no bytes, but a tag
            yield _Job(segment, ((0, memoryview(bytearray())),))
            continue
        while first < len(parts) and parts[first].end <= segment.offset:
            first += 1
        if pieces := tuple(_cut_pieces(segment, parts, first)):
            yield _Job(segment, pieces)


def _cut_pieces(segment: Segment, parts: Sequence[Part], first: int) -> Iterator[tuple[int, memoryview]]:
    segment_end = segment.offset + segment.length
    for place in range(first, len(parts)):
        part = parts[place]
        if part.start >= segment_end:
            return
        begin, end = max(part.start, segment.offset), min(part.end, segment_end)
        if begin < end:
            yield begin - segment.offset, part.dest[begin - part.start : end - part.start]


def _open_job(source: Source, job: _Job, scratch: _Scratch) -> None:
    segment, length = job.segment, job.segment.length
    sealed = scratch.sealed[: length + TAG_BYTES]
    _fill(source, segment.offset, sealed[:length])
    sealed[length:] = segment.tag
    start, dest = job.pieces[0]
    if start == 0 and dest.nbytes == length:
        source.opener.open_into(segment.index, sealed, dest)
        return
    spare = scratch.spare()[:length]
    source.opener.open_into(segment.index, sealed, spare)
    for start, dest in job.pieces:
        dest[:] = spare[start : start + dest.nbytes]


def _fill(source: Source, offset: int, into: memoryview) -> None:
    done = 0
    while done < into.nbytes:
        try:
            count = source.read(source.descriptor, [into[done:] if done else into], offset + done)
        except OSError as error:
            raise _broken(source, f"cannot be read at byte {offset + done}: {error.strerror}") from error
        if count == 0:
            raise _broken(source, f"ends at byte {offset + done}, where its segments go on")
        done += count


def _broken(source: Source, text: str) -> RefusedError:
    return RefusedError(Reason.SEAL_BROKEN, f"the ciphertext of {source.name} {text}; fetch it again")
