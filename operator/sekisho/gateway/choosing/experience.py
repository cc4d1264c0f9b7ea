"""What this gateway has seen of replicas itself: what is under way, how quick they are, which failed just now.

Times are given by who asks, of one monotonic clock.
"""

from collections import OrderedDict
from dataclasses import dataclass
from types import TracebackType
from typing import Final

from sekisho.gateway.choosing.metrics import EngineLoad
from sekisho.gateway.choosing.preferring import Load

_MAX_KNOWN: Final = 20_000
_NEWEST: Final = 0.2  # the weight of the newest time in the average
_FAILURES: Final = 3  # in a row, before one that was reached is left alone
_FIRST_SECONDS: Final = 1.0
_MAX_SECONDS: Final = 30.0
_MAX_DOUBLINGS: Final = 5
STALE_SECONDS: Final = 15.0


@dataclass(slots=True)
class _Seen:
    own: int = 0
    seconds: float = 0.0
    failures: int = 0
    doublings: int = 0
    shunned_until: float = float("-inf")
    said: EngineLoad | None = None
    said_at: float = float("-inf")


class _UnderWay:
    """A request that is counted while its block runs."""

    __slots__ = ("_seen",)

    def __init__(self, seen: _Seen) -> None:
        self._seen = seen

    def __enter__(self) -> None:
        self._seen.own += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._seen.own -= 1


class Experience:
    """Remembers replicas by uid; those least lately used are forgotten first."""

    def __init__(self) -> None:
        self._seen: OrderedDict[str, _Seen] = OrderedDict()

    def load(self, uid: str, now: float) -> Load:
        """Return what is known of a replica's load; what its engine said too long ago is not."""
        seen = self._seen.get(uid)
        if seen is None:
            return Load()
        said = seen.said if now - seen.said_at <= STALE_SECONDS else None
        if said is None:
            return Load(seen.own, seconds=seen.seconds)
        return Load(seen.own, said.running, said.waiting, said.cache_use, seen.seconds)

    def is_shunned(self, uid: str, now: float) -> bool:
        """Tell whether a replica failed a moment ago and is left alone."""
        seen = self._seen.get(uid)
        return seen is not None and now < seen.shunned_until

    def under_way(self, uid: str) -> "_UnderWay":
        """Count a request as under way at a replica, while a block runs."""
        return _UnderWay(self._of(uid))

    def answered(self, uid: str, seconds: float) -> None:
        """Note that a replica answered, and the seconds to its first byte."""
        seen = self._of(uid)
        seen.seconds = seconds if not seen.seconds else seen.seconds + _NEWEST * (seconds - seen.seconds)
        seen.failures = seen.doublings = 0

    def failed(self, uid: str, now: float, *, unreached: bool) -> None:
        """Note that a replica failed: it is left alone for a second, and twice as long each time after that.

        Args:
            uid: Which.
            now: When.
            unreached: Whether the connection was never made; one that was reached may have failed by the request.
        """
        seen = self._of(uid)
        seen.failures += 1
        if not unreached and seen.failures < _FAILURES:
            return
        seen.shunned_until = now + min(_FIRST_SECONDS * 2**seen.doublings, _MAX_SECONDS)
        seen.doublings = min(seen.doublings + 1, _MAX_DOUBLINGS)

    def said(self, uid: str, load: EngineLoad, now: float) -> None:
        """Note what a replica's engine says of its load."""
        seen = self._of(uid)
        seen.said, seen.said_at = load, now

    def _of(self, uid: str) -> _Seen:
        seen = self._seen.get(uid)
        if seen is None:
            seen = self._seen[uid] = _Seen()
            while len(self._seen) > _MAX_KNOWN:
                self._seen.popitem(last=False)
        else:
            self._seen.move_to_end(uid)
        return seen
