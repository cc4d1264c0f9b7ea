"""The way of one release: challenge, evidence, decision, record, unwrapping, sealed answer. The order is the rule.

What fails on the way releases nothing. Leases need no memory: a renewal is the whole decision again, over fresh
evidence and the grants of now, on whichever replica; only the key service is asked less.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol, TypeVar

from sekisho.attest.binding import Binding, digest_bytes
from sekisho.attest.claims import Claims
from sekisho.attest.evidence import KINDS
from sekisho.attest.isolation import Verdict, appraise_isolation, parse_proof
from sekisho.broker.announcing import Announcer
from sekisho.broker.challenges import Challenge, ChallengeBook
from sekisho.broker.cluster import Cluster, Node, Surroundings
from sekisho.broker.conditions import Grant, tell_grant, tell_refusal
from sekisho.broker.decide import Decision, ReleaseFacts, ReleaseRules, policy_digest, wanted_evidence
from sekisho.broker.describing import decide_on_record, describe_asker, describe_decision, describe_evidence
from sekisho.broker.gathering import read_question, read_workload
from sekisho.broker.keys import Keys
from sekisho.broker.sealing import seal_key
from sekisho.broker.telling import is_final, tell
from sekisho.broker.verifying import Verifier, check_bound
from sekisho.broker.wire import EVICTED, RELEASE, RENEW, Ask, Lease, Proof, Question, encode_lease, spell_time
from sekisho.broker.wire import encode_bytes as spell
from sekisho.errors import Reason, RefusedError, SekishoError
from sekisho.kube.bearer import RateLimit
from sekisho.kube.pods import PodFacts

_LOG: Final = logging.getLogger(__name__)
_MOST_DETAIL: Final = 1024
_REFUSALS_PER_SECOND: Final = 1 / 30
_REFUSALS_AT_ONCE: Final = 10
Body = dict[str, Any]
SealedT = TypeVar("SealedT")


class Record(Protocol):
    """Where decisions are recorded."""

    async def append(self, entry: Mapping[str, Any]) -> object:
        """Return once the entry is on disk.

        Raises:
            UnavailableError: RecordUnavailable; what the entry speaks of must not happen.
        """
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """What the broker works with.

    Attributes:
        rules: All that people wrote which decides now; raises UnavailableError where that is not known well enough.
        now: UTC.
        proof_max_age_seconds: How old a proof of isolation may be.
    """

    cluster: Cluster
    rules: Callable[[], ReleaseRules]
    challenges: ChallengeBook
    verifier: Verifier
    keys: Keys
    record: Record
    announcer: Announcer
    now: Callable[[], datetime]
    proof_max_age_seconds: float = 90.0


@dataclass(frozen=True, slots=True)
class _Settled:
    """A decision, what it was made on, and until when it holds."""

    decision: Decision
    facts: ReleaseFacts
    lease: Lease


class Broker:
    """Releases keys to pods that were identified before; knows nothing of HTTP."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._endings: set[asyncio.Task[None]] = set()
        self._refusals = RateLimit(per_second=_REFUSALS_PER_SECOND, burst=_REFUSALS_AT_ONCE, reason=Reason.OVERLOADED)

    @property
    def parts(self) -> Parts:
        """What it works with; another face of the same broker works with the same."""
        return self._parts

    async def settle(self) -> None:
        """Wait until all that goes on beside the requests is recorded and told."""
        while self._endings:
            await asyncio.wait(set(self._endings))
        await self._parts.announcer.settle()

    async def challenge(self, pod: PodFacts, ask: Ask) -> Body:
        """Make a challenge for one pod and question, and say which evidence could help.

        Raises:
            RefusedError: ReleaseNotGranted; no evidence could.
            UnavailableError: Too many challenges are open, or grants are not known well enough.
        """
        parts = self._parts
        rules, site = parts.rules(), await parts.cluster.read_site(pod)
        wanted = wanted_evidence(rules, namespace=pod.namespace, service=pod.service, site=site)
        if not wanted and ask.purpose != EVICTED:
            error = RefusedError(
                Reason.RELEASE_NOT_GRANTED,
                f"no KeyReleasePolicy and EvidencePolicy ask for evidence of {pod.namespace}/{pod.service} at site "
                f"{site}, so none can help",
            )
            self._announce_refusal(pod, error)
            raise error
        now = parts.now()
        challenge = parts.challenges.issue(
            purpose=ask.purpose, pod_uid=pod.uid, question_digest=ask.question.digest, now=now,
            policy_digest=policy_digest(rules, namespace=pod.namespace, service=pod.service),
        )  # fmt: skip
        return {
            "challenge": challenge.id,
            "nonce": spell(challenge.nonce),
            "expiresAt": spell_time(now + timedelta(seconds=challenge.seconds)),
            "policyDigest": challenge.policy_digest,
            "evidence": list(wanted or KINDS),
        }

    async def release(self, pod: PodFacts, proof: Proof) -> Body:
        """Release a data key, encrypted to the key that the evidence commits to.

        Raises:
            SekishoError: Nothing is released.
        """
        entry = self._begin(RELEASE, pod, proof)
        settled = await self._settle(RELEASE, pod, proof, entry=entry)
        enc, ciphertext = await self._hand_over(
            pod, proof.question, settled, entry=entry, seal=lambda key: seal_key(key, settled.facts.binding)
        )
        grant = self._announce_grant(pod, settled, renewal=False)
        return {
            "enc": spell(enc), "ciphertext": spell(ciphertext), "lease": encode_lease(grant.lease),
            "policyDigest": grant.policy_digest, "evidenceDigest": grant.evidence_digest,
        }  # fmt: skip

    async def _hand_over(
        self, pod: PodFacts, question: Question, settled: _Settled, *, entry: Body, seal: Callable[[bytes], SealedT]
    ) -> SealedT:
        """Record a decision, then have the key unwrapped and sealed for its pod; the only place where it is here."""
        keys, decision = self._parts.keys, settled.decision
        # On disk before the key service hears of it: no key was ever opened of which nothing is known.
        await self._parts.record.append(entry | {"decision": "granted"} | describe_decision(decision, settled.lease))
        try:
            data_key = await keys.unwrap(
                question.wrapped, context=question.context, minimum_version=decision.minimum_key_version
            )
            self._check_lease(settled.lease)
            sealed = seal(data_key)
        except SekishoError as error:
            self._announce_refusal(pod, error)
            await self._append({"kind": "release-end", "id": entry["id"], "ended": "failed", "reason": error.reason})
            raise
        except asyncio.CancelledError:
            # The pod is gone; whether the key service opened the key cannot be told, that nobody got it can.
            self._forget({"kind": "release-end", "id": entry["id"], "ended": "cancelled"})
            raise
        _LOG.info("a data key was released", extra=_facts(pod, entry, decision))
        return sealed

    async def renew(self, pod: PodFacts, proof: Proof) -> Body:
        """Renew a lease: the whole decision again, and a look at the key; nothing is unwrapped.

        Raises:
            SekishoError: The lease is not renewed. Where that is final, the pod has to drop what it has.
        """
        entry = self._begin(RENEW, pod, proof)
        settled = await self._settle(RENEW, pod, proof, entry=entry)
        decision = settled.decision
        try:
            await self._parts.keys.check(proof.question.wrapped, minimum_version=decision.minimum_key_version)
        except SekishoError as error:
            await self._refuse(pod, entry, error)
            raise
        await self._parts.record.append(entry | {"decision": "granted"} | describe_decision(decision, settled.lease))
        grant = self._announce_grant(pod, settled, renewal=True)
        return {
            "lease": encode_lease(grant.lease), "policyDigest": grant.policy_digest,
            "evidenceDigest": grant.evidence_digest,
        }  # fmt: skip

    async def evicted(self, pod: PodFacts, proof: Proof) -> None:
        """Take down that a pod proved to have dropped its key; grants do not matter any more.

        Raises:
            SekishoError: The evidence was not made for this by this pod; nothing is taken down.
        """
        parts, entry = self._parts, self._begin(EVICTED, pod, proof)
        challenge = self._take(EVICTED, pod, proof)
        binding = _bind(EVICTED, pod, proof, challenge)
        claims = await self._verify(proof, await parts.cluster.read_node_of(pod))
        check_bound(claims, binding)
        await parts.record.append(entry | {"decision": "noted"} | describe_evidence(claims))
        sentence = "the pod proved that it dropped key and weights"
        parts.announcer.announce(pod, tell_refusal(pod, Reason.LEASE_EXPIRED, sentence, now=parts.now()))

    async def _settle(self, purpose: str, pod: PodFacts, proof: Proof, *, entry: Body) -> _Settled:
        """Decide; a refusal is recorded and told before it is raised."""
        challenge = self._take(purpose, pod, proof)
        try:
            facts = await self._gather(purpose, pod, proof, challenge=challenge)
            entry |= describe_evidence(facts.claims)
            decision = decide_on_record(facts, entry, keep=purpose == RELEASE)
            lease = Lease(decision.lease_seconds, challenge.made_at + timedelta(seconds=decision.lease_seconds))
            self._check_lease(lease)
        except SekishoError as error:
            await self._refuse(pod, entry, error)
            raise
        return _Settled(decision, facts, lease)

    async def _gather(self, purpose: str, pod: PodFacts, proof: Proof, *, challenge: Challenge) -> ReleaseFacts:
        """Put together all that is decided on; rules are read last, so that none is older than the decision."""
        parts = self._parts
        around = await parts.cluster.read_surroundings(pod)
        claims = await self._verify(proof, around.node)
        now, rules = parts.now(), parts.rules()
        return ReleaseFacts(
            question=read_question(proof.question),
            workload=read_workload(around),
            rules=rules,
            binding=_bind(purpose, pod, proof, challenge),
            isolation=self._appraise(proof, around, now),
            claims=claims,
            challenged_at=challenge.made_at,
            now=now,
        )

    async def _verify(self, proof: Proof, node: Node) -> tuple[Claims, ...]:
        enrolled = node.keys_for(piece.kind for piece in proof.evidence)
        return await self._parts.verifier.verify(proof.evidence, at=self._parts.now(), enrolled=enrolled)

    def _take(self, purpose: str, pod: PodFacts, proof: Proof) -> Challenge:
        return self._parts.challenges.take(
            proof.challenge, purpose=purpose, pod_uid=pod.uid, question_digest=proof.question.digest
        )

    def _appraise(self, proof: Proof, around: Surroundings, now: datetime) -> Verdict:
        """Appraise the proof of isolation itself, and ask whether the depot, whose canary pods visit, vouches too."""
        verdict = appraise_isolation(
            parse_proof(proof.isolation), around.canaries, now_at=now.timestamp(),
            max_age_seconds=self._parts.proof_max_age_seconds,
        )  # fmt: skip
        if verdict.ok and not around.pod.isolated:
            message = "the proof holds, but the depot does not vouch for it by the pod's condition"
            return Verdict(ok=False, reason=Reason.ISOLATION_NOT_PROVEN, message=message)
        return verdict

    def _check_lease(self, lease: Lease) -> None:
        if (now := self._parts.now()) >= lease.ends_at:
            raise RefusedError(
                Reason.LEASE_EXPIRED,
                f"the lease of {lease.seconds} s ended at {spell_time(lease.ends_at)}, now is {spell_time(now)}",
            )

    def _begin(self, kind: str, pod: PodFacts, proof: Proof) -> Body:
        return {"kind": kind, "id": proof.challenge} | describe_asker(pod, proof.question)

    async def _refuse(self, pod: PodFacts, entry: Body, error: SekishoError) -> None:
        """Record and tell a refusal; one that cannot be recorded is a refusal all the same.

        A pod that is refused again and again is recorded now and then: it must not be able to fill the disk, for
        nothing is released then.
        """
        self._announce_refusal(pod, error)
        try:
            self._refusals.check(pod.uid)
        except SekishoError:
            return
        detail = error.message[:_MOST_DETAIL]
        await self._append(entry | {"decision": "refused", "reason": error.reason, "detail": detail})

    async def _append(self, entry: Mapping[str, Any]) -> None:
        try:
            await self._parts.record.append(entry)
        except SekishoError as error:
            _LOG.error("an entry was not recorded", extra={"entry": entry.get("id"), "detail": error.message})

    def _forget(self, entry: Mapping[str, Any]) -> None:
        """Record what nobody waits for."""
        task = asyncio.create_task(self._append(entry))
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)

    def _announce_refusal(self, pod: PodFacts, error: SekishoError) -> None:
        if is_final(error):
            told = tell(error)
            conditions = tell_refusal(pod, told.reason, told.sentence, now=self._parts.now())
            self._parts.announcer.announce(pod, conditions)

    def _announce_grant(self, pod: PodFacts, settled: _Settled, *, renewal: bool) -> Grant:
        grant = Grant(settled.lease, settled.decision.policy_digest, settled.decision.evidence_digest)
        conditions = tell_grant(pod, grant, now=self._parts.now(), renewal=renewal)
        self._parts.announcer.announce(pod, conditions)
        return grant


def _bind(purpose: str, pod: PodFacts, proof: Proof, challenge: Challenge) -> Binding:
    """Say what the evidence had to be made for."""
    return Binding(
        purpose=purpose,
        nonce=challenge.nonce,
        public_key=proof.public_key,
        namespace=pod.namespace,
        pod=pod.name,
        uid=pod.uid,
        policy_digest=challenge.policy_digest,
        isolation_digest=digest_bytes(proof.isolation),
        question_digest=proof.question.digest,
    )


def _facts(pod: PodFacts, entry: Body, decision: Decision) -> dict[str, object]:
    """Name what a line of the log is about; nothing here is secret."""
    names = {"namespace": pod.namespace, "pod": pod.name, "service": pod.service, "id": entry["id"]}
    return names | {"owner": decision.owner, "tenant": decision.tenant, "lease_seconds": decision.lease_seconds}
