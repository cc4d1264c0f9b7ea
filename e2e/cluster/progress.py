"""Lines that tell a person what is happening and how long it takes."""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator
from typing import Protocol


class Report(Protocol):
    """Takes one readable line."""

    def __call__(self, line: str, /) -> None:
        """Show the line."""
        ...


def silent(line: str, /) -> None:
    """Show nothing."""


class Timed:
    """Prints each line with the seconds since its making."""

    def __init__(self) -> None:
        self._start = time.monotonic()

    def __call__(self, line: str, /) -> None:
        print(f"{time.monotonic() - self._start:7.1f}s  {line}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def ticking(what: str, *, expected: str) -> Iterator[None]:
    """Show that something long is going on: a moving clock on a terminal, a line every 20 s elsewhere."""
    terminal = sys.stderr.isatty()
    done, start = threading.Event(), time.monotonic()

    def elapsed() -> str:
        minutes, seconds = divmod(int(time.monotonic() - start), 60)
        return f"{minutes}:{seconds:02d}"

    def show() -> None:
        while not done.wait(1 if terminal else 20):
            print(
                f"{chr(13) * terminal}  ... {what} {elapsed()}",
                end="" if terminal else "\n",
                file=sys.stderr,
                flush=True,
            )

    print(f"  building {what} ({expected})", file=sys.stderr, flush=True)
    clock = threading.Thread(target=show, daemon=True)
    clock.start()
    end = "gave up building"
    try:
        yield
        end = "built"
    finally:
        done.set()
        clock.join()
        print(f"{chr(13) * terminal}  {end} {what} in {elapsed()}   ", file=sys.stderr, flush=True)
