"""What the agent knows right now, shared between its loop, its fetch and its probes' endpoints."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from sekisho.agent.lease import Lease, Phase
from sekisho.errors import Reason, UnavailableError
from sekisho.kernel import read_boot_seconds


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
        boot_clock: Seconds since the boot of the machine, its suspension included; what leases are counted by.
        leased: Whether weights may be served under a lease alone.
    """

    clock: Callable[[], float] = time.monotonic
    boot_clock: Callable[[], float] = read_boot_seconds
    leased: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _proven_at: float | None = None
    _max_age_seconds: float = 90.0
    _isolation: Health = Health(ok=False, reason=Reason.ISOLATION_PENDING, message="isolation has not been tried yet")
    _weights: Health = Health(ok=False, reason=Reason.WEIGHTS_PENDING, message="weights have not been asked for yet")
    _lease: Lease = field(default_factory=Lease)
    _proof: bytes = b""

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
                self._proof = b""
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

    def keep_proof(self, proof: bytes) -> None:
        """Keep a proof in which nothing was reached, as it is spelt, for whoever appraises it beside the depot."""
        with self._lock:
            self._proof = proof

    def proof(self) -> bytes:
        """Return the last proof in which nothing was reached.

        Raises:
            UnavailableError: IsolationNotProven; there is none.
        """
        with self._lock:
            if not self._proof:
                raise UnavailableError(Reason.ISOLATION_NOT_PROVEN, f"no proof of isolation: {self._isolation.message}")
            return self._proof

    def lease(self) -> Lease:
        """Return the lease as it stands."""
        with self._lock:
            return self._lease

    def change_lease(self, change: Callable[[Lease], Lease]) -> Lease:
        """Replace the lease by what `change` makes of it, and return that."""
        with self._lock:
            self._lease = change(self._lease)
            return self._lease

    def startup(self) -> Health:
        """Tell whether the engine may be started: isolation and weights stand, and no lease has ended.

        An engine that decrypts by itself asks for its keys once it runs: until then there may be no lease.
        """
        isolation, weights = self.isolation(), self.weights()
        lease = self._judge_lease(lambda lease, now: lease.phase is Phase.NONE or lease.holds(now))
        return next((health for health in (isolation, weights, lease) if not health.ok), weights)

    def may_serve(self) -> Health:
        """Tell whether requests may come in."""
        isolation = self.isolation()
        return self._judge_lease(Lease.holds) if isolation.ok else isolation

    def may_live(self) -> Health:
        """Tell whether the engine may go on: also while the requests that run in it may end."""
        isolation = self.isolation()
        return self._judge_lease(Lease.tolerates) if isolation.ok else isolation

    def _judge_lease(self, allows: Callable[[Lease, float], bool]) -> Health:
        if not self.leased:
            return Health(ok=True, reason=Reason.READY, message="nothing here needs a lease")
        lease, now = self.lease(), self.boot_clock()
        if allows(lease, now):
            message = f"the lease on the data key holds for {max(0.0, lease.ends - now):.0f} s more"
            return Health(ok=True, reason=Reason.KEY_RELEASED, message=message)
        if lease.phase is Phase.HELD:
            message = (
                f"the lease on the data key ended {now - lease.ends:.0f} s ago; {lease.trouble or 'it is being ended'}"
            )
            return Health(ok=False, reason=Reason.LEASE_EXPIRED, message=message)
        return Health(ok=False, reason=lease.reason, message=lease.message)
