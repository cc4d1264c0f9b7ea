"""Budgets: what is used up refuses with the time to wait; shares, days and what is owed."""

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.access import budgets as module
from sekisho.access.budgets import Accounts, BudgetError, Charge
from sekisho.access.costs import Rates, Terms, Usage
from sekisho.api.v1alpha1.accesspolicy import Budgets
from sekisho.errors import Reason

NOON = 1_764_417_600.0  # 2025-11-29T12:00:00Z
DAY = 86_400
# 2 of a million tokens of prompts, 10 of answers.
RATES = Rates(2_000_000, 10_000_000, "USD")


def budgets(**spec: Any) -> Budgets:
    return Budgets.model_validate(spec)


def reserve(accounts: Accounts, limits: Budgets, now: float, caller: str = "ann", estimate: int = 10) -> Charge:
    return accounts.reserve("legal/team", caller, Terms(limits, RATES), estimate=Usage(estimate), now=now)


def settle(accounts: Accounts, charge: Charge, *, tokens: int, now: float) -> None:
    accounts.settle(charge, used=Usage(tokens), now=now)


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


def test_what_was_taken_for_a_request_that_went_nowhere_is_given_back_whole() -> None:
    accounts = Accounts()
    limits = budgets(requestsPerMinute=1, tokensPerMinute=10, tokensPerDay=10, cost={"perDay": "1", "currency": "USD"})
    for _ in range(3):
        charge = reserve(accounts, limits, NOON)
        refuse(accounts, limits, NOON)
        accounts.give_back(charge, now=NOON)
    assert accounts.dump()["accounts"] == []
    reserve(accounts, limits, NOON)
    refuse(accounts, limits, NOON)


def test_tokens_alone_are_given_back() -> None:
    accounts, limits = Accounts(), budgets(tokensPerMinute=10)
    accounts.give_back(reserve(accounts, limits, NOON), now=NOON)
    reserve(accounts, limits, NOON)
    refuse(accounts, limits, NOON)


def test_a_request_that_is_given_back_late_is_not_one_more_than_a_minute_has() -> None:
    accounts, limits = Accounts(), budgets(requestsPerMinute=1)
    charge = reserve(accounts, limits, NOON)
    accounts.give_back(charge, now=NOON + 60)
    reserve(accounts, limits, NOON + 60)
    refuse(accounts, limits, NOON + 60)


