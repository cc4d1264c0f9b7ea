"""Proofs as they come in: appraised, remembered, and published as the condition sekisho.dev/isolated of each pod."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from sekisho.api.names import ISOLATED_POD_CONDITION, WEIGHTS_POD_CONDITION
from sekisho.api.times import parse_time_or_zero
from sekisho.attest.isolation import (
    ExpectedCanary,
    IsolationProof,
    Verdict,
    appraise_isolation,
    parse_canaries,
)
from sekisho.depot.canary import CanaryListener
from sekisho.depot.cluster import Cluster
from sekisho.errors import Reason, RefusedError, SekishoError
from sekisho.kube.conditions import PodCondition
from sekisho.kube.pods import PodFacts

_LOG: Final = logging.getLogger(__name__)
_REFRESH_SECONDS: Final = 60.0
_PAUSE_SECONDS: Final = 10.0
# The kubelet brings a changed ConfigMap into running pods up to a minute or two late; until then their agents try the
# canaries of before, for instance the address of a depot that has just moved.
_LAG_SECONDS: Final = 150.0
_CONFIG_SECONDS: Final = 5.0
_FORGET_SECONDS: Final = 900.0
_MAX_CONFIGS: Final = 20_000
_BEFORE_START_SECONDS: Final = 5.0


@dataclass(slots=True)
class _Session:
    """What is known of one pod's isolation.

    Attributes:
        last_at: Unix seconds of the last proof that held, told to this very process.
        adopted_at: When the pod was taken over from a depot before us; counts against silence, not as a proof.
        verdict: What its condition says, as we last wrote it; None before.
        since_at: When the condition's status last changed.
        written_at: When it was last written.
        incomplete_since: When a pod that was proven first sent a proof that misses something; 0 while none does.
        hits_after: Visits at the canary before this second have been told.
    """

    pod: PodFacts
    last_at: float = 0.0
    adopted_at: float = 0.0
    verdict: Verdict | None = None
    since_at: float = 0.0
    written_at: float = 0.0
    incomplete_since: float = 0.0
    hits_after: float = 0.0


@dataclass(slots=True)
class ProofBook:
    """Every pod that ever proved, or failed to, since this depot started.

    Attributes:
        clock: Unix seconds.
        max_age_seconds: How old the last good proof may be.
        node: The node whose pods prove to this depot; empty where all do.
    """

    cluster: Cluster
    canary: CanaryListener
    max_age_seconds: float
    clock: Callable[[], float] = time.time
    node: str = ""
    _sessions: dict[str, _Session] = field(default_factory=dict)
    _configs: dict[tuple[str, str], tuple[float, dict[str, Any]]] = field(default_factory=dict)

    async def adopt(self) -> int:
        """Take over pods whose condition says that they are isolated, so that a silent one is noticed after a restart.

        Returns:
            How many were taken over.
        """
        now = self.clock()
        for pod in await self.cluster.list_pods(node=self.node):
            if _is_called_isolated(pod):
                session = self._sessions.setdefault(pod.uid, _resume(pod, now))
                session.adopted_at = now
        return len(self._sessions)

    async def adopt_silent(self) -> int:
        """Take over pods of any node of which their own depot has told nothing for too long: it may be gone.

        The next sweep asks for each once more before it says so.

        Returns:
            How many were taken over.
        """
        now, found = self.clock(), 0
        for pod in await self.cluster.list_pods():
            told_at = parse_time_or_zero((pod.conditions.get(ISOLATED_POD_CONDITION) or {}).get("lastProbeTime"))
            if pod.uid in self._sessions or not _is_called_isolated(pod) or now - told_at <= self._quiet_seconds:
                continue
            session = self._sessions[pod.uid] = _resume(pod, now)
            session.adopted_at = told_at
            found += 1
        return found

    @property
    def _quiet_seconds(self) -> float:
        # A condition that still holds is written anew about once a minute.
        return self.max_age_seconds + 2 * _REFRESH_SECONDS

    async def submit(self, pod: PodFacts, proof: IsolationProof) -> Verdict:
        """Appraise a proof and publish the outcome.

        Raises:
            UnavailableError: The API server could not be told or asked; nothing was concluded.
        """
        now = self.clock()
        session = self._sessions.get(pod.uid) or _resume(pod, now)
        session.pod = pod
        self.canary.know(pod.addresses, proof.canary_key)
        try:
            config = await self._read_config(pod)
            verdict = self._appraise(session, config, proof, now=now)
        except RefusedError as error:
            config, verdict = {}, Verdict(ok=False, reason=Reason.ISOLATION_PROOF_INCOMPLETE, message=error.message)
        if self._lags(session, verdict, now=now):
            self._sessions[pod.uid] = session
            return verdict
        mounted = verdict.ok and (config.get("weights") or {}).get("mode") == "mounted"
        await self._publish(session, verdict, now=now, mounted=mounted)
        if verdict.ok:
            session.last_at = now
        self._sessions[pod.uid] = session
        return verdict

    def _lags(self, session: _Session, verdict: Verdict, *, now: float) -> bool:
        """Tell whether an incomplete proof of a proven pod is to be passed over for now: refused, but not published."""
        if verdict.reason is not Reason.ISOLATION_PROOF_INCOMPLETE or session.verdict is None or not session.verdict.ok:
            session.incomplete_since = 0.0
            return False
        session.incomplete_since = session.incomplete_since or now
        session.adopted_at = now
        return now - session.incomplete_since <= _LAG_SECONDS

    def require_fresh(self, pod: PodFacts) -> None:
        """Let a pod pass that proved its isolation lately.

        Raises:
            RefusedError: IsolationNotProven.
        """
        session = self._sessions.get(pod.uid)
        if session is None or session.verdict is None:
            raise RefusedError(Reason.ISOLATION_NOT_PROVEN, "this pod has not proven its isolation yet")
        if not session.verdict.ok:
            raise RefusedError(Reason.ISOLATION_NOT_PROVEN, f"isolation is not proven: {session.verdict.message}")
        age = self.clock() - session.last_at
        if age > self.max_age_seconds:
            raise RefusedError(
                Reason.ISOLATION_NOT_PROVEN, f"the last proof is {age:.0f} s old, {self.max_age_seconds:.0f} s allowed"
            )

    def live_pods(self) -> frozenset[str]:
        """Return the uids of pods that proved lately; what they were given is in use."""
        oldest = self.clock() - self.max_age_seconds
        return frozenset(uid for uid, session in self._sessions.items() if session.last_at >= oldest)

    async def sweep(self) -> int:
        """Set the condition of every pod whose proofs stopped to False, and forget pods that are gone.

        Returns:
            How many pods were called stale.
        """
        now, stale = self.clock(), 0
        for uid, session in list(self._sessions.items()):
            silence = now - max(session.last_at, session.adopted_at)
            holds = session.verdict is not None and session.verdict.ok
            forget = not holds and now - max(session.written_at, session.adopted_at) > _FORGET_SECONDS
            if forget or (holds and silence > self.max_age_seconds):
                try:
                    stale += await self._retire(uid, session, now=now)
                except SekishoError as error:
                    _LOG.warning(
                        "a silent pod could not be marked", extra={"reason": error.reason, "pod": session.pod.name}
                    )
        return stale

    async def _retire(self, uid: str, session: _Session, *, now: float) -> int:
        pod = await self.cluster.read_pod(session.pod.namespace, session.pod.name)
        if pod is None or pod.uid != uid or pod.ended:
            del self._sessions[uid]
            return 0
        session.pod = pod
        if session.verdict is None or not session.verdict.ok:
            session.adopted_at = now
            return 0
        # Another replica may have heard of the pod since.
        probed_at = parse_time_or_zero((pod.conditions.get(ISOLATED_POD_CONDITION) or {}).get("lastProbeTime"))
        if probed_at > session.written_at + 1 and now - probed_at <= self.max_age_seconds:
            session.adopted_at = probed_at
            return 0
        silence = now - max(session.last_at, session.adopted_at)
        message = (
            f"no proof of isolation for {silence:.0f} s, {self.max_age_seconds:.0f} s allowed: "
            "the agent stopped or cannot reach the depot"
        )
        await self._publish(session, Verdict(ok=False, reason=Reason.ISOLATION_PROOF_STALE, message=message), now=now)
        return 1

    def _appraise(self, session: _Session, config: dict[str, Any], proof: IsolationProof, *, now: float) -> Verdict:
        hit = self.canary.last_seen(session.pod.addresses, after=session.hits_after)
        if hit is not None:
            session.hits_after = now
            return Verdict(
                ok=False,
                reason=Reason.ISOLATION_LEAK,
                message=f"the depot's own canary was reached from {hit[0]} {now - hit[1]:.0f} s ago; find what lets "
                "packets of the pod pass, or who sends them in its name",
            )
        expected = read_expected(config, session.pod)
        return appraise_isolation(proof, expected, now_at=now, max_age_seconds=self.max_age_seconds)

    async def _publish(self, session: _Session, verdict: Verdict, *, now: float, mounted: bool = False) -> None:
        old = session.verdict
        changed = old is None or (old.ok, old.reason) != (verdict.ok, verdict.reason)
        told = not changed and (verdict.ok or (old is not None and old.message == verdict.message))
        pause = _REFRESH_SECONDS if told else _PAUSE_SECONDS
        if not changed and now - session.written_at < pause:
            session.verdict = verdict
            return
        since = now if old is None or old.ok != verdict.ok else session.since_at
        conditions = [PodCondition(ISOLATED_POD_CONDITION, verdict.ok, verdict.reason, verdict.message, since, now)]
        if mounted:
            message = "weights are mounted from a claim"
            conditions.append(
                PodCondition(WEIGHTS_POD_CONDITION, True, Reason.WEIGHTS_MOUNTED, message, session.pod.started_at, now)
            )
        await self.cluster.write_conditions(session.pod, conditions)
        if changed:
            facts = {"namespace": session.pod.namespace, "pod": session.pod.name, "reason": verdict.reason}
            _LOG.log(logging.INFO if verdict.ok else logging.WARNING, verdict.message, extra=facts)
        session.verdict, session.since_at, session.written_at = verdict, since, now

    async def unseals(self, pod: PodFacts) -> bool:
        """Tell whether the controller wrote that the pod unseals its weights."""
        return ((await self._read_config(pod)).get("weights") or {}).get("mode") == "sealed"

    async def _read_config(self, pod: PodFacts) -> dict[str, Any]:
        key, now = (pod.namespace, pod.service), self.clock()
        kept = self._configs.get(key)
        if kept is None or now - kept[0] > _CONFIG_SECONDS:
            kept = (now, dict(await self.cluster.read_agent_config(*key)))
            if len(self._configs) >= _MAX_CONFIGS:
                self._configs.clear()
            self._configs[key] = kept
        return kept[1]


def _is_called_isolated(pod: PodFacts) -> bool:
    return (pod.conditions.get(ISOLATED_POD_CONDITION) or {}).get("status") == "True" and not pod.ended


def read_expected(config: dict[str, Any], pod: PodFacts) -> tuple[ExpectedCanary, ...]:
    """Return the canaries a proof of `pod` must speak of: the controller's list, not the agent's."""
    return parse_canaries(config.get("canaries"), host_ip=pod.host_ip)


def _resume(pod: PodFacts, now: float) -> _Session:
    """Begin a session with what the pod's condition already says, so that nothing is written twice."""
    session = _Session(pod, hits_after=pod.started_at - _BEFORE_START_SECONDS)
    condition = pod.conditions.get(ISOLATED_POD_CONDITION)
    if condition is None or condition.get("status") not in {"True", "False"}:
        return session
    try:
        reason = Reason(str(condition.get("reason")))
    except ValueError:
        return session
    ok = condition["status"] == "True"
    session.verdict = Verdict(ok=ok, reason=reason, message=str(condition.get("message", "")))
    session.since_at = parse_time_or_zero(condition.get("lastTransitionTime"))
    session.written_at = min(now, parse_time_or_zero(condition.get("lastProbeTime")))
    return session
