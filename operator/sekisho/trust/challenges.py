"""Challenges to nodes: single use, short-lived, one open per node, and known to this process alone."""

import hmac
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from sekisho.attest.binding import Binding
from sekisho.errors import Reason, RefusedError

CHALLENGE_SECONDS: Final = 60.0
NONCE_BYTES: Final = 32
MAX_OPEN: Final = 20_000


@dataclass(frozen=True, slots=True)
class Challenge:
    """What one node was asked.

    Attributes:
        id: 32 hexadecimal digits; no secret, but not to be guessed.
        policy_digest: Of the rules as they stood then.
        ends_at: By the clock that it is made with.
    """

    id: str
    node: str
    uid: str
    nonce: bytes
    policy_digest: str
    ends_at: float

    @property
    def binding(self) -> Binding:
        """What evidence must commit to."""
        return Binding(
            purpose="node",
            nonce=self.nonce,
            public_key=b"",
            namespace="",
            pod=self.node,
            uid=self.uid,
            policy_digest=self.policy_digest,
            isolation_digest="",
            question_digest="",
        )


@dataclass(slots=True)
class Challenges:
    """All open challenges; a node that asks again has the earlier one forgotten."""

    clock: Callable[[], float]
    draw: Callable[[int], bytes]
    _open: OrderedDict[str, Challenge] = field(default_factory=OrderedDict)

    def issue(self, node: str, uid: str, policy_digest: str) -> Challenge:
        """Ask a node; where more than MAX_OPEN wait for an answer, the oldest is pushed out."""
        ends_at = self.clock() + CHALLENGE_SECONDS
        challenge = Challenge(self.draw(16).hex(), node, uid, self.draw(NONCE_BYTES), policy_digest, ends_at)
        self._open.pop(node, None)
        self._open[node] = challenge
        if len(self._open) > MAX_OPEN:
            self._open.popitem(last=False)
        return challenge

    def take(self, node: str, uid: str, name: str) -> Challenge:
        """Take a node's challenge; whatever comes of it, it cannot be taken again.

        Raises:
            RefusedError: ChallengeUnknown; it was answered, has ended, was another node's, or never was.
        """
        challenge = self._open.pop(node, None)
        if challenge is None or not hmac.compare_digest(challenge.id, name):
            raise _unknown(node, "it was answered already, replaced by a later one, or not made for this node")
        if challenge.uid != uid:
            raise _unknown(node, "it was made for an earlier node of that name")
        if self.clock() > challenge.ends_at:
            raise _unknown(node, f"it ended after {CHALLENGE_SECONDS:.0f} s")
        return challenge


def _unknown(node: str, why: str) -> RefusedError:
    return RefusedError(
        Reason.CHALLENGE_UNKNOWN, f"node {node} answers a challenge that is not open: {why}; ask for another"
    )
