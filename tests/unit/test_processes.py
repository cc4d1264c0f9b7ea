"""What each process imports is in its image: nothing of an extra that the image does not have."""

import subprocess
import sys

import pytest

ELSEWHERE = ("numpy", "kopf")  # in the controller's image alone
PROCESSES = ("agent", "attester", "broker", "depot", "gateway", "trust", "unsafe_release")


@pytest.mark.slow
@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_starts_without_what_the_controller_alone_has(process: str) -> None:
    blocked = "".join(f"sys.modules[{name!r}] = None; " for name in ELSEWHERE)
    code = f"import sys; {blocked}import sekisho.{process}.main"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]
