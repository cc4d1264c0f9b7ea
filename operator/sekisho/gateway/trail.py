"""What is known of one request on its way, and the receipt of the entry that tells of it."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sekisho.access.budgets import Charge
from sekisho.access.decide import OPEN, Access
from sekisho.errors import Reason, SekishoError
from sekisho.gateway.choosing.attempts import Tries
from sekisho.gateway.decide import RequestClass, describe_floors
from sekisho.gateway.dialects.form import Endpoint
from sekisho.gateway.dialects.refusals import http_status
from sekisho.gateway.guards.guarding import Guarded
from sekisho.gateway.identity import Caller
from sekisho.gateway.relay import Outcome
from sekisho.gateway.waking.progress import Progress
from sekisho.ledger.receipt import Written
from sekisho.recording.record import Record

_MAX_RECORDED: Final = 1024


@dataclass(slots=True)
class Trail:
    """What is known of a request by now; what is recorded of it, whatever happens."""

    id: str
    began_at: float
    endpoint: Endpoint | None = None
    dialect: Endpoint | None = None
    caller: Caller | None = None
    model: str | None = None
    stream: bool = False
    request_class: RequestClass | None = None
    guarded: Guarded | None = None
    access: Access = OPEN
    charge: Charge | None = None
    backend: Mapping[str, Any] | None = None
    policy: str | None = None
    body_digest: str | None = None
    body_bytes: int = 0
    outcome: Outcome = field(default_factory=Outcome)
    tries: Tries = field(default_factory=Tries)
    progress: Progress | None = None
    fail: Callable[[Reason, str], bytes] | None = None

    def status_of(self, reason: Reason) -> int:
        """Return the status by which a caller hears of a refusal: that of a stream that has begun has gone out."""
        return 200 if self.progress is not None and self.progress.has_begun else http_status(reason)

    def describe(self, kind: str, **more: Any) -> dict[str, Any]:
        """Return the record's entry, without any text of the request."""
        caller, decided = self.caller, self.request_class
        entry: dict[str, Any] = {
            "kind": kind, "id": self.id, "endpoint": self.endpoint, "model": self.model, "stream": self.stream
        }  # fmt: skip
        if caller is not None:
            entry["caller"] = {"username": caller.username[:_MAX_RECORDED], "uid": caller.uid[:_MAX_RECORDED]}
        if decided is not None:
            entry |= {"class": decided.value.label(), "classFrom": describe_floors(decided.floors)}
        if self.guarded is not None:
            entry |= self.guarded.describe()
        if self.access.policy is not None:
            entry["accessPolicy"] = self.access.policy
        if self.backend is not None:
            entry["backend"] = self.backend
        entry |= {"policy": self.policy, "body": self.body_digest, "bodyBytes": self.body_bytes}
        return entry | more


class Receipt:
    """The receipt of an entry that is on disk; signed when it is first asked for."""

    __slots__ = ("_record", "_signed", "_written")

    def __init__(self, record: Record, written: Written) -> None:
        self._record = record
        self._written = written
        self._signed = ""

    def sign_ahead(self) -> None:
        """Sign before it is asked for; what fails then fails again when it is."""
        with contextlib.suppress(SekishoError):
            self.sign()

    def sign(self) -> str:
        """Return the receipt.

        Raises:
            SekishoError: It cannot be signed.
        """
        self._signed = self._signed or self._record.receipt(self._written)
        return self._signed
