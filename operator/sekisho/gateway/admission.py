"""How much may be under way at once: requests of one caller, of all, and bytes of bodies in memory."""

from dataclasses import dataclass
from types import TracebackType

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

    def enter(self) -> "_Counted":
        """Count one request, while a block runs.

        Raises:
            UnavailableError: Overloaded.
        """
        most = self._limits.max_requests
        if self.in_flight >= most:
            raise UnavailableError(
                Reason.OVERLOADED, f"{self.in_flight} requests are under way, {most} are possible; try again shortly"
            )
        self.in_flight += 1
        return _Counted(self, None)

    def enter_caller(self, username: str) -> "_Counted":
        """Count one request of a caller; see `enter`."""
        count, most = self._callers.get(username, 0), self._limits.max_requests_per_caller
        if count >= most:
            raise UnavailableError(
                Reason.OVERLOADED, f"{count} requests of yours are under way, {most} are possible; end one first"
            )
        self._callers[username] = count + 1
        return _Counted(self, username)

    def leave(self, username: str | None) -> None:
        """Count one request less, of a caller or of all; what was entered calls it at the end of its block."""
        if username is None:
            self.in_flight -= 1
            return
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


class _Counted:
    """A request that is counted until its block ends."""

    __slots__ = ("_admission", "_username")

    def __init__(self, admission: Admission, username: str | None) -> None:
        self._admission = admission
        self._username = username

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._admission.leave(self._username)
