"""What is asked of the kernel."""

import subprocess
import sys
import time

import pytest

from sekisho.kernel import read_boot_seconds

GET_DUMPABLE = 3  # linux/prctl.h


def test_the_clock_is_that_of_the_boot_and_not_the_monotonic_one() -> None:
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= read_boot_seconds() <= time.clock_gettime(time.CLOCK_BOOTTIME)


@pytest.mark.skipif(sys.platform != "linux", reason="there is nothing of the kind elsewhere")
def test_a_process_that_forbids_dumps_is_no_longer_dumpable() -> None:
    code = (
        "import ctypes; from sekisho.kernel import forbid_dumps; "
        f"ask = lambda: ctypes.CDLL(None).prctl({GET_DUMPABLE}, 0, 0, 0, 0); "
        "before = ask(); forbid_dumps(); print(before, ask())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "0"]
