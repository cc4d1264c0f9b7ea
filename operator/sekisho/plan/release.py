"""Whether a service's pods have proven what they are and hold their keys, as the broker says it of each pod.

Told only where it is demanded: where the class asks for hardware trust, or where the broker releases the key.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from sekisho.api import names
from sekisho.api.times import parse_time
from sekisho.errors import Reason, Rejection
from sekisho.plan.conditions import Aspect, is_false, is_true, is_unknown
from sekisho.plan.misplaced import tell_misplaced
from sekisho.plan.outcome import Design, Outcome
from sekisho.plan.pods import PodCondition, map_reason

ATTESTED: Final = "Attested"
RELEASED: Final = "KeyReleased"
_POD_CONDITIONS: Final = {ATTESTED: names.ATTESTED_POD_CONDITION, RELEASED: names.KEY_RELEASED_POD_CONDITION}
_TRUST: Final = frozenset({Reason.TRUST_MISSING, Reason.TRUST_TOO_OLD, Reason.TRUST_IMPOSSIBLE})
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_LONGEST_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Lease:
    """What the broker tells of a key that a pod holds.

    Attributes:
        ends_at: Unix seconds.
        told: The end as the broker spelt it.
    """

    ends_at: float
    told: str
    policy_digest: str
    evidence_digest: str


def is_brokered(outcome: Outcome) -> bool:
    """Tell whether the broker releases the key of the service's weights."""
    release = outcome.world.settings.release
    sealed = isinstance(outcome.design, Design) and outcome.design.weights.sealed is not None
    return sealed and release is not None and release.component == names.BROKER_COMPONENT


def demanded_kinds(outcome: Outcome) -> tuple[str, ...]:
    """Return which of the two conditions a service has."""
    if is_brokered(outcome):
        return (ATTESTED, RELEASED)
    trust = outcome.classing.rules.trust if outcome.classing is not None else None
    return () if trust is None else (ATTESTED,)


def observe_release(outcome: Outcome) -> tuple[Aspect, ...]:
    """Judge Attested and KeyReleased, as far as they are demanded."""
    if is_brokered(outcome):
        return tuple(_observe_pods(kind, outcome) for kind in (ATTESTED, RELEASED))
    return tuple(_observe_nodes(outcome) for _ in demanded_kinds(outcome))


def find_lease(outcome: Outcome) -> Lease | None:
    """Return the lease that ends first; None while no pod holds a key."""
    return min(_leases(outcome), key=lambda lease: lease.ends_at, default=None)


def next_end_seconds(outcome: Outcome) -> float | None:
    """Return after how long the first lease ends unless it is renewed; None without one."""
    lease = find_lease(outcome)
    if lease is None:
        return None
    return max(1.0, min(_LONGEST_SECONDS, lease.ends_at - outcome.world.now_at + 1))


def _leases(outcome: Outcome) -> Iterator[Lease]:
    for pod in outcome.pods:
        condition = pod.condition(names.KEY_RELEASED_POD_CONDITION)
        lease = read_lease(condition)
        if condition.status == "True" and lease is not None:
            yield lease


def read_lease(condition: PodCondition) -> Lease | None:
    """Read what the broker wrote into a pod's condition; None where that is something else."""
    try:
        value: Any = json.loads(condition.message)
    except ValueError:
        return None
    if not isinstance(value, dict):
        return None
    told, digests = value.get("leaseEndsAt"), [value.get("policyDigest"), value.get("evidenceDigest")]
    ends_at = parse_time(told)
    if ends_at is None or not all(isinstance(item, str) and _DIGEST.fullmatch(item) for item in digests):
        return None
    return Lease(ends_at, str(told), str(digests[0]), str(digests[1]))


def _observe_pods(kind: str, outcome: Outcome) -> Aspect:
    failure = next(_failures(kind, outcome), None)
    if failure is not None:
        return is_false(kind, failure.reason, failure.detail)
    running = [pod.condition(_POD_CONDITIONS[kind]) for pod in outcome.pods if pod.phase == "Running"]
    if running and all(condition.status == "True" for condition in running):
        if kind == ATTESTED:
            return is_true(kind, Reason.ATTESTED, "every running pod has proven its hardware and code to the broker")
        return is_true(kind, Reason.KEY_RELEASED, "every running pod holds its key on a lease; see status.weights")
    if not outcome.pods:
        return is_unknown(kind, Reason.PENDING, "no pod runs that could ask for a key")
    what = "has not proven yet what it is" if kind == ATTESTED else "holds no key yet"
    return is_unknown(kind, Reason.PENDING, f"a pod {what}; WeightsAvailable tells what it waits for")


def _failures(kind: str, outcome: Outcome) -> Iterator[Rejection]:
    for pod in outcome.pods:
        condition = pod.condition(_POD_CONDITIONS[kind])
        if condition.status == "False":
            otherwise = Reason.APPRAISAL_FAILED if kind == ATTESTED else Reason.RELEASE_NOT_GRANTED
            reason = map_reason(condition.reason, otherwise)
            yield Rejection(reason, f"the broker refuses a pod of the service: {condition.message or 'no message'}")
        elif condition.status == "True":
            yield from _judge_lease(kind, condition, outcome.world.now_at)


def _judge_lease(kind: str, condition: PodCondition, now_at: float) -> Iterator[Rejection]:
    lease = read_lease(condition)
    if lease is not None and now_at < lease.ends_at:
        return
    reason = Reason.EVIDENCE_STALE if kind == ATTESTED else Reason.LEASE_EXPIRED
    ended = "is not told" if lease is None else f"was {lease.told}"
    yield Rejection(
        reason,
        f"the end of a pod's lease {ended}, and it was not renewed; see whether the broker and the pod's agent run",
    )


def _observe_nodes(outcome: Outcome) -> Aspect:
    """Judge hardware trust where no broker asks the pods: by what their nodes have proven."""
    design = outcome.design
    misplaced = tell_misplaced(design.misplaced) if isinstance(design, Design) else None
    if misplaced is not None and misplaced.reason in _TRUST:
        return is_false(ATTESTED, misplaced.reason, misplaced.detail)
    return is_true(
        ATTESTED, Reason.ATTESTED, "the nodes of the service have proven the hardware that its class asks for"
    )
