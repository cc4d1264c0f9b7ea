"""A lease ends when it ends: no order of answers, failures and waits prolongs it, or brings back what has ended."""

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sekisho.agent import lease as machine
from sekisho.agent.lease import DRAIN_SECONDS, LEAST_DRAIN_SECONDS, STOP_SECONDS, Lease, Phase, Terms
from sekisho.errors import Reason

TERMS = Terms(900.0, "2026-11-29T17:00:00Z", f"sha256:{'a' * 64}", f"sha256:{'b' * 64}")


def held(*, asked: float = 1000.0, spread: float = 1.0) -> Lease:
    return machine.grant(Lease(), TERMS, asked=asked, spread=spread)


def pass_time(lease: Lease, now: float, *, idle: bool = False, stopped: bool = False) -> Lease:
    return machine.advance(lease, now=now, idle=idle, stopped=stopped)


def test_before_a_key_was_released_nothing_holds() -> None:
    lease = Lease()
    assert not lease.holds(0.0)
    assert not lease.tolerates(0.0)
    assert not lease.wants_renewal(1e9)
    assert pass_time(lease, 1e9, idle=True, stopped=True) is lease


def test_a_lease_counts_from_when_it_was_asked_for_and_is_renewed_half_way() -> None:
    lease = held()
    assert (lease.ends, lease.due) == (1900.0, 1450.0)
    assert lease.holds(1899.9)
    assert not lease.holds(1900.0)
    assert [lease.wants_renewal(now) for now in (1449.9, 1450.0, 1899.9, 1900.0)] == [False, True, True, False]
    assert held(spread=0.9).due == 1405.0
    assert held(spread=3.0).due == 1675.0, "however it is spread, a quarter is left"


def test_a_renewal_prolongs_and_a_shorter_one_shortens() -> None:
    lease = machine.grant(held(), TERMS, asked=1450.0, spread=1.0)
    assert (lease.ends, lease.since) == (2350.0, 1000.0)
    assert machine.grant(lease, replace(TERMS, seconds=60.0), asked=1500.0, spread=1.0).ends == 1560.0


def test_a_broker_that_is_away_harms_nobody_before_the_end_and_is_asked_once_more_just_before_it() -> None:
    lease = held()
    for now in (1450.0, 1600.0, 1890.0):
        lease = machine.postpone(lease, "no answer", now=now, seconds=30.0)
        assert lease.holds(now)
        assert lease.tolerates(now)
    assert (lease.failures, lease.due) == (3, 1899.0)
    assert machine.postpone(lease, "no answer", now=1899.5, seconds=30.0).due == 1899.5


def test_an_end_is_told_with_what_kept_renewals_from_succeeding() -> None:
    lease = pass_time(machine.postpone(held(), "no answer; see whether it runs", now=1450.0, seconds=1.0), 1900.0)
    assert (lease.phase, lease.reason) == (Phase.DRAINING, Reason.LEASE_EXPIRED)
    assert lease.message == (
        "the lease of 900 s on the data key has ended: 1 renewals failed, the last: no answer; see whether it runs"
    )
    asleep = pass_time(held(), 5000.0)
    assert asleep.message.endswith("no renewal was answered in time; see whether the node was suspended")
    assert pass_time(Lease(Phase.HELD), 5000.0).message.startswith("the lease of 0 s")


def test_no_request_comes_in_once_a_lease_has_ended_and_running_ones_may_end() -> None:
    lease = pass_time(held(), 1900.0)
    assert not lease.holds(1900.0)
    assert lease.tolerates(1900.0 + DRAIN_SECONDS - 1)
    assert not lease.tolerates(1900.0 + DRAIN_SECONDS)
    assert pass_time(lease, 1901.0, idle=True).phase is Phase.DRAINING, "callers need a moment to look elsewhere"
    assert pass_time(lease, 1900.0 + LEAST_DRAIN_SECONDS).phase is Phase.DRAINING, "a request is running"
    assert pass_time(lease, 1900.0 + LEAST_DRAIN_SECONDS, idle=True).phase is Phase.STOPPING
    assert pass_time(lease, 1900.0 + DRAIN_SECONDS).phase is Phase.STOPPING


def test_an_end_that_nobody_processes_is_tolerated_no_longer_than_a_drain() -> None:
    lease = held()
    assert lease.tolerates(1900.0 + DRAIN_SECONDS - 1)
    assert not lease.tolerates(1900.0 + DRAIN_SECONDS)


