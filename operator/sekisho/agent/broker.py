"""The broker's client: a challenge, fresh evidence bound to it, and an answer that only this attempt's key opens.

Challenge and answer go over one connection: the replica that asked is the one that knows the challenge. Where that
replica is gone, everything is done anew, a bounded number of times.
"""

import base64
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from sekisho.agent.attesters.collect import Attester, collect_evidence
from sekisho.agent.lease import Terms
from sekisho.agent.release import KeyRequest, convert_refusal
from sekisho.agent.transport import ServerAccess, Session, open_session
from sekisho.agent.waiting import jitter
from sekisho.attest.binding import Binding, digest_bytes
from sekisho.attest.evidence import KINDS, encode_evidence
from sekisho.errors import Reason, RefusedError, SekishoError, UnavailableError
from sekisho.kernel import read_boot_seconds
from sekisho.seal.canonical import encode_canonical
from sekisho.seal.facts import KEY_BYTES
from sekisho.seal.fields import DIGEST, Fields

TOTAL_SECONDS: Final = 60.0
CONNECT_SECONDS: Final = 3.0  # all attempts fit into half of the shortest lease, which is when it is renewed
MAX_ANSWER_BYTES: Final = 16 * 1024
MAX_LEASE_SECONDS: Final = 7 * 86400
_ATTEMPTS: Final = 4
_PAUSE_SECONDS: Final = 0.5
_NONCE_BYTES: Final = 32
_ENC_BYTES: Final = 32
_SEALED_BYTES: Final = KEY_BYTES + 16
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pod:
    """Who asks; the broker holds it against the token."""

    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Challenge:
    """What the broker wants evidence for.

    Attributes:
        token: Names the challenge to the replica that made it.
        nonce: 32 random bytes.
        policy_digest: Of every rule that decides.
        wanted: Kinds of evidence that the rules speak of.
    """

    token: str
    nonce: bytes
    policy_digest: str
    wanted: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Released:
    """A data key, secret, and the lease that it comes with.

    Attributes:
        asked: When the question was sent, in seconds since the boot of the machine.
    """

    key: bytearray
    terms: Terms
    asked: float


