"""A load on the gateway: callers who ask without end, and ask again where a connection breaks."""

import contextlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Self

from e2e.cluster.patience import PATIENCE_SECONDS
from e2e.gateway.caller import Address, Answer, Network, ask


@dataclass(slots=True)
class Load:
    """Callers who ask without end, each over a new connection, and ask again where one breaks.

    Attributes:
        answers: Every answer that began.
        refusals: What was answered with another status than 200.
        broken: Connections that ended before an answer, and answers that were cut.
        unanswered: Requests that nothing answered for as long as a caller would try.
    """

    address: Address
    answers: list[Answer] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    unanswered: int = 0
    _over: threading.Event = field(default_factory=threading.Event)
    _work: list[Future[Any]] = field(default_factory=list)

    @contextlib.contextmanager
    def running(self, network: Network, *, callers: int = 4) -> Iterator[Self]:
        """Ask while the block runs; half of the callers want streams."""
        self._work = [network.start(self._ask_on, stream=bool(at % 2)) for at in range(callers)]
        try:
            yield self
        finally:
            self._over.set()
            for work in self._work:
                work.result()

    def whole(self) -> int:
        """Return how many requests were answered to the end."""
        return sum(answer.whole and answer.status == 200 for answer in list(self.answers))

    def receipts(self, pod: str) -> list[str]:
        """Return the receipts of one replica."""
        return [item.receipt for item in list(self.answers) if f"/{pod}/" in item.receipt]

    def _ask_on(self, *, stream: bool) -> None:
        while not self._over.wait(0.03):
            if not self._ask(stream=stream):
                self.unanswered += 1

    def _ask(self, *, stream: bool) -> bool:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            try:
                answer = ask(self.address, "say something", stream=stream)
            except OSError as error:
                self.broken.append(repr(error))
                time.sleep(0.2)
                continue
            self.answers.append(answer)
            if answer.status != 200:
                self.refusals.append(f"{answer.status} {answer.text}")
                return True
            if answer.whole:
                return True
            self.broken.append(f"an answer of {len(answer.body)} bytes was cut")
        return False
