"""Network namespaces by name, and commands within them."""

import contextlib
import ctypes
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from e2e.cluster.errors import ClusterError
from e2e.cluster.processes import poll

NETNS_DIR = Path("/run/netns")
BRIEF_GO = {"GOGC": "off", "GOMEMLIMIT": "512MiB"}
"""What saves programs in Go that end at once a third of their time: their garbage ends with them."""

_CLONE_NEWNET = 0x40000000


def run(
    command: Sequence[str],
    *,
    stdin: str | None = None,
    check: bool = True,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run a command and return its standard output.

    Args:
        command: Program and arguments; the program is looked up in PATH.
        stdin: What it reads; None is nothing.
        check: Whether a failure raises.
        environment: On top of our own.

    Raises:
        ClusterError: It failed and `check` is on; carries what it wrote.
    """
    try:
        done = subprocess.run(
            list(command),
            check=False,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            env={**os.environ, **(environment or {})},
        )
    except (FileNotFoundError, PermissionError) as error:
        raise ClusterError(
            f"{command[0]} cannot be run: {error.strerror}",
            remedy="if it lies in the cache, start the cluster anew; else install what it belongs to",
        ) from error
    if check and done.returncode != 0:
        raise ClusterError(
            f"`{' '.join(command)}` failed with {done.returncode}: {(done.stderr or done.stdout).strip()}",
            remedy="read the message of the program above",
        )
    return done.stdout


class Place(Protocol):
    """Somewhere commands run: a network namespace, a node, a pod's network."""

    def run(self, *command: str, stdin: str | None = None, check: bool = True) -> str:
        """Run a command there and return its standard output."""
        ...


class NetworkNamespace:
    """A named network namespace.

    Commands enter it with nsenter: `ip netns exec` would also mount a new /sys, which hides the cgroups.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = NETNS_DIR / name

    @property
    def prefix(self) -> tuple[str, ...]:
        """What to put before a command so that it runs here."""
        return ("nsenter", f"--net={self.path}")

    def exists(self) -> bool:
        return self.path.exists()

    def create(self) -> None:
        run(("ip", "netns", "add", self.name))
        self.run("ip", "link", "set", "lo", "up")

    def run(self, *command: str, stdin: str | None = None, check: bool = True) -> str:
        return run((*self.prefix, *command), stdin=stdin, check=check)

    def enter(self) -> None:
        """Move the calling thread, and no other, into the namespace: its sockets are made there from now on."""
        libc = ctypes.CDLL(None, use_errno=True)
        with self.path.open("rb") as file:
            if libc.setns(file.fileno(), _CLONE_NEWNET) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number), str(self.path))

    def sysctl(self, values: Mapping[str, int]) -> None:
        """Set sysctls of the namespace by their path below /proc/sys."""
        for path, value in values.items():
            self.run("sysctl", "-qw", f"{path}={value}")

    def pids(self) -> list[int]:
        return [int(pid) for pid in run(("ip", "netns", "pids", self.name), check=False).split()]

    def destroy(self) -> None:
        """End every process inside and remove the namespace; nothing happens where it does not exist.

        Whatever runs in a namespace of ours is ours: this also finds what a crash left without a pid file.
        """
        if not self.exists():
            return
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        poll(lambda: not self.pids(), seconds=60)
        run(("ip", "netns", "del", self.name))


def existing(prefix: str) -> list[NetworkNamespace]:
    """Return the namespaces of this machine whose name begins with the prefix."""
    if not NETNS_DIR.is_dir():
        return []
    return [NetworkNamespace(entry.name) for entry in sorted(NETNS_DIR.iterdir()) if entry.name.startswith(prefix)]
