"""The lease of a data key as a state machine: what holds now, what is due, and what must end. No clock, no network.

    NONE -granted-> HELD -expired, refused-> DRAINING -idle, late-> STOPPING -engine gone, late-> LEAVING -told-> NONE

Times are seconds of one clock that never jumps and goes on while the machine is suspended. A lease counts from before
its question was sent, so it ends here no later than at the broker.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from sekisho.errors import Reason

RENEW_AT: Final = 0.5
DRAIN_SECONDS: Final = 60.0
LEAST_DRAIN_SECONDS: Final = 5.0
STOP_SECONDS: Final = 180.0
_LAST_TRY_SECONDS: Final = 1.0


class Phase(StrEnum):
    """Where a lease stands."""

    NONE = "none"
    HELD = "held"
    DRAINING = "draining"
    STOPPING = "stopping"
    LEAVING = "leaving"


@dataclass(frozen=True, slots=True)
class Terms:
    """What the broker granted.

    Attributes:
        seconds: How long, from when it was asked.
        ends_at: The same as the broker's clock says it; for people.
        policy_digest: Of the rules that decided.
        evidence_digest: Of the evidence they decided on.
    """

    seconds: float
    ends_at: str
    policy_digest: str
    evidence_digest: str


@dataclass(frozen=True, slots=True)
class Lease:
    """One lease.

    Attributes:
        ends: When it ends; while it drains or stops, when it did.
        due: When to renew it; while it drains or stops, when to wait no longer.
        since: When the phase began.
        failures: How many renewals failed in a row.
        reason: Why it ended.
        message: The facts of that.
        trouble: What kept the last renewal from succeeding.
    """

    phase: Phase = Phase.NONE
    terms: Terms | None = None
    ends: float = 0.0
    due: float = 0.0
    since: float = 0.0
    failures: int = 0
    reason: Reason = Reason.WEIGHTS_PENDING
    message: str = "no data key has been released to this pod yet"
    trouble: str = ""

    def holds(self, now: float) -> bool:
        """Tell whether requests may come in."""
        return self.phase is Phase.HELD and now < self.ends

    def tolerates(self, now: float) -> bool:
        """Tell whether the engine may go on living: while it holds, and while running requests may end."""
        if self.phase is Phase.HELD:
            return now < self.ends + DRAIN_SECONDS  # whoever should have noticed the end by then is gone
        return self.phase is Phase.DRAINING and now < self.due

    def wants_renewal(self, now: float) -> bool:
        """Tell whether fresh evidence is to be brought now."""
        return self.holds(now) and now >= self.due


def grant(lease: Lease, terms: Terms, *, asked: float, spread: float) -> Lease:
    """Begin or prolong a lease; what was already ending goes on to end: a late answer brings nothing back.

    Args:
        lease: What there was.
        terms: What was granted.
        asked: When the question was sent.
        spread: About 1; moves the next renewal, so that many pods do not ask in step.
    """
    if lease.phase not in (Phase.NONE, Phase.HELD):
        return lease
    due = asked + terms.seconds * min(RENEW_AT * spread, 0.75)
    since = lease.since if lease.phase is Phase.HELD else asked
    return Lease(Phase.HELD, terms, ends=asked + terms.seconds, due=due, since=since)


def prolong(lease: Lease, terms: Terms, *, asked: float, spread: float, since: float) -> Lease:
    """Prolong the lease that began at `since`, as `grant` does; an answer about an earlier one says nothing of this."""
    if lease.phase is not Phase.HELD or lease.since != since:
        return lease
    return grant(lease, terms, asked=asked, spread=spread)


def postpone(lease: Lease, trouble: str, *, now: float, seconds: float) -> Lease:
    """Note a renewal that got no answer; it is tried again soon, once more just before the end."""
    if lease.phase is not Phase.HELD:
        return lease
    due = min(now + seconds, max(now, lease.ends - _LAST_TRY_SECONDS))
    return replace(lease, due=due, failures=lease.failures + 1, trouble=trouble)


def revoke(lease: Lease, reason: Reason, message: str, *, now: float) -> Lease:
    """End a lease that holds: running requests may end, new ones may not begin."""
    if lease.phase is not Phase.HELD:
        return lease
    return replace(lease, phase=Phase.DRAINING, since=now, due=now + DRAIN_SECONDS, reason=reason, message=message)


def abandon(lease: Lease, reason: Reason, message: str, *, now: float) -> Lease:
    """End a lease at once, running requests included: the pod is no longer isolated, or the lease ended unseen."""
    if lease.phase not in (Phase.HELD, Phase.DRAINING):
        return lease
    return replace(lease, phase=Phase.STOPPING, since=now, due=now + STOP_SECONDS, reason=reason, message=message)


def advance(lease: Lease, *, now: float, idle: bool, stopped: bool) -> Lease:
    """Let time pass.

    Args:
        lease: What there was.
        now: The clock.
        idle: Whether no request is running in the engine.
        stopped: Whether the engine no longer answers.
    """
    if lease.phase is Phase.HELD and now >= lease.ends:
        return revoke(lease, Reason.LEASE_EXPIRED, _tell_expiry(lease), now=now)
    if lease.phase is Phase.DRAINING and (now >= lease.due or (idle and now - lease.since >= LEAST_DRAIN_SECONDS)):
        return replace(lease, phase=Phase.STOPPING, since=now, due=now + STOP_SECONDS)
    if lease.phase is Phase.STOPPING and (stopped or now >= lease.due):
        return replace(lease, phase=Phase.LEAVING, since=now, due=now)
    return lease


def forget(lease: Lease, *, now: float) -> Lease:
    """Be done with a lease whose end was told; a new one may be asked for."""
    if lease.phase is not Phase.LEAVING:
        return lease
    return Lease(reason=lease.reason, message=lease.message, since=now)


def _tell_expiry(lease: Lease) -> str:
    seconds = lease.terms.seconds if lease.terms else 0.0
    if lease.failures:
        why = f"{lease.failures} renewals failed, the last: {lease.trouble}"
    else:
        why = "no renewal was answered in time; see whether the node was suspended"
    return f"the lease of {seconds:.0f} s on the data key has ended: {why}"
