"""Progress on stderr: a bar on a terminal, a line every few seconds elsewhere, JSON lines for machines."""

import json
import sys
import time
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from rich.progress import Progress

_SECONDS_BETWEEN_LINES: Final = 5.0
_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")


class Meter(Protocol):
    """Show how far a long command is."""

    def start(self, label: str, total: int) -> None:
        """Begin a phase of `total` bytes."""
        ...

    def advance(self, count: int) -> None:
        """Count bytes that are done."""
        ...

    def finish(self) -> None:
        """End the phase."""
        ...


def open_meter(*, as_json: bool) -> Meter:
    """Choose how to show progress."""
    if as_json:
        return Lines(as_json=True)
    return Bar() if sys.stderr.isatty() else Lines(as_json=False)


class Bar:
    """A bar with rate and remaining time."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._task: Any = None

    def start(self, label: str, total: int) -> None:
        """Draw the bar."""
        # Imported where a bar is drawn: it takes as long as all the rest of a short command.
        from rich import progress  # noqa: PLC0415
        from rich.console import Console  # noqa: PLC0415

        columns = (
            progress.TextColumn("{task.description}"), progress.BarColumn(),
            progress.DownloadColumn(binary_units=True), progress.TransferSpeedColumn(), progress.TimeRemainingColumn(),
        )  # fmt: skip
        self._progress = progress.Progress(*columns, console=Console(stderr=True), transient=False)
        self._progress.start()
        self._task = self._progress.add_task(label, total=total)

    def advance(self, count: int) -> None:
        """Move the bar."""
        if self._progress is not None:
            self._progress.advance(self._task, count)

    def finish(self) -> None:
        """Leave the bar as it is."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


class Lines:
    """A line now and then: for logs, or as JSON for machines."""

    def __init__(self, *, as_json: bool) -> None:
        self._json = as_json
        self._label, self._total, self._done = "", 0, 0
        self._began = self._told = 0.0

    def start(self, label: str, total: int) -> None:
        """Begin to count."""
        self._label, self._total, self._done = label, total, 0
        self._began = self._told = time.monotonic()

    def advance(self, count: int) -> None:
        """Count, and print where the last line is old."""
        self._done += count
        if time.monotonic() - self._told >= _SECONDS_BETWEEN_LINES:
            self._tell()

    def finish(self) -> None:
        """Print the last line."""
        self._tell()

    def _tell(self) -> None:
        self._told = time.monotonic()
        rate = self._done / max(self._told - self._began, 1e-3)
        left = (self._total - self._done) / rate if rate else 0.0
        if self._json:
            facts = {"event": "progress", "phase": self._label, "doneBytes": self._done, "totalBytes": self._total}
            text = json.dumps(facts | {"bytesPerSecond": int(rate), "secondsLeft": int(left)})
        else:
            done, total = describe_bytes(self._done), describe_bytes(self._total)
            text = f"{self._label} {done} of {total}, {describe_bytes(int(rate))}/s, {int(left)} s left"
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def describe_bytes(count: int) -> str:
    """Spell a number of bytes for people."""
    value, unit = float(count), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.1f} {_UNITS[unit]}" if unit else f"{count} B"
