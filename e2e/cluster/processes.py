"""Detached processes that outlive the one that started them, and are ended without ever hitting a stranger."""

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process for good: a pid is reused, its start time within one boot is not."""

    pid: int
    started: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> "ProcessId | None":
        """Return the identity of a live process, None for a dead one or a zombie."""
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return None if fields[0] in "ZX" else cls(pid, int(fields[19]), boot)

    @classmethod
    def read(cls, file: Path) -> "ProcessId | None":
        """Return what a pid file holds; None where there is none or a crash left it unfinished."""
        try:
            return cls(**json.loads(file.read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def write(self, file: Path) -> None:
        file.write_text(json.dumps(asdict(self)))

    def is_alive(self) -> bool:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)  # ours: a zombie would look alive to others
        return ProcessId.of(self.pid) == self


def spawn(
    command: Sequence[str],
    *,
    log: Path,
    pid_file: Path,
    environment: Mapping[str, str] | None = None,
    inherit_fd: int | None = None,
) -> ProcessId:
    """Start a detached process in a session of its own, and note who it is.

    It has no file of ours: what we were given, a lock or a pipe of whoever started us, would be held for as long as it
    lives.

    Args:
        command: Program and arguments; the program is looked up in PATH.
        log: Gets what the process writes, appended.
        pid_file: Gets the identity of the process.
        environment: The whole environment; None passes ours on.
        inherit_fd: A descriptor that becomes descriptor 3 of the process.
    """
    actions: list[tuple[int, ...] | tuple[int, int, str, int, int]] = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
        *((os.POSIX_SPAWN_CLOSE, number) for number in _inherited()),
    ]
    if inherit_fd is not None:
        actions.append((os.POSIX_SPAWN_DUP2, inherit_fd, 3))
    pid = os.posix_spawnp(
        command[0],
        list(command),
        dict(os.environ if environment is None else environment),
        file_actions=actions,
        setsid=True,
    )
    identity = ProcessId.of(pid) or ProcessId(pid, 0, "")
    identity.write(pid_file)
    return identity


def _inherited() -> list[int]:
    """Return the descriptors beyond the standard ones that a process of ours would have."""
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        number = int(entry.name)
        with contextlib.suppress(OSError):  # the one that read the folder is closed by now
            if number > 2 and os.get_inheritable(number):
                found.append(number)
    return found


def end(pid_file: Path, *, first: signal.Signals = signal.SIGTERM, grace_seconds: float = 5.0) -> None:
    """End the process of a pid file, by force after the grace, and wait until it is gone."""
    identity = ProcessId.read(pid_file)
    if identity is not None:
        end_process(identity, first=first, grace_seconds=grace_seconds)
    pid_file.unlink(missing_ok=True)


def end_process(identity: ProcessId, *, first: signal.Signals = signal.SIGTERM, grace_seconds: float = 5.0) -> None:
    for sent, seconds in ((first, grace_seconds), (signal.SIGKILL, 60.0)):
        if not identity.is_alive():
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(identity.pid, sent)
        if poll(lambda: not identity.is_alive(), seconds=seconds):
            return
    msg = f"process {identity.pid} survives SIGKILL"
    raise TimeoutError(msg)


def poll(condition: Callable[[], bool], *, seconds: float, interval: float = POLL_SECONDS) -> bool:
    """Return whether the condition became true within the time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(interval)
    return True


def tail(log: Path, lines: int = 15) -> str:
    """Return the last lines of a log for an error message."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return "(no log)"
