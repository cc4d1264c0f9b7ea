"""How much may still be asked for: buckets that refill over a minute, and counts of a day. Pure; time is given.

What a request will cost is not known before its answer. A request is let in while anything is left, an estimate of
its prompt is taken at once, and what it really took is settled at its end; the next ones wait for what is owed.
"""

import math
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sekisho.api.v1alpha1.accesspolicy import Budgets
from sekisho.errors import Reason, SekishoError, UnavailableError

MAX_ACCOUNTS: Final = 50_000
_MINUTE: Final = 60.0
_DAY: Final = 86_400
_FORMAT: Final = 1


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
    """An amount that refills evenly over a minute up to what it holds; it may fall below zero."""

    left: float
    at: float

    def refill(self, most: float, now: float) -> None:
        self.left = min(most, self.left + max(0.0, now - self.at) * most / _MINUTE)
        self.at = max(self.at, now)


@dataclass(slots=True)
class _Account:
    requests: _Bucket | None = None
    tokens: _Bucket | None = None
    day: int = 0
    day_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Charge:
    """What was taken when a request was let in; to be settled once."""

    account: tuple[str, str]
    budgets: Budgets
    estimate: int


class Accounts:
    """The accounts of this replica. The least recently used are forgotten beyond `MAX_ACCOUNTS`.

    Args:
        replicas: Among how many replicas every budget is shared evenly; at least 1.
    """

    def __init__(self, *, replicas: int = 1) -> None:
        self._replicas = max(1, replicas)
        self._accounts: OrderedDict[tuple[str, str], _Account] = OrderedDict()

    def reserve(self, policy: str, caller: str, budgets: Budgets, *, estimate: int, now: float) -> Charge:
        """Let one request in and take what it is estimated to cost.

        Args:
            policy: namespace/name of the policy.
            caller: Who asks; does not count where the policy's callers share.
            budgets: The policy's.
            estimate: Tokens of its prompt, about.
            now: Unix seconds.

        Raises:
            BudgetError: Something is used up; nothing was taken.
        """
        key = (policy, caller if budgets.per == "Caller" else "")
        account = self._open(key)
        whose = "your budget" if budgets.per == "Caller" else "the budget that its callers share"
        self._check(account, budgets, f"{whose} under AccessPolicy {policy}", now)
        if account.requests is not None:
            account.requests.left -= 1
        self._take(account, estimate)
        return Charge(key, budgets, estimate)

    def settle(self, charge: Charge, *, tokens: int, now: float) -> None:
        """Take what a request really cost, or give back what it did not."""
        account = self._open(charge.account)
        self._refresh(account, charge.budgets, now)
        self._take(account, tokens - charge.estimate)

    def dump(self) -> dict[str, Any]:
        """Return the counts of the day, so that a new start goes on from them."""
        kept = [
            [policy, caller, account.day, account.day_tokens]
            for (policy, caller), account in self._accounts.items()
            if account.day_tokens
        ]
        return {"format": _FORMAT, "accounts": kept}

    def load(self, saved: Mapping[str, Any]) -> None:
        """Go on from counts that were dumped.

        Raises:
            ValueError: They are not such counts.
        """
        if saved.get("format") != _FORMAT or not isinstance(saved.get("accounts"), list):
            raise ValueError("these are not the counts of budgets")
        for item in saved["accounts"][-MAX_ACCOUNTS:]:
            policy, caller, day, tokens = item
            self._accounts[str(policy), str(caller)] = _Account(day=int(day), day_tokens=int(tokens))

    def _open(self, key: tuple[str, str]) -> _Account:
        account = self._accounts.get(key)
        if account is None:
            account = self._accounts[key] = _Account()
            while len(self._accounts) > MAX_ACCOUNTS:
                self._accounts.popitem(last=False)
        self._accounts.move_to_end(key)
        return account

    def _share(self, limit: int) -> float:
        return max(1.0, limit / self._replicas)

    def _refresh(self, account: _Account, budgets: Budgets, now: float) -> None:
        account.requests = self._refill(account.requests, budgets.requests_per_minute, now)
        account.tokens = self._refill(account.tokens, budgets.tokens_per_minute, now)
        if account.day != (today := int(now // _DAY)):
            account.day, account.day_tokens = today, 0

    def _refill(self, bucket: _Bucket | None, limit: int | None, now: float) -> _Bucket | None:
        if limit is None:
            return None
        if bucket is None:
            return _Bucket(self._share(limit), now)
        bucket.refill(self._share(limit), now)
        return bucket

    def _check(self, account: _Account, budgets: Budgets, whose: str, now: float) -> None:
        self._refresh(account, budgets, now)
        requests, tokens = account.requests, account.tokens
        if requests is not None and budgets.requests_per_minute is not None and requests.left < 1:
            raise self._used_up(whose, budgets.requests_per_minute, "requests a minute", lacking=1 - requests.left)
        if tokens is not None and budgets.tokens_per_minute is not None and tokens.left <= 0:
            raise self._used_up(whose, budgets.tokens_per_minute, "tokens a minute", lacking=1 - tokens.left)
        most = budgets.tokens_per_day
        if most is not None and account.day_tokens >= self._share(most):
            left = (account.day + 1) * _DAY - now
            raise BudgetError(
                f"{whose} of {most} tokens a day is used up ({account.day_tokens} were used here); it begins anew at "
                "00:00 UTC",
                retry_seconds=max(1, math.ceil(left)),
            )

    def _used_up(self, whose: str, limit: int, unit: str, *, lacking: float) -> SekishoError:
        wait = max(1, math.ceil(lacking * _MINUTE / self._share(limit)))
        return BudgetError(f"{whose} of {limit} {unit} is used up; try again in {wait} s", retry_seconds=wait)

    @staticmethod
    def _take(account: _Account, tokens: int) -> None:
        if account.tokens is not None:
            account.tokens.left -= tokens
        account.day_tokens = max(0, account.day_tokens + tokens)