def test_counts_can_be_dumped_while_requests_are_counted() -> None:
    accounts, limits = Accounts(), budgets(tokensPerDay=100)
    for caller in ("ann", "bob", "cid"):
        reserve(accounts, limits, NOON, caller)

    @dataclass
    class Moving(module._Account):
        """Has another request counted as it is looked at, as happens where another thread looks."""

        def __getattribute__(self, name: str) -> Any:
            if name == "month_cost":
                reserve(accounts, limits, NOON, "ann")
                reserve(accounts, limits, NOON, "dan")
            return super().__getattribute__(name)

    accounts._accounts["legal/team", "bob"] = Moving(day=int(NOON // DAY))
    assert {caller for _, caller, *_ in accounts.dump()["accounts"]} == {"ann", "cid"}


def test_tokens_are_owed_after_a_long_answer() -> None:
    accounts, limits = Accounts(), budgets(tokensPerMinute=600)
    charge = reserve(accounts, limits, NOON)
    settle(accounts, charge, tokens=1200, now=NOON)
    error = refuse(accounts, limits, NOON)
    assert "of 600 tokens a minute is used up; try again in 61 s" in error.message
    reserve(accounts, limits, NOON + 61)


def test_an_estimate_that_was_too_high_is_given_back() -> None:
    accounts, limits = Accounts(), budgets(tokensPerMinute=100)
    charge = reserve(accounts, limits, NOON, estimate=100)
    refuse(accounts, limits, NOON)
    settle(accounts, charge, tokens=5, now=NOON)
    reserve(accounts, limits, NOON)


def test_a_days_tokens_begin_anew_at_midnight_utc() -> None:
    accounts, limits = Accounts(), budgets(tokensPerDay=1000)
    settle(accounts, reserve(accounts, limits, NOON), tokens=1000, now=NOON)
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


def test_a_share_of_less_than_one_lets_no_more_in_over_time_than_the_budget_has() -> None:
    limits, let_in, waits = budgets(requestsPerMinute=2), 0, set[int]()
    replicas = [Accounts(replicas=8) for _ in range(8)]
    for second in range(600):
        for accounts in replicas:
            try:
                reserve(accounts, limits, NOON + second)
            except BudgetError as error:
                waits.add(error.retry_seconds)
            else:
                let_in += 1
    assert max(waits) == 240
    # One at each to begin with, and two each minute of ten.
    assert 8 + 16 <= let_in <= 8 + 20


def test_a_replica_says_that_its_share_is_used_up_and_not_the_budget() -> None:
    accounts = Accounts(replicas=2)
    limits = budgets(requestsPerMinute=2, tokensPerDay=10, cost={"perDay": "0.00004", "currency": "USD"})
    settle(accounts, reserve(accounts, limits, NOON), tokens=10, now=NOON)
    here = "is used up at this one of 2 replicas, which share it evenly"
    assert f"of 2 requests a minute {here}; try again in 60 s" in refuse(accounts, limits, NOON).message
    assert f"of 10 tokens a day {here} (10 were used here)" in refuse(accounts, limits, NOON + 60).message
    limits = budgets(cost={"perDay": "0.00004", "currency": "USD"})
    assert f"of 0.00004 USD a day {here}: 0.00002 were spent here" in refuse(accounts, limits, NOON).message


def test_a_clock_that_goes_back_gives_nothing_back() -> None:
    accounts = Accounts()
    limits = budgets(tokensPerDay=100, cost={"perMonth": "1", "currency": "USD"})
    settle(accounts, reserve(accounts, limits, NOON + 40 * DAY), tokens=100, now=NOON + 40 * DAY)
    refuse(accounts, limits, NOON)
    assert accounts.dump()["accounts"][0][3:] == [100, 24311, "USD", 200_000_000, 200_000_000]
    reserve(accounts, limits, NOON + DAY)


def test_a_refused_request_costs_nothing() -> None:
    accounts, limits = Accounts(), budgets(requestsPerMinute=60, tokensPerDay=10)
    settle(accounts, reserve(accounts, limits, NOON), tokens=10, now=NOON)
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
    settle(first, reserve(first, limits, NOON), tokens=100, now=NOON)
    reserve(first, budgets(requestsPerMinute=1), NOON, "idle", estimate=0)
    saved = first.dump()
    assert saved == {"format": 2, "accounts": [["legal/team", "ann", int(NOON // DAY), 100, 0, "", 0, 0]]}
    second = Accounts()
    second.load(saved)
    refuse(second, limits, NOON)
    reserve(second, limits, NOON + DAY)


@pytest.mark.parametrize("saved", [{}, {"format": 3, "accounts": []}, {"format": 1, "accounts": {}}])
def test_counts_of_another_kind_are_refused(saved: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="these are not the counts of budgets"):
        Accounts().load(saved)


def test_counts_from_before_there_were_costs_go_on() -> None:
    accounts = Accounts()
    accounts.load({"format": 1, "accounts": [["legal/team", "ann", int(NOON // DAY), 100]]})
    refuse(accounts, budgets(tokensPerDay=100), NOON)
    reserve(accounts, budgets(cost={"perDay": "1"}), NOON)


def test_a_days_cost_that_is_spent_says_what_when_and_how_much() -> None:
    accounts, limits = Accounts(), budgets(cost={"perDay": "0.01"})
    charge = reserve(accounts, limits, NOON, estimate=1000)
    assert accounts.settle(charge, used=Usage(1000, 801), now=NOON) == 10_010_000_000
    error = refuse(accounts, limits, NOON)
    assert error.message == (
        "your budget under AccessPolicy legal/team of 0.01 USD a day is used up: 0.01001 were spent here, 0.01 are "
        "allowed here; it begins anew at 2025-11-30 00:00 UTC"
    )
    assert error.retry_seconds == DAY // 2
    reserve(accounts, limits, NOON, "bob")
    reserve(accounts, limits, NOON + DAY // 2)


def test_a_months_cost_goes_on_over_days_and_restarts_and_ends_with_the_month() -> None:
    first, limits = Accounts(), budgets(cost={"perMonth": "0.01", "currency": "USD"})
    december = NOON + 3 * DAY
    first.settle(reserve(first, limits, december), used=Usage(0, 1000), now=december)
    second = Accounts()
    second.load(first.dump())
    error = refuse(second, limits, december + DAY)
    assert "of 0.01 USD a month is used up: 0.01 were spent here" in error.message
    assert error.message.endswith("it begins anew at 2026-01-01 00:00 UTC")
    assert error.retry_seconds == 28 * DAY + DAY // 2
    reserve(second, limits, december + 30 * DAY)


def test_a_month_before_its_last_day_ends_with_its_last_day() -> None:
    accounts, limits = Accounts(), budgets(cost={"perMonth": "0"})
    error = refuse(accounts, limits, NOON)
    assert error.message.endswith("0 were spent here, 0 are allowed here; it begins anew at 2025-12-01 00:00 UTC")


def test_what_a_prompt_may_cost_is_reserved_and_given_back() -> None:
    accounts, limits = Accounts(), budgets(cost={"perDay": "0.002"})
    charge = reserve(accounts, limits, NOON, estimate=1000)
    refuse(accounts, limits, NOON)
    accounts.settle(charge, used=Usage(0), now=NOON)
    reserve(accounts, limits, NOON)


def test_replicas_share_a_cost() -> None:
    accounts, limits = Accounts(replicas=2), budgets(per="Policy", cost={"perDay": "0.002"})
    reserve(accounts, limits, NOON, estimate=500)
    assert "0.001 were spent here, 0.001 are allowed here" in refuse(accounts, limits, NOON, "bob").message


def test_another_currency_begins_anew() -> None:
    accounts, dollars = Accounts(), budgets(cost={"perDay": "0.002"})
    reserve(accounts, dollars, NOON, estimate=1000)
    refuse(accounts, dollars, NOON)
    euros = Terms(budgets(cost={"perDay": "0.002", "currency": "EUR"}), Rates(1, 1, "EUR"))
    accounts.reserve("legal/team", "ann", euros, estimate=Usage(1), now=NOON)


def test_the_number_of_accounts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ACCOUNTS", 3)
    accounts, limits = Accounts(), budgets(tokensPerDay=100)
    for caller in "abcd":
        reserve(accounts, limits, NOON, caller)
    assert [item[1] for item in accounts.dump()["accounts"]] == ["b", "c", "d"]


def test_limits_that_are_left_out_bound_nothing() -> None:
    accounts = Accounts()
    for _ in range(100):
        settle(accounts, reserve(accounts, budgets(), NOON), tokens=10**9, now=NOON)


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
        settle(accounts, charge, tokens=tokens, now=now)
    for begin in let_in:
        assert sum(begin <= at < begin + 60 for at in let_in) <= 2 * limit
