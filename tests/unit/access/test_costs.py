"""Costs: exact over every price and count; what has no price is refused where cost counts."""

from decimal import Decimal, localcontext
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.access.costs import (
    Rates,
    Terms,
    Usage,
    check_priced,
    find_rates,
    parse_amount,
    read_rates,
    spell_amount,
)
from sekisho.api.v1alpha1.accesspolicy import Budgets
from sekisho.api.v1alpha1.site import TokenPrice
from sekisho.errors import Reason, RefusedError

AMOUNTS = st.builds(
    lambda whole, rest: f"{whole}.{rest}" if rest else str(whole),
    st.integers(0, 10**12 - 1),
    st.text("0123456789", max_size=6),
)


def counting(currency: str, rates: Rates | None) -> Terms:
    return Terms(Budgets.model_validate({"cost": {"perDay": "1", "currency": currency}}), rates)


@settings(deadline=None, max_examples=100)
@given(AMOUNTS, AMOUNTS, st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_cost_is_what_decimals_make_it(prompt: str, completion: str, asked: int, answered: int) -> None:
    price = TokenPrice.model_validate({"inputPerMillionTokens": prompt, "outputPerMillionTokens": completion})
    cost = spell_amount(Usage(asked, answered).cost(read_rates(price)))
    with localcontext() as context:
        context.prec = 60
        assert Decimal(cost) == (Decimal(prompt) * asked + Decimal(completion) * answered) / 1_000_000


@pytest.mark.parametrize(
    ("amount", "spelt"),
    [(0, "0"), (1, "0.000000000001"), (10**13, "10"), (1_500_000_000_000, "1.5"), (parse_amount("300"), "300")],
)
def test_amounts_are_spelt_without_zeros_at_their_end(amount: int, spelt: str) -> None:
    assert spell_amount(amount) == spelt


def test_the_longest_pattern_that_fits_counts() -> None:
    one, two, three = (Rates(number, number, "USD") for number in (1, 2, 3))
    rates = {"*": one, "legal/*": two, "legal/contract": three}
    assert find_rates(rates, "sales/chat") is one
    assert find_rates(rates, "legal/chat") is two
    assert find_rates(rates, "legal/contract") is three
    assert find_rates({"legal/c": one}, "legal/chat") is None


UNPRICED = (
    "AccessPolicy legal/team counts cost in USD, and legal/chat is answered by site tokyo, which names no price of its "
    "tokens; who answers for the site names one in USD (spec.models), 0 where it is free"
)


@pytest.mark.parametrize(
    ("rates", "site", "message"),
    [
        (None, "tokyo", UNPRICED),
        (
            Rates(1, 1, "EUR"),
            "tokyo",
            "by site tokyo, which names a price in EUR; who answers for the site names one in",
        ),
        (None, None, "is answered by a site that is not known, which names no price"),
    ],
    ids=["none", "currency", "site"],
)
def test_what_has_no_price_in_the_budgets_currency_is_refused(rates: Any, site: str | None, message: str) -> None:
    with pytest.raises(RefusedError) as refused:
        check_priced(counting("USD", rates), "legal/team", model="legal/chat", site=site)
    assert refused.value.reason is Reason.PRICE_UNKNOWN
    assert message in refused.value.message


def test_prices_count_only_where_a_budget_counts_cost() -> None:
    rates = Rates(1, 1, "USD")
    check_priced(counting("USD", rates), "legal/team", model="legal/chat", site="tokyo")
    assert counting("USD", rates).counted is rates
    without = Terms(Budgets(), None)
    check_priced(without, "legal/team", model="legal/chat", site=None)
    assert Terms(Budgets(), rates).counted is None
    assert Usage(5, 5).cost(None) == 0
