"""The fetch of the weights, beside the loop: asked for again until they are there, and told to the depot if sealed."""

import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from sekisho.agent.artifact import Artifact
from sekisho.agent.config import HandoverConfig, SealedConfig, WeightsConfig
from sekisho.agent.desk import KeyDesk
from sekisho.agent.journal import log_event
from sekisho.agent.release import KeySource
from sekisho.agent.state import AgentState
from sekisho.agent.transport import Connections, ServerAccess, ask_weights, post_report
from sekisho.agent.unseal import Order, unseal_model
from sekisho.agent.waiting import Failures, is_lasting, wait_refused, wait_unavailable
from sekisho.agent.weights import WeightList, bring_weights, parse_weight_list
from sekisho.attest.unsealing import REPORTABLE, UnsealReport
from sekisho.errors import Reason, SekishoError
from sekisho.loader.handover import stays_sealed
from sekisho.seal.openssl import describe_openssl, warn_of_openssl

_POLL_SECONDS: Final = 1.0
_VOLUME_SECONDS: Final = 5.0
_TELL_SECONDS: Final = 5.0
_RENEW_SECONDS: Final = 60.0
_RETOLD_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 0.5


@dataclass(slots=True)
class Fetch:
    """One fetch of the weights, in a thread of its own so that proofs go on meanwhile.

    Attributes:
        keys: Who releases the data key; asked for sealed weights only.
    """

    access: ServerAccess
    weights: WeightsConfig
    state: AgentState
    keys: KeySource
    stop: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread = field(init=False)
    _done_bytes: int = 0
    _told_at: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _look: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.access = replace(self.access, connections=Connections())
        self.thread = threading.Thread(target=self._run, name="fetch", daemon=True)

    def end(self) -> None:
        """End it soon, whatever it waits for at the depot; the thread lives on for a moment."""
        self.stop.set()
        if self.access.connections is not None:
            self.access.connections.end()

    def _run(self) -> None:
        if self.weights.sealed is not None:
            _tell_openssl()
        failures = Failures()
        while not self.stop.is_set():
            try:
                if self._try_once():
                    return
                wait = _POLL_SECONDS
            except SekishoError as error:
                wait = self._fail(error, failures)
            except OSError as error:
                message = f"weights cannot be written to the volume: {error.strerror}"
                self.state.record_weights(Reason.SIZE_EXCEEDED, message, ready=False)
                self._report(Reason.SIZE_EXCEEDED, message)
                wait = _VOLUME_SECONDS
            self.stop.wait(wait)

    def _fail(self, error: SekishoError, failures: Failures) -> float:
        """Note a failure and return how long to wait: long where only a person can help with sealed weights."""
        # Else the depot does not answer, or refuses to be asked before the next proof.
        reportable = self.weights.sealed is not None and error.reason in REPORTABLE
        failures.note(refused=reportable and is_lasting(error))
        self.state.record_weights(error.reason, error.message, ready=False)
        log_event("warning", error.message, reason=error.reason)
        if reportable and not self.stop.is_set():
            self._report(error.reason, error.message)
        return wait_refused(failures.before) if failures.refused else wait_unavailable(failures.before)

    def _try_once(self) -> bool:
        answer = ask_weights(self.access)
        if answer.status == 202:
            message = str(answer.body.get("message", "the depot is fetching the weights"))[:512]
            self.state.record_weights(Reason.FETCHING, message, ready=False)
            return False
        self._done_bytes = 0
        if self.weights.sealed is None:
            self._bring(answer.body)
        else:
            self._unseal(answer.body, self.weights.sealed)
        return True

    def _bring(self, body: dict[str, Any]) -> None:
        wanted = parse_weight_list(body)
        started = time.monotonic()
        bring_weights(
            self.access,
            wanted,
            root=Path(self.weights.path),
            stop=self.stop,
            progress=lambda n: self._note(n, wanted.total_bytes, "are in the pod"),
        )
        message = f"{len(wanted.files)} files, {wanted.total_bytes} bytes, verified"
        self._conclude(message, size=wanted.total_bytes, digest=wanted.digest, started=started)

    def _unseal(self, body: dict[str, Any], told: SealedConfig) -> None:
        listing = parse_weight_list(body)
        started = time.monotonic()
        handover = self.weights.handover

        def note(added: int) -> None:
            if added:  # an old failure stands until bytes flow, so that conditions do not flicker
                self._note(added, listing.total_bytes, "are unsealed" if handover is None else "are in the pod")
                self._tell_progress()

        order = Order(self.access, self.keys, told, Path(self.weights.path), self.stop, note)
        if handover is not None:
            self._hand_over(replace(order, stays_sealed=stays_sealed), listing, handover, started)
            return
        manifest = unseal_model(order, listing).manifest
        size = sum(file.size for file in manifest.files)
        message = f"{len(manifest.files)} files, {size} bytes, unsealed in memory: {told.model} version {told.version}"
        self._conclude(message, size=size, digest=told.manifest_digest, started=started)
        self._keep_told(message)

    def _hand_over(self, order: Order, listing: WeightList, handover: HandoverConfig, started: float) -> None:
        """Unseal what lies beside the weights, bring the ciphertext, and hand over keys for as long as this runs."""
        artifact = unseal_model(order, listing)
        desk = KeyDesk(self.keys, artifact, Path(handover.socket), changed=self._look.set)
        desk.check()
        place = Path(handover.ciphertext)
        bring_weights(self.access, listing, root=place, stop=self.stop, progress=order.progress)
        message = _describe(artifact)
        desk.open()
        try:
            self._conclude(message, size=listing.total_bytes, digest=order.told.manifest_digest, started=started)
            self._keep_told(message, desk=desk)
        finally:
            desk.stop()

    def _conclude(self, message: str, *, size: int, digest: str, started: float) -> None:
        took = time.monotonic() - started
        self.state.record_weights(Reason.WEIGHTS_AVAILABLE, message, ready=True)
        log_event("info", "weights are complete", bytes=size, digest=digest, seconds=round(took, 3))

    def _keep_told(self, message: str, *, desk: KeyDesk | None = None) -> None:
        """Tell the depot until it knows, and again now and then: it may have lost, or taken back, what it knew.

        While an engine waits for keys that it does not get, that is what is told.
        """
        while not self.stop.is_set():
            trouble = desk.trouble if desk is not None else None
            if trouble is not None and trouble.reason in REPORTABLE:
                known = self._report(trouble.reason, trouble.message)
            else:
                known = self._report(Reason.WEIGHTS_AVAILABLE, message)
            self._rest(_RENEW_SECONDS if known else _RETOLD_SECONDS)

    def _rest(self, seconds: float) -> None:
        """Wait until it is time, this is to stop, or the desk has news."""
        until = time.monotonic() + seconds
        while not self._look.is_set() and time.monotonic() < until and not self.stop.wait(_LOOK_SECONDS):
            pass
        self._look.clear()

    def _note(self, added: int, total: int, what: str) -> None:
        with self._lock:
            self._done_bytes += added
            message = f"{self._done_bytes >> 20} of {total >> 20} MiB {what}"
        self.state.record_weights(Reason.FETCHING, message, ready=False)

    def _tell_progress(self) -> None:
        with self._lock:
            now = time.monotonic()
            if now - self._told_at < _TELL_SECONDS:
                return
            self._told_at = now
        self._report(Reason.FETCHING, self.state.weights().message)

    def _report(self, reason: Reason, message: str) -> bool:
        """Tell the depot, which writes the pod's condition; what cannot be told is told later."""
        if self.weights.sealed is None:
            return True
        try:
            post_report(self.access, UnsealReport(reason, message, ready=reason is Reason.WEIGHTS_AVAILABLE))
        except SekishoError as error:
            log_event("warning", f"the depot could not be told: {error.message}", reason=error.reason)
            return False
        return True


def _describe(artifact: Artifact) -> str:
    model, files = artifact.manifest.model, artifact.manifest.files
    sealed = [file for file in files if stays_sealed(file.path)]
    return (
        f"{len(files)} files, {len(sealed)} of them sealed until the engine opens them, "
        f"{sum(file.size for file in sealed)} bytes: {model.name} version {model.version}"
    )


def _tell_openssl() -> None:
    """Log which OpenSSL unseals: that of a distribution is several times slower than the wheel's."""
    found = describe_openssl()
    slow = warn_of_openssl(found)
    log_event("warning" if slow else "info", slow or f"unsealing by {found.version}")
