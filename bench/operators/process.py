"""An operator as a process of its own: started, watched from outside, ended."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

from bench.harness import WrongAnswerError

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_END_SECONDS: Final = 15.0


class TimedOutError(WrongAnswerError):
    """Something was not so within its time: an operator that does not get done has not given the right answer."""


def wait_for(condition: Callable[[], Any], *, seconds: float, what: str, pause: float = 0.05) -> Any:
    """Return the first true value of `condition`.

    Raises:
        TimedOutError: There was none in time.
    """
    until = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > until:
            raise TimedOutError(f"{what} was not so within {seconds:.0f} s")
        time.sleep(pause)
    return value


def parse_cpu_ticks(stat: str) -> int:
    """Return user and system time of all threads from the text of /proc/PID/stat."""
    after_name = stat.rpartition(")")[2].split()
    return int(after_name[11]) + int(after_name[12])


def read_cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used since it began."""
    return parse_cpu_ticks(Path(f"/proc/{pid}/stat").read_text("ascii")) / _TICKS


def read_machine_seconds() -> float:
    """Return the time that all cores of the machine together have been busy since it was started."""
    user, nice, system, _, _, interrupts, soft, stolen, *_ = Path("/proc/stat").read_text("ascii").split()[1:]
    return sum(map(int, (user, nice, system, interrupts, soft, stolen))) / _TICKS


class MachineClock:
    """Tells how much of the machine others took since this was made: where it is much, wall time says little."""

    def __init__(self) -> None:
        self._began = self._read()

    def share_of_others(self, known_seconds: float) -> float:
        """Return the share that neither this process nor those who used `known_seconds` of CPU time took."""
        wall, busy, own = (now - then for now, then in zip(self._read(), self._began, strict=True))
        share = (busy - own - known_seconds) / (wall * (os.cpu_count() or 1))
        return min(1.0, max(0.0, share))  # the kernel counts in ticks, some of them late

    def _read(self) -> tuple[float, float, float]:
        return time.monotonic(), read_machine_seconds(), time.process_time()


class OperatorProcess:
    """A program that works on the cluster as a user of its own. As a context manager it ends when the block does."""

    def __init__(self, command: Sequence[str], *, user: str, env: Mapping[str, str], log: Path) -> None:
        self.user = user
        self._log = log
        with log.open("ab") as file:
            self._process = subprocess.Popen(list(command), env=dict(env), stdout=file, stderr=file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def cpu_seconds(self) -> float:
        """Return the CPU time it has used since it began.

        Raises:
            TimedOutError: It has ended by itself.
        """
        if self._process.poll() is not None:
            raise TimedOutError(
                f"{self.user} ended with {self._process.returncode}; its last words:\n{self.last_words()}"
            )
        return read_cpu_seconds(self._process.pid)

    def peak_mib(self) -> float:
        """Return the most memory it has held."""
        return self._memory_mib("VmHWM")

    def held_mib(self) -> float:
        """Return the memory it holds now."""
        return self._memory_mib("VmRSS")

    def _memory_mib(self, what: str) -> float:
        status = Path(f"/proc/{self._process.pid}/status").read_text("ascii")
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith(what)) / 1024

    def stop(self) -> None:
        """Ask it to end, and end it where it does not."""
        if self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout=_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout=_END_SECONDS)

    def last_words(self) -> str:
        """Return the end of its log."""
        return self._log.read_text("utf-8", errors="replace")[-3000:]
