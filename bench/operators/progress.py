"""Tells a person who waits what runs, and how long it is still going to take."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

Tell = Callable[[str], None]
_MINUTE: Final = 60.0


def tell_at_once(line: str) -> None:
    """Write a line where progress belongs."""
    print(f"  {line}", file=sys.stderr, flush=True)


class Progress:
    """Counts steps of about the same length.

    Args:
        steps: How many there are going to be; more may come.
    """

    def __init__(self, tell: Tell, *, steps: int) -> None:
        self._tell = tell
        self._steps = steps
        self._took: list[float] = []

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Do one step within the block; nothing is told of one that fails."""
        began = time.monotonic()
        yield
        self._took.append(time.monotonic() - began)
        self._tell(spell_step(what, self._took, steps=self._steps))


def spell_step(what: str, took: list[float], *, steps: int) -> str:
    """Spell the last of some steps, and how long those that are left will take if they are like those before."""
    done, left = len(took), steps - len(took)
    number = f"{done} of {steps}" if left >= 0 else f"{done}"
    told = f"{number}: {what}, {took[-1]:.0f} s"
    return f"{told}; about {spell_seconds(left * sum(took) / done)} left" if left > 0 else told


def spell_seconds(seconds: float) -> str:
    """Spell a duration as one says it."""
    return f"{seconds:.0f} s" if seconds < _MINUTE else f"{seconds / _MINUTE:.1f} min"
