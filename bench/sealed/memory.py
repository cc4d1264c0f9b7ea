"""W7: the peak of a fresh process that loads the sealed model, beyond the model itself."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

from bench.harness import WrongAnswerError
from bench.sealed.material import MIB, MODEL, Material
from bench.sealed.opened import open_sealed
from sekisho.loader.tensors import load_tensors

_SECONDS: Final = 120


def measure_extra_mib(material: Material, *, threads: int) -> float:
    """Load in a process of its own and return how many mebibytes it needed at most beyond the model.

    Raises:
        WrongAnswerError: It failed, or loaded something else.
    """
    request = {"folder": str(material.sealed), "dataKey": material.data_key, "threads": threads}
    done = subprocess.run(
        [sys.executable, "-m", "bench.sealed.memory"],
        input=json.dumps(request), capture_output=True, text=True, timeout=_SECONDS, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise WrongAnswerError(f"the loading process ended with {done.returncode}: {done.stderr[-500:]}")
    answer = json.loads(done.stdout)
    if answer["bytes"] != material.size:
        raise WrongAnswerError(f"{answer['bytes']} bytes were loaded, not {material.size}")
    return float(answer["extra"]) / MIB


def main() -> None:
    """Load what standard input names, and print what it came to."""
    request = json.load(sys.stdin)
    model = open_sealed(Path(request["folder"]), request["dataKey"])
    before = read_status("VmRSS")
    reset_peak()
    loaded = load_tensors(model, MODEL, threads=request["threads"])
    extra = read_status("VmHWM") - before - loaded.region.size
    print(json.dumps({"extra": extra, "bytes": loaded.region.size}))


def read_status(name: str) -> int:
    """Read one size of this process, in bytes: VmRSS what is resident, VmHWM its peak."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(name)


def reset_peak() -> None:
    """Begin a new VmHWM."""
    Path("/proc/self/clear_refs").write_text("5")


if __name__ == "__main__":
    main()
