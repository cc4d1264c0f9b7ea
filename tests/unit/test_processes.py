"""What each process imports is in its image: nothing of an extra that the image does not have."""

import subprocess
import sys

import pytest

ELSEWHERE = ("numpy", "kopf")  # in the controller's image alone
HOLD_KEYS = {
    "agent": ("build_server", 'main(["run"])'), "broker": ("run_process", "main()"), "cli": ("cli", "main()"),
    "unsafe_release": ("run_process", "main()"),
}  # fmt: skip
PROCESSES = ("agent", "attester", "broker", "depot", "gateway", "trust", "unsafe_release")


@pytest.mark.slow
@pytest.mark.parametrize("process", PROCESSES)
def test_a_process_starts_without_what_the_controller_alone_has(process: str) -> None:
    blocked = "".join(f"sys.modules[{name!r}] = None; " for name in ELSEWHERE)
    code = f"import sys; {blocked}import sekisho.{process}.main"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]


@pytest.mark.slow
@pytest.mark.parametrize("process", HOLD_KEYS)
def test_no_process_that_holds_keys_can_be_dumped_or_looked_into_by_its_user(process: str) -> None:
    inner, call = HOLD_KEYS[process]
    code = (
        f"import ctypes, os; import sekisho.{process}.main as m; ask = lambda: ctypes.CDLL(None).prctl(3, 0, 0, 0, 0); "
        f"before = ask(); m.{inner} = lambda *_, **__: (print(before, ask(), flush=True), os._exit(0)); m.{call}"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("1 0\n", 0), done.stderr[-500:]
