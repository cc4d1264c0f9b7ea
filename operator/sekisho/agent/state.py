"""What the agent knows right now, shared between its loop, its fetch and its probes' endpoints."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sekisho.errors import Reason


@dataclass(frozen=True, slots=True)
class Health:
    """An answer to a probe: whether it passes, and why."""

    ok: bool
    reason: Reason
    message: str


@dataclass(slots=True)
class AgentState:
    """Isolation and weights of this pod.

    Attributes:
        clock: Monotonic seconds; an input so that tests need not wait.
    """

    clock: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _proven_at: float | None = None
    _max_age_seconds: float = 90.0
    _isolation: Health = Health(ok=False, reason=Reason.ISOLATION_PENDING, message="isolation has not been tried yet")
    _weights: Health = Health(ok=False, reason=Reason.WEIGHTS_PENDING, message="weights have not been asked for yet")

    def record_proof(self, *, max_age_seconds: float) -> None:
        """Note that the depot accepted a proof just now."""
        with self._lock:
            self._proven_at = self.clock()
            self._max_age_seconds = max_age_seconds
            self._isolation = Health(ok=True, reason=Reason.ISOLATION_PROVEN, message="isolation is proven")

    def renew_proof(self) -> None:
        """Note a round in which nothing was reached but which could not be delivered.

        What the depot once accepted goes on to hold while the pod's own rounds stay clean: an outage of the depot or of
        the API server stops no engine. The depot itself calls such a pod stale, which takes it out of traffic.
        """
        with self._lock:
            if self._proven_at is not None and self.clock() - self._proven_at <= self._max_age_seconds:
                self._proven_at = self.clock()

    def record_failure(self, reason: Reason, message: str, *, final: bool) -> None:
        """Note that a proof failed.

        Args:
            reason: The rule that failed.
            message: The facts.
            final: True where the proof itself was bad: it ends isolation at once. False where it could not be
                delivered: the last good proof still counts until it is too old.
        """
        with self._lock:
            if final:
                self._proven_at = None
            self._isolation = Health(ok=False, reason=reason, message=message)

    def record_weights(self, reason: Reason, message: str, *, ready: bool) -> None:
        """Note the state of the weights."""
        with self._lock:
            self._weights = Health(ok=ready, reason=reason, message=message)

    def isolation(self) -> Health:
        """Tell whether a proof is fresh; while it is, a failed delivery does not matter."""
        with self._lock:
            if self._proven_at is None:
                return self._isolation
            age = self.clock() - self._proven_at
            if age <= self._max_age_seconds:
                return Health(ok=True, reason=Reason.ISOLATION_PROVEN, message=f"proven {age:.0f} s ago")
            last = "" if self._isolation.ok else f"; since then: {self._isolation.message}"
            message = f"the last proof is {age:.0f} s old, {self._max_age_seconds:.0f} s allowed{last}"
            return Health(ok=False, reason=Reason.ISOLATION_PROOF_STALE, message=message)

    def weights(self) -> Health:
        """Tell whether the weights are complete."""
        with self._lock:
            return self._weights

    def startup(self) -> Health:
        """Tell whether the engine may be started: both hold now, or did once in this process's life."""
        isolation = self.isolation()
        if not isolation.ok:
            return isolation
        return self.weights()
