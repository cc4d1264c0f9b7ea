"""The clock by which knowledge, challenges and leases grow old."""

import time


def read_boot_seconds() -> float:
    """Return seconds since the boot of the machine, its suspension included.

    The monotonic clock stands still while a machine is suspended or paused: what was fresh before would be fresh after
    hours.
    """
    return time.clock_gettime(time.CLOCK_BOOTTIME)
