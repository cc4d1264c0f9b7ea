"""Ways to bring a file's tensors into memory, each timed by itself: plain reads, and the product's loader."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bench.harness import Sample, WrongAnswerError
from bench.sealed.material import MIB, MODEL, Material
from sekisho.loader.mapping import Region
from sekisho.loader.opening import SealedModel, read_file_into
from sekisho.loader.reading import Read

_PIECE = 4 * MIB
_PAGE = 4096


def load_plain(place: Path, dest: memoryview, *, offsets: Sequence[tuple[int, int]], threads: int, read: Read) -> None:
    """Read stretches of a plain file to the same places of `dest`, in pieces of 4 MiB that the threads take in turn."""
    pieces = iter([(at, min(at + _PIECE, end)) for start, end in offsets for at in range(start, end, _PIECE)])
    descriptor = os.open(place, os.O_RDONLY)

    def work() -> None:
        for begin, end in pieces:
            done = begin
            while done < end:
                done += read(descriptor, [dest[done:end]], done)

    try:
        others = [threading.Thread(target=work) for _ in range(threads - 1)]
        for thread in others:
            thread.start()
        work()
        for thread in others:
            thread.join()
    finally:
        os.close(descriptor)


@dataclass(slots=True)
class Destination:
    """Memory that both sides load into in turn, so that neither pays for the first touch of a page.

    Attributes:
        region: As large as the plain file, with every page present.
    """

    region: Region

    @classmethod
    def for_file(cls, size: int) -> "Destination":
        """Make one, and have the kernel provide its pages."""
        region = Region(size)
        region.populate()
        return cls(region)

    def spoil(self) -> None:
        """Change every page, so that nothing of an earlier load is taken for a result."""
        np.frombuffer(self.region.view, np.uint8)[::_PAGE] ^= 0xFF


def read_plainly(material: Material, to: Destination, *, threads: int, read: Read = os.preadv) -> Sample:
    """Load the plain file's tensors."""
    spans = [(tensor.offset, tensor.offset + tensor.size) for tensor in material.tensors]
    first = spans[0][0]
    with material.plain.open("rb") as file:
        to.region.view[:first] = file.read(first)
    return timed(
        material, lambda: load_plain(material.plain, to.region.view, offsets=spans, threads=threads, read=read)
    )


def read_sealed(
    material: Material, model: SealedModel, to: Destination, *, threads: int, read: Read = os.preadv
) -> Sample:
    """Load the sealed file by the product's loader."""
    source = replace(model, read=read)
    return timed(material, lambda: read_file_into(source, MODEL, to.region.view, threads=threads))


def timed(material: Material, work: Callable[[], None]) -> Sample:
    """Time a load; its units are mebibytes."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Sample(material.mebibytes, wall, cpu)


def must_hold(material: Material, to: Destination) -> None:
    """Compare a destination with the plain file.

    Raises:
        WrongAnswerError: A byte differs.
    """
    for start, chunk in _chunks(material.plain):
        found = np.frombuffer(to.region.view[start : start + len(chunk)], np.uint8)
        if not np.array_equal(found, np.frombuffer(chunk, np.uint8)):
            raise WrongAnswerError(f"the bytes loaded differ from the plain file near byte {start}")


def _chunks(place: Path) -> Iterator[tuple[int, bytes]]:
    start = 0
    with place.open("rb", buffering=0) as file:
        while chunk := file.read(_PIECE):
            yield start, chunk
            start += len(chunk)


class Pace:
    """A source that gives its bytes at a rate, front to back, as a disk or network with read-ahead does.

    Args:
        bytes_per_second: The rate; byte n is there n / rate seconds after the first read.
    """

    def __init__(self, bytes_per_second: float) -> None:
        self._rate = bytes_per_second
        self._started: float | None = None
        self._lock = threading.Lock()

    def read(self, descriptor: int, buffers: Sequence[memoryview], offset: int) -> int:
        """Read as `os.preadv` does, not before the bytes are there."""
        with self._lock:
            self._started = self._started or time.perf_counter()
        length = sum(buffer.nbytes for buffer in buffers)
        wait = self._started + (offset + length) / self._rate - time.perf_counter()
        if wait > 0:
            time.sleep(wait)
        return os.preadv(descriptor, buffers, offset)
