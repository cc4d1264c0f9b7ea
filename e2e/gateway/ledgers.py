"""What a replica wrote down, copied from its disk and verified as an officer would."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from e2e.gateway.conftest import Stage
from e2e.installation import ROOT
from e2e.observe import wait_for
from e2e.unpacking import unpack


def verify_ledger(stage: Stage, pod: str, receipts: Sequence[str]) -> str:
    """Wait until the ledger of a replica verifies with every receipt that callers have of it; return what is said.

    A checkpoint may be some seconds behind the entries, so a copy that was taken before does not speak of them yet.
    """
    said = ""

    def look() -> str:
        nonlocal said
        done = _verify(stage, pod, receipts)
        said = done.stdout + done.stderr
        return done.stdout if done.returncode == 0 else ""

    try:
        return wait_for(look, f"the ledger of {pod} verifies", pause=1)
    except TimeoutError as error:
        raise AssertionError(f"the ledger of {pod} does not verify: {said}") from error


def _verify(stage: Stage, pod: str, receipts: Sequence[str]) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        packed = stage.on_node(pod, "sh", "-c", f"tar -C {stage.disks[pod][1]} -cf - logs log.pub | base64")
        unpack(packed, folder)
        arguments = ["ledger", "verify", str(folder / "logs"), "--key", str(folder / "log.pub")]
        for number, receipt in enumerate(receipts):
            (folder / f"{number}.receipt").write_text(f"{receipt}\n")
            arguments += ["--receipt", str(folder / f"{number}.receipt")]
        return subprocess.run(
            (sys.executable, "-m", "sekisho.cli.main", *arguments),
            check=False, capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(str(part) for part in (ROOT / "operator", ROOT))},
        )  # fmt: skip
