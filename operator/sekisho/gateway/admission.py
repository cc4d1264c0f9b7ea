"""How much may be under way at once: requests of one caller, of all, and bytes of bodies in memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sekisho.errors import Reason, UnavailableError


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """Bounds of what is under way."""

    max_requests: int = 512
    max_requests_per_caller: int = 64
    max_buffered_bytes: int = 96 << 20


class Admission:
    """Counts what is under way and refuses what would be too much; nothing waits in a queue."""

    def __init__(self, limits: AdmissionLimits) -> None:
        self._limits = limits
        self._callers: dict[str, int] = {}
        self._bytes = 0
        self.in_flight = 0

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Count one request.

        Raises:
            UnavailableError: Overloaded.
        """
        most = self._limits.max_requests
        if self.in_flight >= most:
            raise UnavailableError(
                Reason.OVERLOADED, f"{self.in_flight} requests are under way, {most} are possible; try again shortly"
            )
        self.in_flight += 1
        try:
            yield
        finally:
            self.in_flight -= 1

    @contextmanager
    def enter_caller(self, username: str) -> Iterator[None]:
        """Count one request of a caller; see `enter`."""
        count, most = self._callers.get(username, 0), self._limits.max_requests_per_caller
        if count >= most:
            raise UnavailableError(
                Reason.OVERLOADED, f"{count} requests of yours are under way, {most} are possible; end one first"
            )
        self._callers[username] = count + 1
        try:
            yield
        finally:
            self._callers[username] -= 1
            if not self._callers[username]:
                del self._callers[username]

    def reserve(self, size: int) -> None:
        """Reserve memory for a part of a body; give it back with `release`."""
        most = self._limits.max_buffered_bytes
        if self._bytes + size > most:
            raise UnavailableError(
                Reason.OVERLOADED, f"{self._bytes} bytes of bodies are held, {most} are possible; try again shortly"
            )
        self._bytes += size

    def release(self, size: int) -> None:
        """Give memory back."""
        self._bytes -= size
