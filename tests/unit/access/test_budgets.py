"""Budgets: what is used up refuses with the time to wait; shares, days and what is owed."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.access import budgets as module
from sekisho.access.budgets import Accounts, BudgetError, Charge
from sekisho.api.v1alpha1.accesspolicy import Budgets
from sekisho.errors import Reason

NOON = 1_764_417_600.0  # 2025-11-29T12:00:00Z
DAY = 86_400


def budgets(**spec: Any) -> Budgets:
    return Budgets.model_validate(spec)


def reserve(accounts: Accounts, limits: Budgets, now: float, caller: str = "ann", estimate: int = 10) -> Charge:
    return accounts.reserve("legal/team", caller, limits, estimate=estimate, now=now)


def refuse(accounts: Accounts, limits: Budgets, now: float, caller: str = "ann") -> BudgetError:
    with pytest.raises(BudgetError) as refused:
        reserve(accounts, limits, now, caller)
    assert refused.value.reason is Reason.BUDGET_EXHAUSTED
    return refused.value


def test_requests_beyond_a_minutes_are_refused_until_the_next_fits() -> None:
    accounts, limits = Accounts(), budgets(requestsPerMinute=3)
    for _ in range(3):
        reserve(accounts, limits, NOON)
    error = refuse(accounts, limits, NOON)
    assert error.message == (
        "your budget under AccessPolicy legal/team of 3 requests a minute is used up; try again in 20 s"
    )
    assert error.retry_seconds == 20
    refuse(accounts, limits, NOON + 19)
    reserve(accounts, limits, NOON + 20)
    refuse(accounts, limits, NOON + 20)


def test_tokens_are_owed_after_a_long_answer() -> None:
    accounts, limits = Accounts(), budgets(tokensPerMinute=600)
    charge = reserve(accounts, limits, NOON)
    accounts.settle(charge, tokens=1200, now=NOON)
    error = refuse(accounts, limits, NOON)
    assert "of 600 tokens a minute is used up; try again in 61 s" in error.message
    reserve(accounts, limits, NOON + 61)


def test_an_estimate_that_was_too_high_is_given_back() -> None:
    accounts, limits = Accounts(), budgets(tokensPerMinute=100)
    charge = reserve(accounts, limits, NOON, estimate=100)
    refuse(accounts, limits, NOON)
    accounts.settle(charge, tokens=5, now=NOON)
    reserve(accounts, limits, NOON)


def test_a_days_tokens_begin_anew_at_midnight_utc() -> None:
    accounts, limits = Accounts(), budgets(tokensPerDay=1000)
    accounts.settle(reserve(accounts, limits, NOON), tokens=1000, now=NOON)
    error = refuse(accounts, limits, NOON)
    assert "of 1000 tokens a day is used up (1000 were used here); it begins anew at 00:00 UTC" in error.message
    assert error.retry_seconds == DAY // 2
    refuse(accounts, limits, NOON + DAY / 2 - 1)
    reserve(accounts, limits, NOON + DAY / 2)


def test_callers_have_budgets_of_their_own_unless_they_share() -> None:
    accounts, own, shared = Accounts(), budgets(requestsPerMinute=1), budgets(requestsPerMinute=1, per="Policy")
    reserve(accounts, own, NOON, "ann")
    reserve(accounts, own, NOON, "bob")
    refuse(accounts, own, NOON, "bob")
    reserve(accounts, shared, NOON, "ann")
    assert "the budget that its callers share under AccessPolicy" in refuse(accounts, shared, NOON, "bob").message


def test_replicas_keep_an_even_share_of_one_at_least() -> None:
    accounts = Accounts(replicas=3)
    limits = budgets(requestsPerMinute=6)
    reserve(accounts, limits, NOON)
    reserve(accounts, limits, NOON)
    refuse(accounts, limits, NOON)
    single = Accounts(replicas=9)
    reserve(single, budgets(requestsPerMinute=2), NOON)
    refuse(single, budgets(requestsPerMinute=2), NOON)


def test_a_refused_request_costs_nothing() -> None:
    accounts, limits = Accounts(), budgets(requestsPerMinute=60, tokensPerDay=10)
    accounts.settle(reserve(accounts, limits, NOON), tokens=10, now=NOON)
    for _ in range(500):
        refuse(accounts, limits, NOON)
    reserve(accounts, limits, NOON + DAY)


def test_a_clock_that_goes_back_gives_nothing() -> None:
    accounts, limits = Accounts(), budgets(requestsPerMinute=1)
    reserve(accounts, limits, NOON)
    refuse(accounts, limits, NOON - 3600)
    refuse(accounts, limits, NOON)


def test_the_counts_of_the_day_survive_a_restart() -> None:
    first, limits = Accounts(), budgets(tokensPerDay=100)
    first.settle(reserve(first, limits, NOON), tokens=100, now=NOON)
    reserve(first, budgets(requestsPerMinute=1), NOON, "idle", estimate=0)
    saved = first.dump()
    assert saved == {"format": 1, "accounts": [["legal/team", "ann", int(NOON // DAY), 100]]}
    second = Accounts()
    second.load(saved)
    refuse(second, limits, NOON)
    reserve(second, limits, NOON + DAY)


@pytest.mark.parametrize("saved", [{}, {"format": 2, "accounts": []}, {"format": 1, "accounts": {}}])
def test_counts_of_another_kind_are_refused(saved: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="these are not the counts of budgets"):
        Accounts().load(saved)


def test_the_number_of_accounts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ACCOUNTS", 3)
    accounts, limits = Accounts(), budgets(tokensPerDay=100)
    for caller in "abcd":
        reserve(accounts, limits, NOON, caller)
    assert [item[1] for item in accounts.dump()["accounts"]] == ["b", "c", "d"]


def test_limits_that_are_left_out_bound_nothing() -> None:
    accounts = Accounts()
    for _ in range(100):
        accounts.settle(reserve(accounts, budgets(), NOON), tokens=10**9, now=NOON)


@settings(deadline=None, max_examples=100)
@given(
    steps=st.lists(st.tuples(st.floats(0, 30), st.integers(0, 400)), min_size=1, max_size=60),
    limit=st.integers(1, 20),
)
def test_over_any_minute_at_most_twice_the_limit_is_let_in(steps: list[tuple[float, int]], limit: int) -> None:
    accounts, limits, now, let_in = Accounts(), budgets(requestsPerMinute=limit), NOON, list[float]()
    for pause, tokens in steps:
        now += pause
        try:
            charge = reserve(accounts, limits, now)
        except BudgetError:
            continue
        let_in.append(now)
        accounts.settle(charge, tokens=tokens, now=now)
    for begin in let_in:
        assert sum(begin <= at < begin + 60 for at in let_in) <= 2 * limit
