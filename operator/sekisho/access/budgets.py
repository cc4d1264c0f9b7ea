"""How much may still be asked for: buckets that refill over a minute, counts of a day and a month. Pure; time is given.

What a request will cost is not known before its answer. A request is let in while anything is left, an estimate of
its prompt is taken at once, and what it really took is settled at its end; the next ones wait for what is owed.
"""

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sekisho.access.costs import Terms, Usage, parse_amount, spell_amount
from sekisho.api.v1alpha1.accesspolicy import Budgets
from sekisho.errors import Reason, SekishoError, UnavailableError

MAX_ACCOUNTS: Final = 50_000
_MINUTE: Final = 60.0
_DAY: Final = 86_400
_FORMAT: Final = 2
# What many small shares add up to may lack the last bit of one.
_ONE: Final = 1 - 1e-9


class BudgetError(UnavailableError):
    """A budget is used up.

    Attributes:
        retry_seconds: When it is worth another try.
    """

    def __init__(self, message: str, *, retry_seconds: int) -> None:
        super().__init__(Reason.BUDGET_EXHAUSTED, message)
        self.retry_seconds = retry_seconds


@dataclass(slots=True)
class _Bucket:
    """An amount that refills evenly, by a share each minute; it holds one at least, and may fall below zero."""

    left: float
    at: float

    def refill(self, share: float, now: float) -> None:
        self.left = min(max(1.0, share), self.left + max(0.0, now - self.at) * share / _MINUTE)
        self.at = max(self.at, now)


@dataclass(slots=True)
class _Account:
    requests: _Bucket | None = None
    tokens: _Bucket | None = None
    day: int = 0
    day_tokens: int = 0
    month: int = 0
    currency: str = ""
    day_cost: int = 0
    month_cost: int = 0


@dataclass(frozen=True, slots=True)
class Charge:
    """What was taken when a request was let in; to be settled or given back, once."""

    account: tuple[str, str]
    terms: Terms
    estimate: Usage


