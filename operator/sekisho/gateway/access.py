"""AccessPolicies at work: who is let in by which, and what their requests are charged to."""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from sekisho.access.budgets import Accounts, Charge
from sekisho.access.costs import Rates, Terms, Usage, check_priced, spell_amount
from sekisho.access.decide import OPEN, Access, Asker, Question, check_let_in, decide_access, is_let_in
from sekisho.access.policies import Policy
from sekisho.classify.lattice import Lattice
from sekisho.gateway.identity import Caller
from sekisho.recording.logs import write_file

_log = logging.getLogger(__name__)
_KEEP_SECONDS: Final = 10.0
_MAX_ASKERS: Final = 256
# About how many bytes of a body make one token, before the engine has counted.
_BYTES_PER_TOKEN: Final = 4
FILE: Final = "budgets.json"


class Order(NamedTuple):
    """What is charged for.

    Attributes:
        model: namespace/name.
        site: Where it is answered; None where that is not known.
        rates: What its tokens cost there; None where nobody says.
    """

    model: str
    site: str | None
    rates: Rates | None
    body_bytes: int


class AccessGate:
    """Decides by policies and keeps their budgets.

    Args:
        folder: Where the counts of day and month are kept over restarts.
        replicas: Among how many replicas budgets are shared.
        clock: Unix seconds.
        is_ours: Tells whether no other process writes there any more; until then nothing is read or written.
    """

    def __init__(
        self,
        folder: Path,
        *,
        replicas: int = 1,
        clock: Callable[[], float] = time.time,
        is_ours: Callable[[], bool] = lambda: True,
    ) -> None:
        self._place = folder / FILE
        self._accounts = Accounts(replicas=replicas)
        self._clock = clock
        # Each caller stands beside, so that no other gets its identity.
        self._askers: dict[int, tuple[Caller, Asker]] = {}
        self._kept = ""
        self._is_ours = is_ours
        self._recalled = False
        self._take_over()

    def is_let_in(self, policies: Sequence[Policy], caller: Caller, model: str) -> bool:
        """Tell whether a caller may know of a model."""
        return not policies or is_let_in(policies, self._asker(caller), model, now=self._now())

    def check(self, policies: Sequence[Policy], caller: Caller, model: str) -> None:
        """Refuse a caller who may not know of a model.

        Raises:
            RefusedError: NotAllowed.
        """
        if policies:
            check_let_in(policies, self._asker(caller), model, now=self._now())

    def decide(self, policies: Sequence[Policy], caller: Caller, question: Question, lattice: Lattice) -> Access:
        """Return what lets a caller in.

        Raises:
            RefusedError: NotAllowed, ClassAboveCeiling.
        """
        if not policies:
            return OPEN
        return decide_access(policies, self._asker(caller), question, lattice=lattice, now=self._now())

    def charge(self, access: Access, caller: Caller, order: Order) -> Charge | None:
        """Charge a request to its policy's budgets; None where it has none.

        Raises:
            BudgetError: They are used up.
            RefusedError: PriceUnknown, they count cost, and nobody says what the model costs.
        """
        if access.policy is None or access.budgets is None:
            return None
        self._take_over()
        terms = Terms(access.budgets, order.rates)
        check_priced(terms, access.policy, model=order.model, site=order.site)
        estimate = Usage(order.body_bytes // _BYTES_PER_TOKEN)
        return self._accounts.reserve(access.policy, caller.username, terms, estimate=estimate, now=self._clock())

    def give_back(self, charge: Charge | None) -> None:
        """Give back what was taken for a request that was not relayed."""
        if charge is not None:
            self._accounts.give_back(charge, now=self._clock())

    def settle(self, charge: Charge | None, *, counted: Mapping[str, int], events: int) -> dict[str, str] | None:
        """Charge what a request really took, and return what it cost, where that is counted.

        Args:
            charge: What was taken when it was let in.
            counted: Tokens of prompt and completion that the engine counted, each only where it did say.
            events: Of the stream; about one a token, where nothing else is known.
        """
        if charge is None:
            return None
        # What the engine left out is taken as where it counts nothing.
        used = Usage(counted.get("prompt", charge.estimate.prompt), counted.get("completion", events))
        cost, rates = self._accounts.settle(charge, used=used, now=self._clock()), charge.terms.counted
        return None if rates is None else {"amount": spell_amount(cost), "currency": rates.currency}

    async def keep(self) -> None:
        """Keep the counts of day and month on disk as they change, until cancelled."""
        try:
            while True:
                await asyncio.sleep(_KEEP_SECONDS)
                await asyncio.to_thread(self.save)
        finally:
            self.save()

    def save(self) -> None:
        """Write the counts, where they changed; a disk that fails costs them at the next restart alone."""
        if not self._take_over():
            return
        text = json.dumps(self._accounts.dump())
        if text == self._kept:
            return
        try:
            write_file(self._place, text.encode())
            self._kept = text
        except OSError as error:
            _log.warning("the counts of budgets cannot be kept", extra={"detail": type(error).__name__})

    def _take_over(self) -> bool:
        """Go on from what was counted before, once nobody else counts there; tell whether that is so."""
        if not self._recalled and self._is_ours():
            self._recalled = True
            self._recall()
        return self._recalled

    def _recall(self) -> None:
        try:
            self._accounts.load(json.loads(self._place.read_text()))
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError):
            _log.error("the kept counts of budgets cannot be read; they begin anew")

    def _asker(self, caller: Caller) -> Asker:
        """Return a caller as policies know it, the same while it asks on: what expressions say of it is then known."""
        kept = self._askers.get(id(caller))
        if kept is not None:
            return kept[1]
        if len(self._askers) >= _MAX_ASKERS:
            self._askers.pop(next(iter(self._askers)))
        asker = Asker(caller.username, caller.groups, caller.issuer, caller.claims)
        self._askers[id(caller)] = caller, asker
        return asker

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)