@dataclass(frozen=True, slots=True)
class Broker:
    """The broker as this pod asks it.

    Attributes:
        attesters: What evidence there may be, best first.
        proof: Returns the last proof of isolation; UnavailableError where there is none.
        clock: Seconds since the boot of the machine, which leases are counted by.
    """

    access: ServerAccess
    pod: Pod
    attesters: tuple[Attester, ...]
    proof: Callable[[], bytes]
    clock: Callable[[], float] = read_boot_seconds

    def release(self, wanted: KeyRequest) -> Released:
        """Get the data key.

        Raises:
            RefusedError: The broker does not release it to this pod, or there is no evidence to bring.
            UnavailableError: There was no usable answer within a bounded number of tries.
        """
        return self._repeat(lambda session: self._release(session, wanted))

    def renew(self, wanted: KeyRequest) -> Terms:
        """Prolong the lease by fresh evidence. Raises as `release` does."""
        return self._repeat(lambda session: self._renew(session, wanted))

    def tell_evicted(self, wanted: KeyRequest) -> None:
        """Tell, with evidence, that key and weights were dropped. Raises as `release` does."""
        self._repeat(lambda session: self._ask(session, "evicted", "/v1/evicted", wanted, public_key=b""))

    def _release(self, session: Session, wanted: KeyRequest) -> Released:
        asked = self.clock()
        private = X25519PrivateKey.generate()
        public = private.public_key().public_bytes_raw()
        binding, body = self._ask(session, "release", "/v1/keys", wanted, public_key=public)
        enc, ciphertext = _read_bytes(body, "enc", _ENC_BYTES), _read_bytes(body, "ciphertext", _SEALED_BYTES)
        terms = _read_terms(body, binding)
        suite = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
        try:
            key = bytearray(suite.decrypt(enc + ciphertext, private, info=binding.encode()))
        except (InvalidTag, ValueError) as error:
            raise _unusable("the key in it does not open with the key that it was asked for with") from error
        return Released(key, terms, asked)

    def _renew(self, session: Session, wanted: KeyRequest) -> Terms:
        binding, body = self._ask(session, "renew", "/v1/renew", wanted, public_key=b"")
        return _read_terms(body, binding)

    def _ask(
        self, session: Session, purpose: str, path: str, wanted: KeyRequest, *, public_key: bytes
    ) -> tuple[Binding, dict[str, Any]]:
        question = wanted.encode()
        first = {"purpose": purpose, "question": json.loads(question)}
        challenge = _parse_challenge(session.post("/v1/challenge", encode_canonical(first), most=MAX_ANSWER_BYTES))
        proof = self.proof()
        binding = Binding(
            purpose, challenge.nonce, public_key, self.pod.namespace, self.pod.name, self.pod.uid,
            policy_digest=challenge.policy_digest, isolation_digest=digest_bytes(proof),
            question_digest=digest_bytes(question),
        )  # fmt: skip
        pieces = collect_evidence(self.attesters, challenge.wanted, binding)
        second: dict[str, Any] = {
            "challenge": challenge.token, "evidence": encode_evidence(pieces), "isolation": proof.decode(),
            "question": first["question"],
        }  # fmt: skip
        if public_key:
            second["key"] = base64.b64encode(public_key).decode()
        return binding, _parse_object(session.post(path, encode_canonical(second), most=MAX_ANSWER_BYTES))

    def _repeat(self, work: Callable[[Session], T]) -> T:
        """Do the whole exchange again where it broke off, or met a replica that did not make the challenge."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with open_session(self.access) as session:
                    return work(session)
            except SekishoError as error:
                again = error.retry or error.reason is Reason.CHALLENGE_UNKNOWN
                if not again or attempt == _ATTEMPTS:
                    raise self._explain(error, attempt) from error
            time.sleep(jitter(_PAUSE_SECONDS * 2 ** (attempt - 1)))
        raise AssertionError("the last attempt returns or raises")

    def _explain(self, error: SekishoError, attempts: int) -> SekishoError:
        if error.reason is Reason.CHALLENGE_UNKNOWN:
            message = f"no replica of the broker knew its own challenge in {attempts} attempts"
            return UnavailableError(Reason.BROKER_UNAVAILABLE, f"{message}; {self._next_step()}")
        if error.retry and error.reason is Reason.BROKER_UNAVAILABLE:
            return UnavailableError(error.reason, f"{error.message}; {self._next_step()}")
        return error

    def _next_step(self) -> str:
        service, _, namespace = self.access.address.server_name.removesuffix(".svc").partition(".")
        return f"see whether the pods behind Service {service} in namespace {namespace} run and what they log"


@dataclass(frozen=True, slots=True)
class BrokerKeys:
    """Keys from the broker, each with a lease.

    Attributes:
        broker: Whom to ask.
        granted: Takes the lease; False where an earlier one is still ending.
    """

    broker: Broker
    granted: Callable[[KeyRequest, Terms, float], bool]

    def ask(self, wanted: KeyRequest) -> bytearray:
        """Return the data key once its lease is kept (see the Protocol)."""
        try:
            released = self.broker.release(wanted)
        except SekishoError as error:
            raise convert_refusal(error, who="the broker", unavailable=Reason.BROKER_UNAVAILABLE) from error
        if not self.granted(wanted, released.terms, released.asked):
            released.key[:] = bytes(len(released.key))
            raise UnavailableError(
                Reason.WEIGHTS_PENDING, "an earlier lease is still ending; the key is asked for again after that"
            )
        return released.key


def _parse_challenge(data: bytes) -> Challenge:
    body = _parse_object(data)
    fields = Fields("the challenge", body)
    try:
        nonce = fields.base64("nonce", most=_NONCE_BYTES)
        token = fields.text("challenge", most=4096)
        policy = fields.text("policyDigest", pattern=DIGEST)
        wanted = fields.items("evidence", _read_kind, most=len(KINDS))
    except (KeyError, RefusedError) as error:
        raise _unusable(f"the challenge is not as it must be: {error}") from error
    if len(nonce) != _NONCE_BYTES:
        raise _unusable(f"the nonce has {len(nonce)} bytes, {_NONCE_BYTES} are needed")
    return Challenge(token, nonce, policy, wanted)


def _read_kind(value: object, name: str) -> str:
    if not isinstance(value, str) or value not in KINDS:
        raise RefusedError(Reason.EVIDENCE_INVALID, f"{name} is no kind of evidence that this agent knows")
    return value


def _read_terms(body: dict[str, Any], binding: Binding) -> Terms:
    lease = body.get("lease")
    try:
        seconds = Fields.of(lease, name="lease", known=("endsAt", "seconds")).integer(
            "seconds", least=1, most=MAX_LEASE_SECONDS
        )
        ends_at = Fields("lease", lease).text("endsAt", most=64)  # type: ignore[arg-type]
        answer = Fields("the answer", body)
        policy, evidence = (answer.text(name, pattern=DIGEST) for name in ("policyDigest", "evidenceDigest"))
    except (KeyError, RefusedError) as error:
        raise _unusable(f"it names no lease: {error}") from error
    if policy != binding.policy_digest:
        raise _unusable("it was decided by other rules than the challenge named")
    return Terms(float(seconds), ends_at, policy, evidence)


def _read_bytes(body: dict[str, Any], field: str, size: int) -> bytes:
    try:
        data = Fields("the answer", body).base64(field, most=size)
    except (KeyError, RefusedError) as error:
        raise _unusable(f"its field {field} is not as it must be") from error
    if len(data) != size:
        raise _unusable(f"its field {field} has {len(data)} bytes, {size} are needed")
    return data


def _parse_object(data: bytes) -> dict[str, Any]:
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise _unusable("it is not a JSON object")
    return body


def _unusable(why: str) -> UnavailableError:
    return UnavailableError(Reason.BROKER_UNAVAILABLE, f"the broker's answer cannot be used: {why}")
