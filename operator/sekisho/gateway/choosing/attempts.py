"""Ask the chosen replica, and the next where that one cannot have begun; never anybody whom the filters left out."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from sekisho.errors import Reason, RefusedError, SekishoError, UnavailableError
from sekisho.gateway.choosing.choosing import Choice, Choosing, find_backend
from sekisho.gateway.choosing.filtering import Eligible
from sekisho.gateway.dialects.answers import Answerer
from sekisho.gateway.relay import Outcome, Relay, Sink

MAX_TRIES: Final = 3
# A stream that ended with one of these broke at the engine; the others are our own doing, or the caller's.
_BROKE: Final = frozenset({Reason.UPSTREAM_FAILED, Reason.UPSTREAM_TIMEOUT})


class Prepared(NamedTuple):
    """A request that may go to an engine: what is sent, where, and how its answer is told."""

    path: str
    body: bytes
    stream: bool
    answerer: Answerer | None


@dataclass(slots=True)
class Tries:
    """Who was asked, and why it was not the last; whoever was asked last without a reason answered.

    Attributes:
        reached: Whether an engine may have begun.
    """

    made: list[tuple[str, str | None]] = field(default_factory=list)
    reached: bool = False

    def describe(self) -> list[dict[str, Any]]:
        """Return what the record keeps of them."""
        return [{"name": name} if reason is None else {"name": name, "reason": reason} for name, reason in self.made]


class TimedSink:
    """Notes when the first byte of an answer goes out, and sends headers of ours with it.

    Args:
        sink: Where the answer goes.
        begun: Called when it begins; returns the headers.
    """

    def __init__(self, sink: Sink, begun: Callable[[], Mapping[str, str]]) -> None:
        self._sink = sink
        self._begun = begun
        self.begun_at = 0.0
        self.push = sink.push
        self.write = sink.write
        self.end = sink.end

    async def begin(
        self,
        status: int,
        content_type: str,
        *,
        length: int | None = None,
        retry_seconds: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send the status."""
        self.begun_at = time.monotonic()
        own = self._begun()
        headers = {**headers, **own} if headers else own
        await self._sink.begin(status, content_type, length=length, retry_seconds=retry_seconds, headers=headers)


class Attempts:
    """Carries prepared requests to whoever was chosen."""

    def __init__(self, choosing: Choosing, relay: Relay) -> None:
        self._choosing = choosing
        self._relay = relay

    async def send(
        self, choice: Choice, prepared: Prepared, sink: TimedSink, *, outcome: Outcome, tries: Tries
    ) -> None:
        """Ask one replica after the other until one has begun.

        Args:
            choice: Who may be asked, in order.
            prepared: What is asked.
            sink: Where the answer goes.
            outcome: Filled while it runs.
            tries: Likewise.

        Raises:
            SekishoError: Nobody answered, and nothing was sent into `sink` yet.
        """
        last: SekishoError | None = None
        for eligible in choice.order[:MAX_TRIES]:
            excluded = self._choosing.check_again(choice, eligible)
            if excluded is not None:
                tries.made.append((eligible.replica.name, f"excluded: {excluded.rule.value}"))
                last = last or UnavailableError(
                    Reason.MODEL_NOT_READY,
                    f"model {choice.full_name} does not answer now: {excluded.detail}; try again shortly",
                )
                continue
            tries.made.append((eligible.replica.name, None))
            tries.reached = True
            try:
                return await self._try(choice, eligible, prepared, sink, outcome)
            except SekishoError as error:
                tries.made[-1] = (eligible.replica.name, error.reason.value)
                last = error
                tries.reached = not outcome.untouched
                if outcome.status or not outcome.untouched:
                    raise
        raise last or UnavailableError(
            Reason.MODEL_NOT_READY, f"model {choice.full_name} does not answer now; try again shortly"
        )

    async def _try(
        self, choice: Choice, eligible: Eligible, prepared: Prepared, sink: TimedSink, outcome: Outcome
    ) -> None:
        experience, uid, began_at = self._choosing.experience, eligible.replica.uid, time.monotonic()
        outcome.untouched = False
        try:
            with experience.under_way(uid):
                await self._relay.relay(
                    find_backend(choice, eligible), prepared.path, prepared.body, sink,
                    stream=prepared.stream, outcome=outcome, answerer=prepared.answerer,
                )  # fmt: skip
        except RefusedError:
            raise  # the engine is well, the request is not
        except SekishoError as error:
            unreached = outcome.untouched and error.reason is not Reason.OVERLOADED
            experience.failed(uid, time.monotonic(), unreached=unreached)
            raise
        if outcome.reason in _BROKE:
            experience.failed(uid, time.monotonic(), unreached=False)
        elif sink.begun_at:
            experience.answered(uid, sink.begun_at - began_at)
