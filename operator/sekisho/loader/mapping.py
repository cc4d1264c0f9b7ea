"""Private memory for plaintext weights: anonymous, in huge pages, left out of core dumps, wiped before it is let go.

The first touch of small pages costs more than decrypting into them, so large mappings ask for huge pages, and for
all of them at once. Shared anonymous memory, Python's default, gets no huge pages.
"""

import contextlib
import ctypes
import mmap
from types import TracebackType
from typing import Final, Self

from sekisho.errors import Reason, RefusedError

HUGE_PAGE_BYTES: Final = 2 * 1024 * 1024
CACHE_LINE_BYTES: Final = 64
MAX_BYTES: Final = 1 << 46
_POPULATE_WRITE: Final = 23  # MADV_POPULATE_WRITE; older kernels refuse it and the pages come one by one
_ZEROS: Final = bytes(1 << 20)


class Region:
    """One private mapping of `size` bytes, zero at first; `release` it, or use it as a context.

    Args:
        size: Bytes of plaintext; 0 is allowed.
        aligned_at: The byte of the region that shall stand at the start of a cache line. Ciphers are a tenth slower
            where every line is crossed.

    Raises:
        RefusedError: The machine has not that much memory, or no machine has.
    """

    __slots__ = ("_memory", "_skip", "size")

    def __init__(self, size: int, *, aligned_at: int = 0) -> None:
        if not 0 <= size <= MAX_BYTES:
            raise RefusedError(Reason.SIZE_EXCEEDED, f"{size} bytes are no size that can be loaded into memory")
        # Room to begin at a huge page and then move by less than a line; memory that nobody touches costs nothing.
        room = size + HUGE_PAGE_BYTES + CACHE_LINE_BYTES
        try:
            self._memory = mmap.mmap(-1, room, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except (OSError, ValueError) as error:
            raise RefusedError(
                Reason.MEMORY_SHORT, f"{size >> 20} MiB of memory cannot be had; give the container more"
            ) from error
        self.size = size
        self._skip = -_address_of(self._memory) % HUGE_PAGE_BYTES + -aligned_at % CACHE_LINE_BYTES
        for advice in (mmap.MADV_DONTDUMP, *([mmap.MADV_HUGEPAGE] if size >= HUGE_PAGE_BYTES else [])):
            with contextlib.suppress(OSError):  # kernels without huge pages
                self._memory.madvise(advice)

    def __repr__(self) -> str:
        return f"Region({self.size} bytes)"

    @property
    def view(self) -> memoryview:
        """The bytes, writable, without a copy."""
        return memoryview(self._memory)[self._skip : self._skip + self.size]

    def populate(self, start: int = 0, end: int | None = None) -> None:
        """Have the kernel provide the pages of a part, by default of all, in one go."""
        first = (self._skip + start) // mmap.PAGESIZE * mmap.PAGESIZE
        length = self._skip + (self.size if end is None else end) - first
        if length > 0:
            with contextlib.suppress(OSError):
                self._memory.madvise(_POPULATE_WRITE, first, length)

    def wipe(self) -> None:
        """Overwrite everything with zeros."""
        wipe(self.view)

    def release(self) -> None:
        """Wipe, and give the memory back; where someone still looks at it, it goes when they let go of it."""
        if self._memory.closed:
            return
        self.wipe()
        with contextlib.suppress(BufferError):
            self._memory.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def wipe(view: memoryview) -> None:
    """Overwrite contiguous bytes with zeros, without another buffer of their size."""
    flat = view.cast("B")
    for start in range(0, flat.nbytes, len(_ZEROS)):
        part = flat[start : start + len(_ZEROS)]
        part[:] = _ZEROS[: part.nbytes]


def _address_of(memory: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))