class Accounts:
    """The accounts of this replica. The least recently used are forgotten beyond `MAX_ACCOUNTS`.

    Args:
        replicas: Among how many replicas every budget is shared evenly; at least 1.
    """

    def __init__(self, *, replicas: int = 1) -> None:
        self._replicas = max(1, replicas)
        self._here = f" at this one of {replicas} replicas, which share it evenly" if replicas > 1 else ""
        self._accounts: OrderedDict[tuple[str, str], _Account] = OrderedDict()

    def reserve(self, policy: str, caller: str, terms: Terms, *, estimate: Usage, now: float) -> Charge:
        """Let one request in and take what it is estimated to cost.

        Args:
            policy: namespace/name of the policy.
            caller: Who asks; does not count where the policy's callers share.
            terms: The policy's budgets, and what tokens cost.
            estimate: Tokens of its prompt, about.
            now: Unix seconds.

        Raises:
            BudgetError: Something is used up; nothing was taken.
        """
        budgets = terms.budgets
        key = (policy, caller if budgets.per == "Caller" else "")
        account = self._open(key)
        whose = "your budget" if budgets.per == "Caller" else "the budget that its callers share"
        self._check(account, budgets, f"{whose} under AccessPolicy {policy}", now)
        if account.requests is not None:
            account.requests.left -= 1
        self._take(account, estimate.total, estimate.cost(terms.counted))
        return Charge(key, terms, estimate)

    def settle(self, charge: Charge, *, used: Usage, now: float) -> int:
        """Take what a relayed request really cost, or give back what it did not; return its cost in trillionths."""
        account, rates = self._open(charge.account), charge.terms.counted
        self._refresh(account, charge.terms.budgets, now)
        cost = used.cost(rates)
        self._take(account, used.total - charge.estimate.total, cost - charge.estimate.cost(rates))
        return cost

    def give_back(self, charge: Charge, *, now: float) -> None:
        """Give back all that was taken for a request that was not relayed: it counts as none."""
        account = self._open(charge.account)
        self._refresh(account, charge.terms.budgets, now)
        if account.requests is not None:
            account.requests.left += 1
        self._take(account, -charge.estimate.total, -charge.estimate.cost(charge.terms.counted))

    def dump(self) -> dict[str, Any]:
        """Return the counts of day and month, so that a new start goes on from them.

        A thread may ask while another counts: the accounts are listed in one step, and each is read as it is by then.
        """
        listed = list(self._accounts.items())
        kept = [
            [policy, caller, item.day, item.day_tokens, item.month, item.currency, item.day_cost, item.month_cost]
            for (policy, caller), item in listed
            if item.day_tokens or item.month_cost
        ]
        return {"format": _FORMAT, "accounts": kept}

    def load(self, saved: Mapping[str, Any]) -> None:
        """Go on from counts that were dumped.

        Raises:
            ValueError: They are not such counts.
        """
        if saved.get("format") not in {1, _FORMAT} or not isinstance(saved.get("accounts"), list):
            raise ValueError("these are not the counts of budgets")
        for policy, caller, day, tokens, *more in saved["accounts"][-MAX_ACCOUNTS:]:
            self._accounts[str(policy), str(caller)] = account = _Account(day=int(day), day_tokens=int(tokens))
            # Before there were costs, nothing followed.
            if more:
                month, currency, day_cost, month_cost = more
                account.month, account.currency = int(month), str(currency)
                account.day_cost, account.month_cost = int(day_cost), int(month_cost)

    def _open(self, key: tuple[str, str]) -> _Account:
        account = self._accounts.get(key)
        if account is None:
            account = self._accounts[key] = _Account()
            while len(self._accounts) > MAX_ACCOUNTS:
                self._accounts.popitem(last=False)
        self._accounts.move_to_end(key)
        return account

    def _share(self, limit: int) -> float:
        return limit / self._replicas

    def _refresh(self, account: _Account, budgets: Budgets, now: float) -> None:
        account.requests = self._refill(account.requests, budgets.requests_per_minute, now)
        account.tokens = self._refill(account.tokens, budgets.tokens_per_minute, now)
        # A clock that goes back gives nothing back.
        if account.day < (today := int(now // _DAY)):
            account.day_tokens = account.day_cost = 0
        account.day = today
        if budgets.cost is None:
            return
        month, currency = _month(now)[0], budgets.cost.currency
        if account.currency != currency:
            account.day_cost = account.month_cost = 0
        elif account.month < month:
            account.month_cost = 0
        account.month, account.currency = month, currency

    def _refill(self, bucket: _Bucket | None, limit: int | None, now: float) -> _Bucket | None:
        if limit is None:
            return None
        if bucket is None:
            return _Bucket(max(1.0, self._share(limit)), now)
        bucket.refill(self._share(limit), now)
        return bucket

    def _check(self, account: _Account, budgets: Budgets, whose: str, now: float) -> None:
        self._refresh(account, budgets, now)
        requests, tokens = account.requests, account.tokens
        if requests is not None and budgets.requests_per_minute is not None and requests.left < _ONE:
            raise self._used_up(whose, budgets.requests_per_minute, "requests a minute", lacking=1 - requests.left)
        if tokens is not None and budgets.tokens_per_minute is not None and tokens.left <= 0:
            raise self._used_up(whose, budgets.tokens_per_minute, "tokens a minute", lacking=1 - tokens.left)
        most = budgets.tokens_per_day
        if most is not None and account.day_tokens >= self._share(most):
            left = (account.day + 1) * _DAY - now
            raise BudgetError(
                f"{whose} of {most} tokens a day is used up{self._here} ({account.day_tokens} were used here); "
                "it begins anew at 00:00 UTC",
                retry_seconds=max(1, math.ceil(left)),
            )
        self._check_cost(account, budgets, whose, now)

    def _check_cost(self, account: _Account, budgets: Budgets, whose: str, now: float) -> None:
        if (cost := budgets.cost) is None:
            return
        ends = {"day": (account.day + 1) * _DAY, "month": _month(now)[1]}
        limits = (("day", cost.per_day, account.day_cost), ("month", cost.per_month, account.month_cost))
        for span, most, spent in limits:
            if most is None or spent < (share := parse_amount(most) // self._replicas):
                continue
            renews = datetime.fromtimestamp(ends[span], UTC)
            raise BudgetError(
                f"{whose} of {most} {cost.currency} a {span} is used up{self._here}: {spell_amount(spent)} were "
                f"spent here, {spell_amount(share)} are allowed here; it begins anew at {renews:%Y-%m-%d %H:%M} UTC",
                retry_seconds=max(1, math.ceil(ends[span] - now)),
            )

    def _used_up(self, whose: str, limit: int, unit: str, *, lacking: float) -> SekishoError:
        wait = max(1, math.ceil(lacking * _MINUTE / self._share(limit)))
        return BudgetError(
            f"{whose} of {limit} {unit} is used up{self._here}; try again in {wait} s", retry_seconds=wait
        )

    @staticmethod
    def _take(account: _Account, tokens: int, cost: int) -> None:
        if account.tokens is not None:
            account.tokens.left -= tokens
        account.day_tokens = max(0, account.day_tokens + tokens)
        account.day_cost = max(0, account.day_cost + cost)
        account.month_cost = max(0, account.month_cost + cost)


def _month(now: float) -> tuple[int, float]:
    """Return a month's number and the Unix seconds of its end, in UTC."""
    at = datetime.fromtimestamp(now, UTC)
    end = datetime(at.year + at.month // 12, at.month % 12 + 1, 1, tzinfo=UTC)
    return at.year * 12 + at.month, end.timestamp()
