"""The life of the agent beside the engine: prove, fetch, keep proving; take everything away when proof fails."""

import random
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sekisho.agent.config import AgentConfig, DepotAddress, read_config
from sekisho.agent.journal import log_event
from sekisho.agent.probe import find_own_node, probe_canaries
from sekisho.agent.state import AgentState
from sekisho.agent.transport import DepotAccess, ask_weights, post_proof
from sekisho.agent.weights import bring_weights, parse_weight_list, wipe_weights
from sekisho.attest.isolation import IsolationProof, appraise_isolation
from sekisho.errors import Reason, RefusedError, SekishoError, UnavailableError

_FIRST_RETRY_SECONDS: Final = 0.5
_POLL_SECONDS: Final = 1.0
_ROUND_SECONDS: Final = 60.0
_MOST_DOUBLINGS: Final = 8


@dataclass(frozen=True, slots=True)
class AgentPaths:
    """Files that the pod mounts for the agent."""

    config: Path = Path("/etc/sekisho/agent.json")
    ca: Path = Path("/etc/sekisho/ca.crt")
    token: Path = Path("/var/run/secrets/sekisho/token")


@dataclass(slots=True)
class Agent:
    """One agent.

    Attributes:
        host_ip: Address of the pod's node, from the downward API.
        stop: Set to end it.
        config: The last configuration that could be read.
    """

    paths: AgentPaths
    state: AgentState
    host_ip: str
    stop: threading.Event = field(default_factory=threading.Event)
    config: AgentConfig | None = None
    _failures: int = 0
    _told: str = ""
    _fetch: "Fetch | None" = None

    def run(self) -> None:
        """Prove again and again until `stop` is set."""
        while not self.stop.is_set():
            self.stop.wait(self.take_step())
        self._end_fetch()

    def take_step(self) -> float:
        """Prove once, act on the outcome, and return how many seconds to wait before the next step."""
        try:
            config = self.config = read_config(self.paths.config, host_ip=self.host_ip)
            self._prove(config)
        except SekishoError as error:
            return self._fail(error)
        self._failures = 0
        self.state.record_proof(max_age_seconds=config.proof_max_age_seconds)
        self._tell("info", Reason.ISOLATION_PROVEN, "isolation is proven")
        self._begin_fetch(config)
        return _jitter(config.proof_interval_seconds)

    def _fail(self, error: SekishoError) -> float:
        # A leak, a refusal or a broken configuration ends isolation now; a depot out of reach ends it by age.
        self.state.record_failure(error.reason, error.message, final=not error.retry)
        self._tell("warning", error.reason, error.message)
        self._failures += 1
        self._enforce()
        interval = self.config.proof_interval_seconds if self.config else 20.0
        return min(interval, _jitter(_FIRST_RETRY_SECONDS * 2 ** min(self._failures - 1, _MOST_DOUBLINGS)))

    def _prove(self, config: AgentConfig) -> None:
        started_at = time.time()
        results = probe_canaries(config.canaries, own_node=find_own_node(self.host_ip))
        proof = IsolationProof(at=started_at, results=results)
        verdict = appraise_isolation(proof, config.canaries, now_at=time.time(), max_age_seconds=_ROUND_SECONDS)
        try:
            post_proof(self._access(config.depot), proof)
        except SekishoError as error:
            if verdict.ok and (error.retry or error.reason is Reason.ISOLATION_PROOF_INCOMPLETE):
                # Incomplete by the depot's word but clean by our own list: the list here may be a minute behind.
                self.state.renew_proof()
                raise UnavailableError(error.reason, error.message) from error
            if verdict.ok or verdict.reason is not Reason.ISOLATION_LEAK:
                raise
        if not verdict.ok:  # whatever the depot says, and even if it cannot be asked
            raise RefusedError(verdict.reason, verdict.message)

    def _enforce(self) -> None:
        """Take the weights away once isolation no longer holds, so that a restarted engine has nothing to serve."""
        if self.state.isolation().ok:
            return
        self._end_fetch()
        if self.config is not None and self.config.weights.mode == "depot":
            if self.state.weights().ok:
                log_event("warning", "weights are removed: isolation is no longer proven")
            wipe_weights(Path(self.config.weights.path))
        self.state.record_weights(Reason.ISOLATION_NOT_PROVEN, "weights wait for a proof of isolation", ready=False)

    def _begin_fetch(self, config: AgentConfig) -> None:
        if config.weights.mode == "mounted":
            self.state.record_weights(
                Reason.WEIGHTS_MOUNTED, f"weights are mounted at {config.weights.path}", ready=True
            )
        elif not self.state.weights().ok and (self._fetch is None or not self._fetch.thread.is_alive()):
            self._fetch = Fetch(self._access(config.depot), Path(config.weights.path), self.state)
            self._fetch.thread.start()

    def _end_fetch(self) -> None:
        if self._fetch is not None:
            self._fetch.stop.set()
            self._fetch.thread.join()
            self._fetch = None

    def _access(self, address: DepotAddress) -> DepotAccess:
        return DepotAccess(address, token_file=self.paths.token, ca_file=self.paths.ca)

    def _tell(self, level: str, reason: Reason, message: str) -> None:
        if self._told != f"{reason}{message}":
            self._told = f"{reason}{message}"
            log_event(level, message, reason=reason)


@dataclass(slots=True)
class Fetch:
    """One fetch of the weights, in a thread of its own so that proofs go on meanwhile."""

    access: DepotAccess
    root: Path
    state: AgentState
    stop: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread = field(init=False)
    _done_bytes: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._run, name="fetch", daemon=True)

    def _run(self) -> None:
        failures = 0
        while not self.stop.is_set():
            try:
                if self._try_once():
                    return
                wait = _POLL_SECONDS
            except SekishoError as error:
                self.state.record_weights(error.reason, error.message, ready=False)
                log_event("warning", error.message, reason=error.reason)
                wait = _jitter(min(30.0, _POLL_SECONDS * 2 ** min(failures, _MOST_DOUBLINGS)))
                failures += 1
            except OSError as error:
                self.state.record_weights(
                    Reason.SIZE_EXCEEDED, f"weights cannot be written to the volume: {error.strerror}", ready=False
                )
                wait = 5.0
            self.stop.wait(wait)

    def _try_once(self) -> bool:
        answer = ask_weights(self.access)
        if answer.status == 202:
            message = str(answer.body.get("message", "the depot is fetching the weights"))[:512]
            self.state.record_weights(Reason.FETCHING, message, ready=False)
            return False
        wanted = parse_weight_list(answer.body)
        self._done_bytes = 0
        started = time.monotonic()
        bring_weights(
            self.access, wanted, root=self.root, stop=self.stop, progress=lambda n: self._note(n, wanted.total_bytes)
        )
        took = time.monotonic() - started
        self.state.record_weights(
            Reason.WEIGHTS_AVAILABLE, f"{len(wanted.files)} files, {wanted.total_bytes} bytes, verified", ready=True
        )
        log_event(
            "info", "weights are complete", bytes=wanted.total_bytes, digest=wanted.digest, seconds=round(took, 3)
        )
        return True

    def _note(self, added: int, total: int) -> None:
        with self._lock:
            self._done_bytes += added
            message = f"{self._done_bytes >> 20} of {total >> 20} MiB are in the pod"
        self.state.record_weights(Reason.FETCHING, message, ready=False)


def _jitter(seconds: float) -> float:
    return seconds * random.uniform(0.8, 1.0)  # noqa: S311 - spreads load, protects nothing
