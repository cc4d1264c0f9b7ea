"""The life of the agent beside the engine: prove, fetch, keep proving; take everything away when proof fails."""

import os
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from sekisho.agent.attesters.collect import Attester
from sekisho.agent.attesters.configfs import TsmReports
from sekisho.agent.attesters.guest import GuestAgent
from sekisho.agent.attesters.node import TOTAL_SECONDS as QUOTE_SECONDS
from sekisho.agent.attesters.node import NodeAttester
from sekisho.agent.attesters.nvidia import NvidiaGpus
from sekisho.agent.broker import CONNECT_SECONDS, Broker, BrokerKeys, Pod
from sekisho.agent.broker import TOTAL_SECONDS as BROKER_SECONDS
from sekisho.agent.config import AgentConfig, EngineConfig, ServerAddress, read_config
from sekisho.agent.fetch import Fetch
from sekisho.agent.journal import log_event
from sekisho.agent.lease import Phase
from sekisho.agent.leasing import LeaseKeeper
from sekisho.agent.probe import find_own_node, probe_canaries
from sekisho.agent.release import TOTAL_SECONDS, KeySource, NoKeys, ReleasedKeys
from sekisho.agent.state import AgentState
from sekisho.agent.transport import DEPOT_SECONDS, ServerAccess, post_proof, post_report
from sekisho.agent.waiting import jitter
from sekisho.agent.weights import wipe_weights
from sekisho.attest.isolation import CANARY_KEY_BYTES, IsolationProof, appraise_isolation, encode_proof
from sekisho.attest.unsealing import REPORTABLE, UnsealReport
from sekisho.errors import Reason, RefusedError, SekishoError, UnavailableError

_FIRST_RETRY_SECONDS: Final = 0.5
_ROUND_SECONDS: Final = 60.0
_MOST_DOUBLINGS: Final = 8


@dataclass(frozen=True, slots=True)
class AgentPaths:
    """Files that the pod mounts for the agent."""

    config: Path = Path("/etc/sekisho/agent.json")
    ca: Path = Path("/etc/sekisho/ca.crt")
    token: Path = Path("/var/run/secrets/sekisho/token")
    release_token: Path = Path("/var/run/secrets/sekisho/release-token")
    attester_token: Path = Path("/var/run/secrets/sekisho/attester-token")
    lease: Path = Path("/tmp/sekisho-lease.json")  # noqa: S108 - the pod's own, and nothing secret


