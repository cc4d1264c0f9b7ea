"""Release keys to guests of Confidential Containers: the same decision as for agents, by another way of asking.

A guest has no token for the broker: who it is, is told by the address of its pod, and a session is worth nothing from
another. Its evidence commits to the session's nonce and to its own key, by the protocol's hash; which workload, policy
and question these stand for is looked up, and decided on, at each resource anew.
"""

import asyncio
import base64
import logging
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final, Protocol

from sekisho.attest.appraise import find_unacceptable
from sekisho.attest.binding import Binding, digest_bytes
from sekisho.attest.claims import Claims
from sekisho.attest.isolation import Verdict
from sekisho.broker.cluster import Surroundings
from sekisho.broker.decide import Decision, ReleaseFacts, policy_digest
from sekisho.broker.describing import decide_on_record, describe_asker, describe_decision, describe_evidence
from sekisho.broker.gathering import read_question, read_workload
from sekisho.broker.jwe import encrypt, parse_guest_key
from sekisho.broker.kbs_sessions import Attested, Session, SessionBook
from sekisho.broker.kbs_shapes import AttestRequest, encode_challenge, pad_data, parse_attest, parse_auth
from sekisho.broker.release import Parts
from sekisho.broker.resources import Resource
from sekisho.broker.wire import RELEASE, Lease, Question
from sekisho.errors import Reason, RefusedError, SekishoError
from sekisho.kube.bearer import RateLimit
from sekisho.kube.pods import PodFacts
from sekisho.seal.resource import open_resource

_LOG: Final = logging.getLogger(__name__)
_MOST_DETAIL: Final = 1024
_DEVICE_BYTES: Final = 32
_REFUSALS_PER_SECOND: Final = 1 / 30
_REFUSALS_AT_ONCE: Final = 10
Body = dict[str, Any]


class ResourceFinder(Protocol):
    """Where resources stand."""

    def find(self, path: str) -> Resource:
        """Return what a resource stands for; may block. Raises RefusedError EndpointUnknown."""
        ...


@dataclass(frozen=True, slots=True)
class Begun:
    """A session that was begun, and what the guest is told."""

    session: Session
    challenge: Body


class KbsBroker:
    """Releases keys to guests whose pods were identified before; knows nothing of HTTP."""

    def __init__(self, parts: Parts, sessions: SessionBook, resources: ResourceFinder) -> None:
        self._parts, self._sessions, self._resources = parts, sessions, resources
        self._refusals = RateLimit(per_second=_REFUSALS_PER_SECOND, burst=_REFUSALS_AT_ONCE, reason=Reason.OVERLOADED)

    def begin(self, pod: PodFacts, body: bytes) -> Begun:
        """Make a challenge for one guest.

        Raises:
            RefusedError: RequestInvalid.
            UnavailableError: Too many sessions are open.
        """
        request = parse_auth(body)
        session = self._sessions.begin(
            pod_uid=pod.uid, tee=request.tee, algorithm=request.algorithm, now=self._parts.now()
        )
        return Begun(session, encode_challenge(_spell(session.nonce), request.algorithm))

    async def attest(self, pod: PodFacts, session_id: str, body: bytes) -> Session:
        """Verify a guest's evidence; from then on its session gives resources, each after a decision of its own.

        Raises:
            RefusedError: The evidence does not hold, was made for something else, or is refused whatever a policy says.
            UnavailableError: Too much is to be verified.
        """
        session = self._sessions.answer(session_id, pod_uid=pod.uid)
        request = parse_attest(body, tee=session.tee)
        if not secrets.compare_digest(request.nonce.encode("utf-8", "replace"), _spell(session.nonce).encode()):
            raise RefusedError(Reason.EVIDENCE_NOT_BOUND, "the answer is to another challenge than its session's")
        key = parse_guest_key(request.key)
        node = await self._parts.cluster.read_node_of(pod)
        enrolled = frozenset(() if node.tpm_key is None else (node.tpm_key,))
        pieces = (request.primary, *request.devices)
        claims = await self._parts.verifier.verify(pieces, at=self._parts.now(), enrolled=enrolled)
        _check_bound(claims, request, session.algorithm)
        unacceptable = find_unacceptable(claims, now=self._parts.now())
        if unacceptable is not None:
            raise RefusedError(unacceptable.reason, unacceptable.detail)
        self._sessions.confirm(session, Attested(claims, key, dict(request.key)))
        return self._sessions.use(session.id, pod_uid=pod.uid)

    async def release(self, pod: PodFacts, session_id: str, path: str) -> dict[str, str]:
        """Release the data key behind a resource, or the secret sealed under it, encrypted to the guest's key.

        Raises:
            SekishoError: Nothing is released.
        """
        session = self._sessions.use(session_id, pod_uid=pod.uid)
        resource = await asyncio.to_thread(self._resources.find, path)
        question = resource.question
        entry: Body = {"kind": "kbs-release", "id": secrets.token_hex(12), "resource": path}
        entry |= describe_asker(pod, question)
        decision, lease = await self._decide(pod, session, question, entry)
        # On disk before the key service hears of it: no key was ever opened of which nothing is known.
        await self._parts.record.append(entry | {"decision": "granted"} | describe_decision(decision, lease))
        end: Body = {"kind": "kbs-release-end", "id": entry["id"]}
        try:
            data_key = await self._parts.keys.unwrap(
                question.wrapped, context=question.context, minimum_version=decision.minimum_key_version
            )
            answer = open_resource(resource.content, data_key, path=path) if resource.content else data_key
        except SekishoError as error:
            await self._append(end | {"ended": "failed", "reason": error.reason})
            raise
        except asyncio.CancelledError:
            # The guest is gone; whether the key service opened the key cannot be told, that nobody got it can.
            await asyncio.shield(self._append(end | {"ended": "cancelled"}))
            raise
        await self._append(end | {"ended": "released"})
        _LOG.info("a resource was released", extra={"namespace": pod.namespace, "pod": pod.name, "resource": path})
        return encrypt(answer, _attested(session).key)

    async def _decide(self, pod: PodFacts, session: Session, question: Question, entry: Body) -> tuple[Decision, Lease]:
        """Decide as for an agent; a refusal is recorded before it is raised."""
        try:
            facts = await self._gather(pod, session, question)
            entry |= describe_evidence(facts.claims)
            decision = decide_on_record(facts, entry, keep=True)
        except SekishoError as error:
            await self._record_refusal(pod, entry, error)
            raise
        return decision, Lease(decision.lease_seconds, session.made_at + timedelta(seconds=decision.lease_seconds))

    async def _gather(self, pod: PodFacts, session: Session, question: Question) -> ReleaseFacts:
        parts = self._parts
        around = await parts.cluster.read_surroundings(pod)
        rules = parts.rules()
        digest = policy_digest(rules, namespace=around.pod.namespace, service=around.pod.service)
        binding = _bind(around, session, question, digest)
        return ReleaseFacts(
            question=read_question(question),
            workload=read_workload(around),
            rules=rules,
            binding=binding,
            isolation=_vouch(around),
            claims=_rebind(_attested(session).claims, binding),
            challenged_at=session.made_at,
            now=parts.now(),
        )

    async def _record_refusal(self, pod: PodFacts, entry: Body, error: SekishoError) -> None:
        """Record a refusal; those of a pod that is refused again and again now and then, so that no disk is filled."""
        try:
            self._refusals.check(pod.uid)
        except SekishoError:
            return
        refused = {"decision": "refused", "reason": error.reason, "detail": error.message[:_MOST_DETAIL]}
        await self._append(entry | refused)

    async def _append(self, entry: Mapping[str, Any]) -> None:
        try:
            await self._parts.record.append(entry)
        except SekishoError as error:
            _LOG.error("an entry was not recorded", extra={"entry": entry.get("id"), "detail": error.message})


