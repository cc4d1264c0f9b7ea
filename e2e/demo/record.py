"""The demo's last look: what the gateway wrote down, verified from files alone, as an officer would."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from e2e.cluster.provider import Cluster
from e2e.demo import screen
from e2e.installation import NAMESPACE, ROOT
from e2e.unpacking import unpack

FOLDER = "/var/lib/sekisho"
# The image has no tar; keys that sign and digest stay where they are.
_PACK = f"""
import base64, io, sys, tarfile
data = io.BytesIO()
with tarfile.open(fileobj=data, mode="w:gz") as archive:
    for name in ("logs", "log.pub"):
        archive.add("{FOLDER}/" + name, arcname=name)
sys.stdout.write(base64.b64encode(data.getvalue()).decode())
"""


def show_record(cluster: Cluster) -> bool:
    """Verify and search a copy of the ledger, then change a word of it; tell whether that showed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        screen.say("The gateway wrote an entry before each request went on. Its files are copied out of the pod:")
        _copy(cluster, folder)
        good = _sekisho("verify", folder)[0] & _sekisho("search", folder, "--service", "legal/contract-review")[0]
        journal = max((folder / "logs").glob("*/journal"), key=lambda place: place.stat().st_size)
        screen.say("Now somebody makes a refusal of the record read like a relay:")
        journal.write_bytes(journal.read_bytes().replace(b"refused", b"relayed", 1))
        verified, said = _sekisho("verify", folder, expect_failure=True)
    return good and not verified and "Record" in said


def _copy(cluster: Cluster, folder: Path) -> None:
    packed = cluster.kubectl(
        "exec", "-n", NAMESPACE, "sekisho-gateway-0", "-c", "gateway", "--", "/usr/bin/python3.11", "-c", _PACK
    )
    unpack(packed, folder)


def _sekisho(verb: str, folder: Path, *more: str, expect_failure: bool = False) -> tuple[bool, str]:
    """Run one command of the ledger and show what it says; return whether it succeeded, and its words."""
    screen.command(" ".join(("sekisho ledger", verb, "./logs --key log.pub", *more)))
    arguments = ("ledger", verb, str(folder / "logs"), "--key", str(folder / "log.pub"), *more)
    done = subprocess.run(
        (sys.executable, "-m", "sekisho.cli.main", *arguments),
        check=False, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(str(part) for part in (ROOT / "operator", ROOT))},
    )  # fmt: skip
    said = (done.stdout if done.returncode == 0 else done.stderr).strip().replace(str(folder), ".")
    lines = said.splitlines()[-6:]
    if done.returncode == 0:
        screen.output("\n".join(lines))
    else:
        (screen.stopped if expect_failure else screen.bad)(lines[-1] if lines else f"it ended with {done.returncode}")
    return done.returncode == 0, said
