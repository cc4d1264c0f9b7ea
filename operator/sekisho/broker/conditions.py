"""What the broker says of a pod by the conditions sekisho.dev/attested and sekisho.dev/key-released, and how often."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sekisho.api.names import ATTESTED_POD_CONDITION, KEY_RELEASED_POD_CONDITION
from sekisho.api.times import parse_time_or_zero
from sekisho.broker.telling import is_about_evidence
from sekisho.broker.wire import Lease, spell_time
from sekisho.errors import Reason
from sekisho.kube.conditions import PodCondition
from sekisho.kube.pods import PodFacts

_OWN: Final = (ATTESTED_POD_CONDITION, KEY_RELEASED_POD_CONDITION)


@dataclass(frozen=True, slots=True)
class Grant:
    """What a pod holds, as its conditions tell it."""

    lease: Lease
    policy_digest: str
    evidence_digest: str

    def spell(self) -> str:
        """Spell the message of both conditions."""
        value = {
            "leaseEndsAt": spell_time(self.lease.ends_at),
            "policyDigest": self.policy_digest,
            "evidenceDigest": self.evidence_digest,
        }
        return json.dumps(value, separators=(",", ":"))


def tell_grant(pod: PodFacts, grant: Grant, *, now: datetime, renewal: bool) -> list[PodCondition]:
    """Return the conditions to write after a release or a renewal.

    A renewal is told only where something else than the evidence is new, or where less than half of the lease is left
    of what was told last: so the status of a quiet pod tells a lease that has not ended, at few writes.
    """
    if renewal and _tells_enough(pod, grant, now):
        return []
    reasons = {ATTESTED_POD_CONDITION: Reason.ATTESTED, KEY_RELEASED_POD_CONDITION: Reason.KEY_RELEASED}
    message = grant.spell()
    return [_build(pod, kind, reason, message, now=now, ok=True) for kind, reason in reasons.items()]


def tell_refusal(pod: PodFacts, reason: Reason, sentence: str, *, now: datetime) -> list[PodCondition]:
    """Return the conditions to write after a refusal that is final; none where they say the same already."""
    kinds = _OWN if is_about_evidence(reason) else (KEY_RELEASED_POD_CONDITION,)
    return [
        _build(pod, kind, reason, sentence, now=now, ok=False)
        for kind in kinds
        if (pod.conditions.get(kind) or {}).get("status") != "False"
        or (pod.conditions.get(kind) or {}).get("reason") != reason.value
    ]


def _tells_enough(pod: PodFacts, grant: Grant, now: datetime) -> bool:
    for kind in _OWN:
        condition = pod.conditions.get(kind) or {}
        told = _read_grant(condition)
        if condition.get("status") != "True" or told.get("policyDigest") != grant.policy_digest:
            return False
        left = parse_time_or_zero(told.get("leaseEndsAt")) - now.timestamp()
        if left < grant.lease.seconds / 2:
            return False
    return True


def _read_grant(condition: Mapping[str, Any]) -> dict[str, Any]:
    try:
        value = json.loads(str(condition.get("message", "")))
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _build(pod: PodFacts, kind: str, reason: Reason, message: str, *, now: datetime, ok: bool) -> PodCondition:
    old, at = pod.conditions.get(kind) or {}, now.astimezone(UTC).timestamp()
    since = parse_time_or_zero(old.get("lastTransitionTime")) if old.get("status") == str(ok) else at
    return PodCondition(kind, ok, reason, message, since, at)
