"""What tokens cost, exactly: amounts are whole trillionths of a currency's unit, never fractions of binary. Pure.

Prices have at most six decimals and stand for a million tokens, so that each token costs a whole number of trillionths.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sekisho.api.v1alpha1.accesspolicy import Budgets
from sekisho.api.v1alpha1.site import TokenPrice
from sekisho.errors import Reason, RefusedError

_DECIMALS: Final = 12
_UNIT: Final = 10**_DECIMALS
_PER: Final = 10**6


@dataclass(frozen=True, slots=True)
class Rates:
    """What one token costs, in trillionths of the currency's unit."""

    prompt: int
    completion: int
    currency: str


@dataclass(frozen=True, slots=True)
class Terms:
    """What a policy allows, and at which rates it is counted; None where the site names none."""

    budgets: Budgets
    rates: Rates | None = None

    @property
    def counted(self) -> Rates | None:
        """The rates, where the policy counts cost."""
        return self.rates if self.budgets.cost is not None else None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request."""

    prompt: int
    completion: int = 0

    @property
    def total(self) -> int:
        """Of prompt and answer together."""
        return self.prompt + self.completion

    def cost(self, rates: Rates | None) -> int:
        """Return what they cost, in trillionths; nothing where there are no rates."""
        return 0 if rates is None else self.prompt * rates.prompt + self.completion * rates.completion


def read_rates(price: TokenPrice) -> Rates:
    """Return the rates of a price."""
    prompt, completion = price.input_per_million_tokens, price.output_per_million_tokens
    return Rates(parse_amount(prompt) // _PER, parse_amount(completion) // _PER, price.currency)


def find_rates(rates: Mapping[str, Rates], model: str) -> Rates | None:
    """Return the rates of the longest pattern that fits a model's name, None where none does."""
    fitting = [name for name in rates if name == model or (name.endswith("*") and model.startswith(name[:-1]))]
    return rates[max(fitting, key=len)] if fitting else None


def parse_amount(text: str) -> int:
    """Return the trillionths of an amount, which the API has checked to be decimal with at most six decimals."""
    whole, _, rest = text.partition(".")
    return int(whole + rest.ljust(_DECIMALS, "0"))


def spell_amount(amount: int) -> str:
    """Spell an amount of trillionths as a decimal number, exactly."""
    whole, rest = divmod(amount, _UNIT)
    return f"{whole}.{rest:0{_DECIMALS}d}".rstrip("0").rstrip(".")


def check_priced(terms: Terms, policy: str, *, model: str, site: str | None) -> None:
    """Refuse what a policy wants counted and nobody has named a price for.

    Raises:
        RefusedError: PriceUnknown.
    """
    wanted, rates = terms.budgets.cost, terms.rates
    if wanted is None or (rates is not None and rates.currency == wanted.currency):
        return
    where = f"site {site}" if site else "a site that is not known"
    said = "no price of its tokens" if rates is None else f"a price in {rates.currency}"
    raise RefusedError(
        Reason.PRICE_UNKNOWN,
        f"AccessPolicy {policy} counts cost in {wanted.currency}, and {model} is answered by {where}, which names"
        f" {said}; who answers for the site names one in {wanted.currency} (spec.models), 0 where it is free",
    )