@dataclass(slots=True)
class Agent:
    """One agent.

    Attributes:
        host_ip: Address of the pod's node, from the downward API.
        pod: Name and UID of the pod, from there too.
        attesters: What evidence may come from beside the node's attester, best first.
        stop: Set to end it.
        config: The last configuration that could be read.
    """

    paths: AgentPaths
    state: AgentState
    host_ip: str
    pod: tuple[str, str] = ("", "")
    attesters: tuple[Attester, ...] = (TsmReports(), GuestAgent(), NvidiaGpus())
    stop: threading.Event = field(default_factory=threading.Event)
    config: AgentConfig | None = None
    keeper: LeaseKeeper = field(init=False)
    _failures: int = 0
    _told: str = ""
    _fetch: "Fetch | None" = None
    _changing: threading.Lock = field(default_factory=threading.Lock)
    _keeping: threading.Thread | None = None
    _canary_key: bytes = field(default_factory=lambda: os.urandom(CANARY_KEY_BYTES), repr=False)

    def __post_init__(self) -> None:
        self.keeper = LeaseKeeper(
            self.state, self.broker, self._end_fetch, self._wipe_leased, self._tell_depot, self._engine,
            record=self.paths.lease, stop=self.stop,
        )  # fmt: skip

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
            self._begin_keeping(config)
            self.state.record_proof(max_age_seconds=config.proof_max_age_seconds)
            self._begin_fetch(config)
        except SekishoError as error:
            return self._fail(error)
        except Exception as error:  # noqa: BLE001 - a pod without threads or memory left must still lose its weights
            return self._fail(UnavailableError(Reason.INTERNAL_ERROR, f"the round broke off: {_spell(error)}"))
        self._failures = 0
        self._tell("info", Reason.ISOLATION_PROVEN, "isolation is proven")
        return jitter(config.proof_interval_seconds)

    def _fail(self, error: SekishoError) -> float:
        # A leak, a refusal or a broken configuration ends isolation now; a depot out of reach ends it by age.
        self.state.record_failure(error.reason, error.message, final=not error.retry)
        self._tell("warning", error.reason, error.message)
        self._failures += 1
        self._enforce()
        interval = self.config.proof_interval_seconds if self.config else 20.0
        return min(interval, jitter(_FIRST_RETRY_SECONDS * 2 ** min(self._failures - 1, _MOST_DOUBLINGS)))

    def _prove(self, config: AgentConfig) -> None:
        started_at = time.time()
        results = probe_canaries(config.canaries, own_node=find_own_node(self.host_ip), key=self._canary_key)
        proof = IsolationProof(at=started_at, results=results)
        verdict = appraise_isolation(proof, config.canaries, now_at=time.time(), max_age_seconds=_ROUND_SECONDS)
        if verdict.ok:
            self.state.keep_proof(encode_proof(proof))
        try:
            post_proof(self._access(config.depot), replace(proof, canary_key=self._canary_key))
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
        if self.state.weights().ok and self._wipe():
            log_event("warning", "weights are removed: isolation is no longer proven")
        self._end_fetch()  # it may sit in a read until that times out, and leave a last file behind
        self._wipe()
        isolation = self.state.isolation()
        self.keeper.abandon(isolation.reason, f"the lease ends with the proof of isolation: {isolation.message}")
        self.state.record_weights(Reason.ISOLATION_NOT_PROVEN, "weights wait for a proof of isolation", ready=False)

    def _wipe(self) -> bool:
        """Wipe the volume, and tell whether the weights in it are ours to wipe."""
        if self.config is None or self.config.weights.mode == "mounted":
            return False
        if self._fetch is not None:
            self._fetch.end()
        wipe_weights(Path(self.config.weights.path))
        return True

    def _begin_fetch(self, config: AgentConfig) -> None:
        if config.weights.mode == "mounted":
            self.state.record_weights(
                Reason.WEIGHTS_MOUNTED, f"weights are mounted at {config.weights.path}", ready=True
            )
            return
        if self.state.weights().ok or self.state.lease().phase not in (Phase.NONE, Phase.HELD):
            return
        keys = self._keys(config)
        if self._fetch is not None and (self._fetch.weights, self._fetch.keys) != (config.weights, keys):
            self._end_fetch()  # what it tries to bring, or by whose key, is no longer what is wanted
        with self._changing:
            if self._fetch is None or not self._fetch.thread.is_alive():
                self._fetch = Fetch(self._access(config.depot), config.weights, self.state, keys=keys)
                self._fetch.thread.start()

    def _keys(self, config: AgentConfig) -> KeySource:
        if config.release is None:
            return NoKeys()
        if (broker := self.broker()) is not None:
            return BrokerKeys(broker, self.keeper.granted)
        return ReleasedKeys(
            ServerAccess(
                config.release.address,
                token_file=self.paths.release_token,
                ca_file=self.paths.ca,
                what="release of keys",
                unreachable=Reason.KMS_UNAVAILABLE,
                total_seconds=TOTAL_SECONDS,
            )
        )

    def broker(self) -> Broker | None:
        """Return how the broker is asked by the last configuration that could be read; None where it names none."""
        config, paths = self.config, self.paths
        if config is None or config.release is None or config.release.protocol != "broker":
            return None
        access = ServerAccess(
            config.release.address, token_file=paths.release_token, ca_file=paths.ca, what="broker",
            unreachable=Reason.BROKER_UNAVAILABLE, total_seconds=BROKER_SECONDS, connect_seconds=CONNECT_SECONDS,
        )  # fmt: skip
        attesters = self.attesters
        if config.attester is not None:
            quotes = ServerAccess(
                config.attester, token_file=paths.attester_token, ca_file=paths.ca, what="attester of the node",
                unreachable=Reason.EVIDENCE_MISSING, total_seconds=QUOTE_SECONDS,
            )  # fmt: skip
            attesters = (*attesters, NodeAttester(quotes, 64), NodeAttester(quotes, 32))
        return Broker(access, Pod(config.namespace, *self.pod), attesters, self.state.proof, self.state.boot_clock)

    def _begin_keeping(self, config: AgentConfig) -> None:
        """Begin to keep a lease where the weights need one; what an earlier agent left is judged first."""
        self.state.leased = config.leased
        if config.leased and self._keeping is None:
            self.keeper.resume()
            keeping = threading.Thread(target=self.keeper.run, name="lease", daemon=True)
            keeping.start()
            self._keeping = keeping  # not before: where no thread can be had, it is tried again

    def _wipe_leased(self) -> None:
        self._wipe()

    def _engine(self) -> EngineConfig | None:
        return self.config.engine if self.config else None

    def _tell_depot(self, reason: Reason, message: str) -> bool:
        """Tell the depot why the pod serves no longer; of isolation it knows itself."""
        if self.config is None or reason not in REPORTABLE:
            return True
        try:
            post_report(self._access(self.config.depot), UnsealReport(reason, message, ready=False))
        except SekishoError as error:
            log_event("warning", f"the depot could not be told: {error.message}", reason=error.reason)
            return False
        return True

    def _end_fetch(self) -> None:
        with self._changing:
            if self._fetch is not None:
                self._fetch.end()
                self._fetch.thread.join()
                self._fetch = None

    def _access(self, address: ServerAddress) -> ServerAccess:
        return ServerAccess(
            address, token_file=self.paths.token, ca_file=self.paths.ca, total_seconds=DEPOT_SECONDS
        )  # fmt: skip

    def _tell(self, level: str, reason: Reason, message: str) -> None:
        if self._told != f"{reason}{message}":
            self._told = f"{reason}{message}"
            log_event(level, message, reason=reason)


def _spell(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:256]
