"""What processes ask of the kernel: a clock that goes on in a suspension, and memory that nobody else reads."""

import ctypes
import os
import sys
import time
from typing import Final

_SET_DUMPABLE: Final = 4  # linux/prctl.h


def read_boot_seconds() -> float:
    """Return seconds since the boot of the machine: a clock that is never set, and that a suspension does not stop.

    Knowledge, challenges and leases grow old by it. The monotonic clock stands still while a machine is suspended or
    paused: what was fresh before would be fresh after hours.
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def forbid_dumps() -> None:
    """Have the kernel write no core dump of this process, and let no other process of its user look into its memory.

    See prctl(2), PR_SET_DUMPABLE. On other systems than Linux nothing is done.

    Raises:
        OSError: The kernel does not do it.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
