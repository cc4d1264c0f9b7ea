"""Run an image as a kubelet would, without a container runtime: its own mounts, a read-only root, user 65532.

For smoke tests. Needs root. The network is the host's, so servers are told to listen on the loopback address.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imagebuild.debian import RUN_AS
from imagebuild.oci import read_config
from imagebuild.unpacked import lend_root

_KILL_SECONDS = 60

# $1 root, $2 folder for /models or nothing, $3 folder for /tmp/cache or nothing; what follows is run inside
_ENTER = f"""
set -e
root=$1 models=$2 cache=$3; shift 3
mount --bind "$root" "$root"
mount -t tmpfs -o mode=1777 tmp "$root/tmp"
mount -t proc proc "$root/proc"
mount --bind /sys "$root/sys"
mount -t tmpfs -o mode=755 dev "$root/dev"
mkdir -m 1777 "$root/dev/shm"
mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
for device in null zero full random urandom; do
  : > "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
if [ -n "$models" ]; then mount --bind "$models" "$root/models"; mount -o remount,bind,ro "$root/models"; fi
if [ -n "$cache" ]; then mkdir "$root/tmp/cache"; mount --bind "$cache" "$root/tmp/cache"; fi
mount -o remount,bind,ro "$root"
exec chroot --userspec={RUN_AS}:{RUN_AS} --groups={RUN_AS} "$root" "$@"
"""


@dataclass(frozen=True, slots=True)
class RunningImage:
    """A started image: its process, the file that takes what it prints, and its root, which others may run too."""

    process: subprocess.Popen[bytes]
    log: Path
    root: Path

    @property
    def printed(self) -> str:
        """Return everything it has printed so far."""
        return self.log.read_text(errors="replace")

    def terminate(self) -> None:
        """Ask the image's first process to end, as a kubelet does."""
        for child in _children(self.process):
            os.kill(child, signal.SIGTERM)


@contextmanager
def run_image(
    archive: Path,
    work: Path,
    *,
    arguments: Sequence[str] = (),
    entrypoint: Sequence[str] = (),
    models: Path | None = None,
    cache: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[RunningImage]:
    """Run an archive until the block ends; everything it started is gone then, and what was unpacked for it alone.

    Args:
        archive: a finished image.
        work: a folder for the log.
        arguments: instead of the image's CMD.
        entrypoint: instead of the image's ENTRYPOINT.
        models: folder to show read-only at /models.
        cache: folder of the image's user to show at /tmp/cache, as a container that starts again in its pod finds it.
        environment: on top of the image's own.
    """
    config: dict[str, Any] = read_config(archive)["config"]
    log = work / "log"
    command = [*(entrypoint or config["Entrypoint"]), *(arguments or config.get("Cmd") or ())]
    enter = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "--pid",
        "--fork",
        "sh",
        "-c",
        _ENTER,
        "enter",
    ]
    own = dict(pair.partition("=")[::2] for pair in config["Env"]) | dict(environment or {})
    own["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin"
    work.mkdir(parents=True, exist_ok=True)
    with lend_root(archive) as root, log.open("wb") as output:
        process = subprocess.Popen(
            [*enter, str(root), str(models or ""), str(cache or ""), *command],
            env=own, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            yield RunningImage(process, log, root)
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the image's first process, which takes its pid namespace with it.

    unshare's own --kill-child does not: the kernel forgets it when the process changes its user.
    """
    if process.poll() is None:
        for child in _children(process):
            with suppress(ProcessLookupError):  # it may end by itself just now
                os.kill(child, signal.SIGKILL)
    try:
        process.wait(timeout=_KILL_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(timeout=_KILL_SECONDS)


def _children(process: subprocess.Popen[bytes]) -> list[int]:
    until = time.monotonic() + _KILL_SECONDS
    listing = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while process.poll() is None and time.monotonic() < until:
        if found := [int(word) for word in listing.read_text().split()]:
            return found
        time.sleep(0.05)
    return []