def _check_bound(claims: Sequence[Claims], request: AttestRequest, algorithm: str) -> None:
    """Check that the guest's own evidence and that of its devices were made for this nonce, key and company."""
    primary, *devices = claims
    _hold(primary, pad_data(request.primary_data(algorithm), len(primary.bound_data)))
    for each in devices:
        _hold(each, pad_data(request.device_data(algorithm), _DEVICE_BYTES))


def _hold(claim: Claims, expected: bytes) -> None:
    if len(expected) < _DEVICE_BYTES or claim.bound_data != expected:
        raise RefusedError(
            Reason.EVIDENCE_NOT_BOUND,
            f"the {claim.tee} evidence commits to {claim.bound_data[:8].hex()}…, made for this session and key it "
            f"would commit to {expected[:8].hex()}…",
        )


def _rebind(claims: Sequence[Claims], binding: Binding) -> tuple[Claims, ...]:
    """Say of evidence that was bound to the session that it is bound to what the session stands for."""
    primary, *devices = claims
    return (
        replace(primary, bound_data=binding.digest(64)),
        *(replace(each, bound_data=binding.digest(_DEVICE_BYTES)) for each in devices),
    )


def _bind(around: Surroundings, session: Session, question: Question, digest: str) -> Binding:
    """Put together what the session stands for now; what its evidence committed to was checked when it was attested."""
    return Binding(
        purpose=RELEASE,
        nonce=session.nonce,
        public_key=digest_bytes(repr(sorted(_attested(session).jwk.items())).encode()).encode(),
        namespace=around.pod.namespace,
        pod=around.pod.name,
        uid=around.pod.uid,
        policy_digest=digest,
        isolation_digest=digest_bytes(b""),
        question_digest=question.digest,
    )


def _vouch(around: Surroundings) -> Verdict:
    """Take the depot's word for the pod's isolation: a guest sends the broker no proof of its own."""
    if around.pod.isolated:
        return Verdict(ok=True, reason=Reason.ISOLATION_PROVEN, message="the depot vouches for it")
    return Verdict(
        ok=False, reason=Reason.ISOLATION_NOT_PROVEN, message="the depot does not vouch for it by the pod's condition"
    )


def _attested(session: Session) -> Attested:
    if session.attested is None:
        raise RefusedError(Reason.CHALLENGE_UNKNOWN, "the session was not attested; begin with a new one")
    return session.attested


def _spell(nonce: bytes) -> str:
    return base64.b64encode(nonce).decode()
