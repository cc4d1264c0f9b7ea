"""How long to wait before something is tried again."""

import random
from dataclasses import dataclass
from typing import Final

from sekisho.errors import Reason, SekishoError

_FIRST_SECONDS: Final = 1.0
_MOST_SECONDS: Final = 30.0
_REFUSED_SECONDS: Final = 30.0
_MOST_REFUSED_SECONDS: Final = 300.0
_MOST_DOUBLINGS: Final = 8
# Refused, but perhaps for what the API server does not show yet of a pod, service or node that has just been made.
_MAY_PASS: Final = frozenset({Reason.WORKLOAD_MISMATCH, Reason.CHIP_UNKNOWN})


def jitter(seconds: float) -> float:
    """Shorten a wait by up to a fifth, so that many pods do not ask in step."""
    return seconds * random.uniform(0.8, 1.0)  # noqa: S311 - spreads load, protects nothing


def wait_unavailable(failures: int) -> float:
    """Return the wait after so many failures in a row that may pass by themselves: 1 s, doubled up to 30 s."""
    return jitter(min(_MOST_SECONDS, _FIRST_SECONDS * (1 << min(failures, _MOST_DOUBLINGS))))


def wait_refused(failures: int) -> float:
    """Return the wait after so many refusals in a row, which only a person can end: 30 s, doubled up to 300 s."""
    seconds = min(_MOST_REFUSED_SECONDS, _REFUSED_SECONDS * (1 << min(failures, _MOST_DOUBLINGS)))
    return seconds * random.uniform(1.0, 1.2)  # noqa: S311 - spreads load, protects nothing


def is_lasting(error: SekishoError) -> bool:
    """Tell whether only a person can end what went wrong."""
    return not error.retry and error.reason not in _MAY_PASS


@dataclass(slots=True)
class Failures:
    """Failures in a row of one undertaking, each kind by itself: after outages the first refusal is a first one.

    Attributes:
        refused: Whether the last one was a refusal that only a person can end.
        before: How many of its kind there were in a row before it.
    """

    refused: bool = False
    before: int = -1

    def note(self, *, refused: bool) -> None:
        """Count one more."""
        self.before = self.before + 1 if refused == self.refused else 0
        self.refused = refused


def spread() -> float:
    """Return a factor of 0.9 to 1.1, so that what began together does not go on together."""
    return random.uniform(0.9, 1.1)  # noqa: S311 - spreads load, protects nothing
