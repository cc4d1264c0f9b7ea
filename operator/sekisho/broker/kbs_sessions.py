"""Sessions of the key broker protocol: each known to this process alone, for one pod, attested at most once."""

import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sekisho.attest.claims import Claims
from sekisho.broker.jwe import GuestKey
from sekisho.errors import Reason, RefusedError, UnavailableError
from sekisho.kernel import read_boot_seconds

NONCE_BYTES: Final = 32
_ID_BYTES: Final = 32
_MOST: Final = 8192
_MOST_PER_POD: Final = 4


@dataclass(frozen=True, slots=True)
class Attested:
    """What a guest proved.

    Attributes:
        claims: What its evidence says; every piece commits to the session's nonce and to the key.
        key: The guest's public key, which answers are encrypted to.
        jwk: The same as the guest spelt it.
    """

    claims: tuple[Claims, ...]
    key: GuestKey
    jwk: dict[str, str]


@dataclass(frozen=True, slots=True)
class Session:
    """One guest's way from its challenge to its resources.

    Attributes:
        id: What the cookie carries; worth nothing from another pod's address.
        nonce: 32 random bytes.
        tee: What the guest said it runs in.
        algorithm: By which hash its evidence commits.
        made_at: When the challenge was made.
        attested: What was proven; None before.
    """

    id: str
    nonce: bytes
    pod_uid: str
    tee: str
    algorithm: str
    made_at: datetime
    attested: Attested | None = None


@dataclass(slots=True)
class _Open:
    """A session and what is left of it."""

    session: Session
    until: float
    answered: bool = False


class SessionBook:
    """All sessions that are not too old. Not for several threads.

    Args:
        challenge_seconds: How long a challenge may be answered.
        session_seconds: How long an attested session gives resources, counted from its challenge.
        most: How many there may be.
        clock: Seconds since the boot of the machine.
    """

    def __init__(
        self,
        *,
        challenge_seconds: float,
        session_seconds: float,
        most: int = _MOST,
        clock: Callable[[], float] = read_boot_seconds,
    ) -> None:
        self._challenge_seconds, self._session_seconds, self._clock = challenge_seconds, session_seconds, clock
        self._most, self._swept_at = most, clock()
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._by_pod: dict[str, list[str]] = {}

    def __len__(self) -> int:
        return len(self._open)

    def begin(self, *, pod_uid: str, tee: str, algorithm: str, now: datetime) -> Session:
        """Begin a session; the oldest of the same pod falls out where it has too many.

        Raises:
            UnavailableError: Overloaded; too many sessions are open.
        """
        self._forget_expired()
        mine = self._by_pod.get(pod_uid, [])
        if len(mine) >= _MOST_PER_POD:
            self._drop(mine[0])
        if len(self._open) >= self._most:
            raise UnavailableError(Reason.OVERLOADED, f"{self._most} sessions are open; ask again later")
        session = Session(
            secrets.token_urlsafe(_ID_BYTES), secrets.token_bytes(NONCE_BYTES), pod_uid, tee, algorithm, now
        )
        self._open[session.id] = _Open(session, self._clock() + self._challenge_seconds)
        self._by_pod.setdefault(pod_uid, []).append(session.id)
        return session

    def answer(self, session_id: str, *, pod_uid: str) -> Session:
        """Return a session whose challenge is answered now, and never again.

        Raises:
            RefusedError: ChallengeUnknown; it is not known here, is another pod's, is too old, or was answered.
        """
        found = self._find(session_id, pod_uid)
        if found.answered:
            raise _unknown("was answered already")
        found.answered = True
        return found.session

    def confirm(self, session: Session, attested: Attested) -> None:
        """Keep what was proven; from now on the session gives resources, as long as it lives.

        Raises:
            RefusedError: ChallengeUnknown; it fell out meanwhile.
        """
        found = self._find(session.id, session.pod_uid)
        found.session = replace(session, attested=attested)
        found.until += self._session_seconds - self._challenge_seconds

    def use(self, session_id: str, *, pod_uid: str) -> Session:
        """Return a session that was attested.

        Raises:
            RefusedError: ChallengeUnknown; it is not known here, is another pod's, is too old, or was not attested.
        """
        found = self._find(session_id, pod_uid)
        if found.session.attested is None:
            raise _unknown("was not attested")
        return found.session

    def _find(self, session_id: str, pod_uid: str) -> _Open:
        found = self._open.get(session_id)
        if found is None or found.session.pod_uid != pod_uid:
            raise _unknown("is not known here, or is not this pod's")
        if self._clock() >= found.until:
            self._drop(session_id)
            raise _unknown("is too old")
        return found

    def _drop(self, session_id: str) -> None:
        found = self._open.pop(session_id)
        mine = self._by_pod[found.session.pod_uid]
        mine.remove(session_id)
        if not mine:
            del self._by_pod[found.session.pod_uid]

    def _forget_expired(self) -> None:
        """Drop what is too old; a look through all is taken now and then, for they do not end in their order."""
        now = self._clock()
        if len(self._open) < self._most and now < self._swept_at + self._challenge_seconds:
            return
        self._swept_at = now
        for session_id in [each for each, found in self._open.items() if found.until <= now]:
            self._drop(session_id)


def _unknown(what: str) -> RefusedError:
    return RefusedError(Reason.CHALLENGE_UNKNOWN, f"the session {what}; begin with a new one")