def test_once_it_stops_the_engine_has_to_go_and_the_end_is_told_last() -> None:
    lease = machine.abandon(held(), Reason.ISOLATION_LEAK, "open", now=1500.0)
    assert (lease.phase, lease.reason, lease.message) == (Phase.STOPPING, Reason.ISOLATION_LEAK, "open")
    assert not lease.tolerates(1500.0)
    assert pass_time(lease, 1501.0, idle=True).phase is Phase.STOPPING
    leaving = pass_time(lease, 1501.0, stopped=True)
    assert leaving.phase is Phase.LEAVING
    assert pass_time(lease, 1500.0 + STOP_SECONDS).phase is Phase.LEAVING
    over = machine.forget(leaving, now=1502.0)
    assert (over.phase, over.reason, over.message) == (Phase.NONE, Reason.ISOLATION_LEAK, "open")
    assert machine.grant(over, TERMS, asked=1600.0, spread=1.0).holds(1600.0)


@pytest.mark.parametrize("phase", [Phase.DRAINING, Phase.STOPPING, Phase.LEAVING])
def test_a_late_answer_brings_nothing_back(phase: Phase) -> None:
    ending = Lease(phase, TERMS, due=1e9)
    assert machine.grant(ending, TERMS, asked=1000.0, spread=1.0) is ending
    assert machine.postpone(ending, "x", now=1.0, seconds=1.0) is ending
    assert machine.revoke(ending, Reason.KEY_DENIED, "x", now=1.0) is ending


def test_an_answer_about_an_earlier_lease_says_nothing_of_the_one_that_came_after_it() -> None:
    earlier, later = held(), held(asked=1500.0)
    assert machine.prolong(Lease(), TERMS, asked=1450.0, spread=1.0, since=earlier.since) == Lease()
    assert machine.prolong(later, TERMS, asked=1450.0, spread=1.0, since=earlier.since) is later
    assert machine.prolong(earlier, TERMS, asked=1450.0, spread=1.0, since=earlier.since).ends == 2350.0
    ending = replace(later, phase=Phase.DRAINING)
    assert machine.prolong(ending, TERMS, asked=1450.0, spread=1.0, since=later.since) is ending


def test_only_what_is_left_is_forgotten_and_only_what_stands_is_abandoned() -> None:
    for phase in (Phase.NONE, Phase.HELD, Phase.DRAINING, Phase.STOPPING):
        assert machine.forget(Lease(phase), now=1.0).phase is phase
    for phase in (Phase.NONE, Phase.STOPPING, Phase.LEAVING):
        assert machine.abandon(Lease(phase), Reason.KEY_DENIED, "x", now=1.0).phase is phase


class AnyOrder(RuleBasedStateMachine):
    """Every order of answers and waits; the clock only goes forward."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.lease = Lease()
        self.latest_end = 0.0
        self.ended = False

    @rule(seconds=st.floats(0.0, 500.0))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(seconds=st.floats(1.0, 900.0), ago=st.floats(0.0, 100.0), spread=st.floats(0.5, 2.0))
    def answer(self, seconds: float, ago: float, spread: float) -> None:
        before = self.lease.phase
        self.lease = machine.grant(self.lease, replace(TERMS, seconds=seconds), asked=self.now - ago, spread=spread)
        if before in (Phase.NONE, Phase.HELD):
            self.latest_end = self.now - ago + seconds

    @rule(seconds=st.floats(0.1, 60.0))
    def fail(self, seconds: float) -> None:
        self.lease = machine.postpone(self.lease, "no answer", now=self.now, seconds=seconds)

    @rule()
    def refuse(self) -> None:
        before = self.lease.phase
        self.lease = machine.revoke(self.lease, Reason.GRANT_EXPIRED, "the grant has expired", now=self.now)
        assert before is not Phase.HELD or not self.lease.holds(self.now)

    @rule()
    def leak(self) -> None:
        self.lease = machine.abandon(self.lease, Reason.ISOLATION_LEAK, "open", now=self.now)
        assert not self.lease.tolerates(self.now)

    @rule(idle=st.booleans(), stopped=st.booleans())
    def look(self, idle: bool, stopped: bool) -> None:
        self.lease = machine.advance(self.lease, now=self.now, idle=idle, stopped=stopped)

    @rule()
    def told(self) -> None:
        self.lease = machine.forget(self.lease, now=self.now)

    @invariant()
    def nothing_is_served_beyond_what_the_broker_granted(self) -> None:
        if self.lease.holds(self.now):
            assert self.now < self.latest_end
        if self.lease.tolerates(self.now) and self.lease.phase is Phase.HELD:
            assert self.now < self.latest_end + DRAIN_SECONDS
        assert self.lease.tolerates(self.now) or not self.lease.holds(self.now)


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(deadline=None, max_examples=60, stateful_step_count=25)
