"""Private memory for plaintext weights: anonymous, in huge pages, left out of core dumps, wiped before it is let go.

The first touch of small pages costs several times what decrypting into them does, so large mappings ask for huge
pages. Shared anonymous memory, Python's default, gets none.
"""

import contextlib
import ctypes
import mmap
from types import TracebackType
from typing import Final, Self

from sekisho.errors import Reason, RefusedError

HUGE_PAGE_BYTES: Final = 2 * 1024 * 1024
MAX_BYTES: Final = 1 << 46
_POPULATE_WRITE: Final = 23  # MADV_POPULATE_WRITE; older kernels refuse it
_ZEROS: Final = bytes(1 << 20)


class Region:
    """One private mapping of `size` bytes, zero at first; `release` it, or use it as a context.

    Args:
        size: Bytes of plaintext; 0 is allowed.

    Raises:
        RefusedError: The machine has not that much memory, or no machine has.
    """

    __slots__ = ("_memory", "_skip", "size")

    def __init__(self, size: int) -> None:
        if not 0 <= size <= MAX_BYTES:
            raise RefusedError(Reason.SIZE_EXCEEDED, f"{size} bytes are no size that can be loaded into memory")
        room = size + HUGE_PAGE_BYTES  # to begin at a huge page; memory that nobody touches costs nothing
        try:
            self._memory = mmap.mmap(-1, room, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except (OSError, ValueError) as error:
            raise RefusedError(
                Reason.MEMORY_SHORT, f"{size >> 20} MiB of memory cannot be had; give the container more"
            ) from error
        self.size = size
        self._skip = -_address_of(self._memory) % HUGE_PAGE_BYTES
        for advice in (mmap.MADV_DONTDUMP, *([mmap.MADV_HUGEPAGE] if size >= HUGE_PAGE_BYTES else [])):
            with contextlib.suppress(OSError):  # kernels without huge pages
                self._memory.madvise(advice)

    def __repr__(self) -> str:
        return f"Region({self.size} bytes)"

    @property
    def view(self) -> memoryview:
        """The bytes, writable, without a copy."""
        return memoryview(self._memory)[self._skip : self._skip + self.size]

    def populate(self) -> None:
        """Have the kernel provide all pages now; else they come as they are first touched."""
        if self.size:
            with contextlib.suppress(OSError):
                self._memory.madvise(_POPULATE_WRITE, self._skip, self.size)

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
