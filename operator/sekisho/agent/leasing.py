"""Keep a lease: renew it with fresh evidence while it holds; take everything away, in order, once it does not."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sekisho.agent import lease as machine
from sekisho.agent.broker import Broker
from sekisho.agent.config import EngineConfig
from sekisho.agent.journal import log_event
from sekisho.agent.lease import Lease, Phase, Terms
from sekisho.agent.lease_record import end_record, read_boot_id, read_record, write_record
from sekisho.agent.release import KeyRequest, convert_refusal
from sekisho.agent.sockets import has_callers, is_listening
from sekisho.agent.state import AgentState
from sekisho.agent.waiting import spread, wait_unavailable
from sekisho.errors import Reason, SekishoError

_IDLE_SECONDS: Final = 1.0
_BUSY_SECONDS: Final = 0.5
_JUMP_SECONDS: Final = 30.0
_TOLD_ATTEMPTS: Final = 2
_TOLD_PAUSE_SECONDS: Final = 2.0
_PASSING: Final = frozenset(
    {
        Reason.ISOLATION_PROOF_INCOMPLETE,  # the list of canaries comes a minute late into running pods
        Reason.ISOLATION_PROOF_STALE,
        Reason.ISOLATION_NOT_PROVEN,
        Reason.UNAUTHENTICATED,  # a token is being replaced
    }
)


@dataclass(slots=True)
class LeaseKeeper:
    """One pod's lease.

    Attributes:
        state: Holds the lease; probes read it there.
        broker: Returns how the broker is asked right now; None while that is not known.
        halt: Ends what is being brought or handed over; returns once it has ended.
        wipe: Removes the weights.
        tell: Tells the depot why the pod serves no longer; False while it could not be told.
        engine: Returns where the engine answers, as far as that is known.
        record: Where the lease is noted, so that an agent that is started again keeps it. Nothing in it is secret.
    """

    state: AgentState
    broker: Callable[[], Broker | None]
    halt: Callable[[], None]
    wipe: Callable[[], None]
    tell: Callable[[Reason, str], bool]
    engine: Callable[[], EngineConfig | None]
    record: Path
    boot_id: str = field(default_factory=read_boot_id)
    stop: threading.Event = field(default_factory=threading.Event)
    _wanted: KeyRequest | None = None
    _renewal: threading.Thread | None = None
    _looked: tuple[float, float] | None = None
    _announced: str = ""
    _told: bool = True

    def run(self) -> None:
        """Keep the lease until `stop` is set."""
        while not self.stop.is_set():
            try:
                wait = self.take_step()
            except Exception as error:  # noqa: BLE001 - the lease ends by the clock all the same; what is left is tried again
                why = error.strerror if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
                log_event("error", f"the lease cannot be kept: {why}")
                wait = _IDLE_SECONDS
            self.stop.wait(wait)

    def take_step(self) -> float:
        """Do what is due and return how many seconds to wait before the next step."""
        before = self.state.lease()
        now = self.state.boot_clock()
        idle, stopped = self._look(before)
        lease = self.state.change_lease(lambda kept: machine.advance(kept, now=now, idle=idle, stopped=stopped))
        if lease.phase is Phase.HELD:
            if self._has_jumped(now) or lease.wants_renewal(now):
                self._begin_renewal()
            return min(_IDLE_SECONDS, max(0.05, lease.ends - now))
        if lease.phase is Phase.NONE:
            return _IDLE_SECONDS
        self._end(lease)
        return _BUSY_SECONDS

    def granted(self, wanted: KeyRequest, terms: Terms, asked: float) -> bool:
        """Note a lease that came with a key; False while an earlier one is still ending: the key must not be used."""
        lease = self.state.change_lease(lambda kept: machine.grant(kept, terms, asked=asked, spread=spread()))
        held = lease.phase is Phase.HELD and lease.terms is terms
        if held:
            self._note(lease, wanted)
        return held

    def resume(self) -> None:
        """Take up the lease of an earlier agent of this pod; without one that still holds, nothing of its stays."""
        found, now = read_record(self.record, boot_id=self.boot_id), self.state.boot_clock()
        if found is None:  # the first agent of this pod, or one whose lease has ended in order
            self.wipe()
            return
        lease, self._wanted = found
        self.state.change_lease(lambda _: lease)
        if lease.holds(now):
            log_event("info", "the lease of the agent before this one is taken up", seconds=round(lease.ends - now))
        else:
            self.abandon(Reason.LEASE_EXPIRED, "the lease of the agent before this one has ended, or cannot be told")

    def abandon(self, reason: Reason, message: str) -> None:
        """End the lease without waiting for requests; does nothing where there is none."""
        now = self.state.boot_clock()
        self.state.change_lease(lambda kept: machine.abandon(kept, reason, message, now=now))

    def _note(self, lease: Lease, wanted: KeyRequest) -> None:
        self._wanted = wanted
        write_record(self.record, lease, wanted, boot_id=self.boot_id)
        self._announced = ""  # last: what has ended meanwhile is noted once more

    def _look(self, lease: Lease) -> tuple[bool, bool]:
        engine = self.engine()
        if lease.phase is Phase.DRAINING:
            return engine is None or not has_callers(engine.port), False
        if lease.phase is Phase.STOPPING:
            return False, engine is None or not is_listening(engine.port)
        return False, False

    def _has_jumped(self, now: float) -> bool:
        """Tell whether the wall clock moved otherwise than ours: a machine that was paused renews at once."""
        wall, before = time.time(), self._looked
        self._looked = (wall, now)
        return before is not None and abs((wall - before[0]) - (now - before[1])) > _JUMP_SECONDS

    def _begin_renewal(self) -> None:
        if self._renewal is not None and self._renewal.is_alive():
            return
        self._renewal = threading.Thread(target=self._renew, name="renewal", daemon=True)
        self._renewal.start()

    def _renew(self) -> None:
        broker, wanted, since = self.broker(), self._wanted, self.state.lease().since
        asked = self.state.boot_clock()
        if broker is None or wanted is None:
            self._postpone("agent.json names no broker")
            return
        try:
            terms = broker.renew(wanted)
        except SekishoError as error:
            if error.retry or error.reason in _PASSING:
                self._postpone(error.message)
            elif self.state.lease().since == since:
                self._refuse(error)
            return
        lease = self.state.change_lease(
            lambda kept: machine.prolong(kept, terms, asked=asked, spread=spread(), since=since)
        )
        if lease.terms is terms:
            self._note(lease, wanted)

    def _postpone(self, trouble: str) -> None:
        failures = self.state.lease().failures
        now, seconds = self.state.boot_clock(), wait_unavailable(failures)
        self.state.change_lease(lambda kept: machine.postpone(kept, trouble, now=now, seconds=seconds))
        log_event("warning", f"the lease could not be renewed: {trouble}", failures=failures + 1)

    def _refuse(self, error: SekishoError) -> None:
        told = convert_refusal(error, who="the broker")
        message = f"the broker does not renew the lease: {told.message}"
        now = self.state.boot_clock()
        self.state.change_lease(lambda kept: machine.revoke(kept, told.reason, message, now=now))

    def _end(self, lease: Lease) -> None:
        """Go on with the end of a lease: each part is done until it is done, and none of it waits for the broker."""
        if self._announced != lease.message:
            end_record(self.record, lease, self._wanted, boot_id=self.boot_id)
        self.halt()  # first: what is still at work might tell the depot that all is well
        self.state.record_weights(lease.reason, lease.message, ready=False)
        if lease.phase is not Phase.DRAINING:
            self.wipe()
        self._announce(lease)
        if lease.phase is Phase.LEAVING:
            self._leave(lease)

    def _announce(self, lease: Lease) -> None:
        if self._announced != lease.message:
            self._announced, self._told = lease.message, False
            log_event("warning", lease.message, reason=lease.reason)
        if not self._told:
            self._told = self.tell(lease.reason, lease.message)

    def _leave(self, lease: Lease) -> None:
        """Prove to the broker that the key is dropped, as well as can be, and be ready for another."""
        for attempt in range(_TOLD_ATTEMPTS):
            broker, wanted = self.broker(), self._wanted
            if broker is None or wanted is None:
                break
            try:
                broker.tell_evicted(wanted)
            except SekishoError as error:
                log_event("warning", f"the broker could not be told of the eviction: {error.message}")
                if not error.retry or self.stop.wait(_TOLD_PAUSE_SECONDS * (attempt + 1)):
                    break
            else:
                log_event("info", "the broker knows that key and weights are dropped", reason=lease.reason)
                break
        self._wanted = None
        self.record.unlink(missing_ok=True)
        now = self.state.boot_clock()
        self.state.change_lease(lambda kept: machine.forget(kept, now=now))
