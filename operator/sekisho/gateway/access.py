"""AccessPolicies at work: who is let in by which, and what their requests are charged to."""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sekisho.access.budgets import Accounts, Charge
from sekisho.access.decide import Access, Asker, Question, check_let_in, decide_access, is_let_in
from sekisho.access.policies import Policy
from sekisho.classify.lattice import Lattice
from sekisho.gateway.identity import Caller
from sekisho.recording.logs import write_file

_log = logging.getLogger(__name__)
_KEEP_SECONDS: Final = 10.0
# About how many bytes of a body make one token, before the engine has counted.
_BYTES_PER_TOKEN: Final = 4
FILE: Final = "budgets.json"


class AccessGate:
    """Decides by policies and keeps their budgets.

    Args:
        folder: Where the counts of the day are kept over restarts.
        replicas: Among how many replicas budgets are shared.
        clock: Unix seconds.
    """

    def __init__(self, folder: Path, *, replicas: int = 1, clock: Callable[[], float] = time.time) -> None:
        self._place = folder / FILE
        self._accounts = Accounts(replicas=replicas)
        self._clock = clock
        self._kept = ""
        self._recall()

    def is_let_in(self, policies: Sequence[Policy], caller: Caller, model: str) -> bool:
        """Tell whether a caller may know of a model."""
        return is_let_in(policies, _asker(caller), model, now=self._now())

    def check(self, policies: Sequence[Policy], caller: Caller, model: str) -> None:
        """Refuse a caller who may not know of a model.

        Raises:
            RefusedError: NotAllowed.
        """
        check_let_in(policies, _asker(caller), model, now=self._now())

    def decide(self, policies: Sequence[Policy], caller: Caller, question: Question, lattice: Lattice) -> Access:
        """Return what lets a caller in.

        Raises:
            RefusedError: NotAllowed, ClassAboveCeiling.
        """
        return decide_access(policies, _asker(caller), question, lattice=lattice, now=self._now())

    def charge(self, access: Access, caller: Caller, *, body_bytes: int) -> Charge | None:
        """Charge a request to its policy's budgets; None where it has none.

        Raises:
            BudgetError: They are used up.
        """
        if access.policy is None or access.budgets is None:
            return None
        estimate = body_bytes // _BYTES_PER_TOKEN
        return self._accounts.reserve(
            access.policy, caller.username, access.budgets, estimate=estimate, now=self._clock()
        )

    def settle(self, charge: Charge | None, *, tokens: int | None, events: int) -> None:
        """Charge what a request really took.

        Args:
            charge: What was taken when it was let in.
            tokens: What the engine counted, None where it did not say.
            events: Of the stream; about one a token, where nothing else is known.
        """
        if charge is not None:
            taken = charge.estimate + events if tokens is None else tokens
            self._accounts.settle(charge, tokens=taken, now=self._clock())

    async def keep(self) -> None:
        """Keep the counts of the day on disk as they change, until cancelled."""
        try:
            while True:
                await asyncio.sleep(_KEEP_SECONDS)
                await asyncio.to_thread(self.save)
        finally:
            self.save()

    def save(self) -> None:
        """Write the counts of the day, where they changed; a disk that fails costs them at the next restart alone."""
        text = json.dumps(self._accounts.dump())
        if text == self._kept:
            return
        try:
            write_file(self._place, text.encode())
            self._kept = text
        except OSError as error:
            _log.warning("the counts of budgets cannot be kept", extra={"detail": type(error).__name__})

    def _recall(self) -> None:
        try:
            self._accounts.load(json.loads(self._place.read_text()))
        except FileNotFoundError:
            return
        except (OSError, ValueError, TypeError):
            _log.error("the kept counts of budgets cannot be read; they begin anew")

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)


def _asker(caller: Caller) -> Asker:
    return Asker(caller.username, caller.groups, caller.issuer, caller.claims)
