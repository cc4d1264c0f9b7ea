"""Challenges: each known to this process alone, for one pod and one question, good once and for a short time."""

import base64
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sekisho.errors import Reason, RefusedError, UnavailableError
from sekisho.kernel import read_boot_seconds

NONCE_BYTES: Final = 32
MAX_SECONDS: Final = 60.0
_ID_BYTES: Final = 24
_MOST: Final = 8192
_MOST_PER_POD: Final = 4


@dataclass(frozen=True, slots=True)
class Challenge:
    """What evidence has to commit to.

    Attributes:
        id: Its name on the wire; not secret, since it is worth nothing to another pod.
        nonce: 32 random bytes.
        policy_digest: Of all rules that decided when it was made; where they change, it is void.
        made_at: When it was made; a lease that comes of it counts from here.
        seconds: How long it is good for.
    """

    id: str
    nonce: bytes
    purpose: str
    pod_uid: str
    question_digest: str
    policy_digest: str
    made_at: datetime
    seconds: float


class ChallengeBook:
    """All challenges that nobody has answered yet. Not for several threads.

    Args:
        seconds: How long each is good for; at most 60.
        most: How many there may be.
        clock: Seconds since the boot of the machine.
    """

    def __init__(self, *, seconds: float, most: int = _MOST, clock: Callable[[], float] = read_boot_seconds) -> None:
        if not 0 < seconds <= MAX_SECONDS:
            raise ValueError(f"a challenge lives up to {MAX_SECONDS:.0f} seconds, not {seconds}")
        self._seconds, self._most, self._clock = seconds, most, clock
        self._open: OrderedDict[str, tuple[float, Challenge]] = OrderedDict()
        self._by_pod: dict[str, list[str]] = {}

    def __len__(self) -> int:
        return len(self._open)

    def issue(
        self, *, purpose: str, pod_uid: str, question_digest: str, policy_digest: str, now: datetime
    ) -> Challenge:
        """Make a challenge; the oldest of the same pod falls out where it has too many.

        Raises:
            UnavailableError: Overloaded; too many wait for an answer.
        """
        self._forget_expired()
        mine = self._by_pod.get(pod_uid, [])
        if len(mine) >= _MOST_PER_POD:
            self._drop(mine[0])
        if len(self._open) >= self._most:
            raise UnavailableError(Reason.OVERLOADED, f"{self._most} challenges wait for an answer; ask again later")
        drawn = secrets.token_bytes(_ID_BYTES + NONCE_BYTES)
        challenge = Challenge(
            id=base64.urlsafe_b64encode(drawn[:_ID_BYTES]).decode(), nonce=drawn[_ID_BYTES:], purpose=purpose,
            pod_uid=pod_uid, question_digest=question_digest, policy_digest=policy_digest, made_at=now,
            seconds=self._seconds,
        )  # fmt: skip
        self._open[challenge.id] = (self._clock() + self._seconds, challenge)
        self._by_pod.setdefault(pod_uid, []).append(challenge.id)
        return challenge

    def take(self, challenge_id: str, *, purpose: str, pod_uid: str, question_digest: str) -> Challenge:
        """Return a challenge and forget it: whatever comes of this answer, there is no second one.

        Raises:
            RefusedError: ChallengeUnknown; it was answered, is late, was made by another replica, or for another pod,
                purpose or question.
        """
        found = self._drop(challenge_id)
        if found is None:
            raise _unknown("is not known here: it was answered already, is too old, or another replica made it")
        until, challenge = found
        if self._clock() >= until:
            raise _unknown(f"was good for {self._seconds:.0f} s and is too old")
        made_for = (challenge.purpose, challenge.pod_uid, challenge.question_digest)
        if made_for != (purpose, pod_uid, question_digest):
            raise _unknown("was made for another pod, purpose or question")
        return challenge

    def _drop(self, challenge_id: str) -> tuple[float, Challenge] | None:
        found = self._open.pop(challenge_id, None)
        if found is not None:
            pod_uid = found[1].pod_uid
            mine = self._by_pod[pod_uid]
            mine.remove(challenge_id)
            if not mine:
                del self._by_pod[pod_uid]
        return found

    def _forget_expired(self) -> None:
        """Drop what is too old; all live equally long, so the oldest stand first."""
        now = self._clock()
        while self._open:
            first = next(iter(self._open))
            if self._open[first][0] > now:
                return
            self._drop(first)


def _unknown(what: str) -> RefusedError:
    return RefusedError(Reason.CHALLENGE_UNKNOWN, f"the challenge {what}; begin with a new challenge")
