"""A broker that behaves as the wire says, and misbehaves where a test asks it to.

It checks what the real one checks of the exchange itself: that a challenge is its own, used once, and that evidence of
a simulated chip commits to nonce, key, pod, rules, isolation and question. It decides nothing.
"""

import base64
import contextlib
import hashlib
import json
import secrets
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.x509 import load_der_x509_certificate

from sekisho.attest.binding import Binding, digest_bytes
from sekisho.attest.evidence import UnverifiedEvidence, parse_evidence
from sekisho.seal.canonical import encode_canonical, parse_canonical
from tests.unit.depot.parts import Keys

SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
PURPOSES = {"/v1/keys": "release", "/v1/renew": "renew", "/v1/evicted": "evicted"}


class RefusedAnswerError(Exception):
    """Answer with a status, a reason and a message."""

    def __init__(self, status: int, reason: str, message: str = "refused") -> None:
        super().__init__(message)
        self.status, self.reason, self.message = status, reason, message


@dataclass
class SimulatedBroker:
    """What the broker holds, and how it misbehaves.

    Attributes:
        tokens: Bearer token → (namespace, pod, uid).
        refuse: Called with the purpose before anything is answered; may raise RefusedAnswerError.
        bend: Changes the fields of an answer before it is sent.
        seal_for: Another key, info or plaintext to seal the answer with.
        drop: Purposes whose answer is a closed connection, one for each time.
        forget: How many challenges are forgotten at once, as if another replica were asked.
        answered: What was answered: (purpose, connection).
    """

    tokens: dict[str, tuple[str, str, str]]
    key: bytes
    lease_seconds: int = 900
    wanted: tuple[str, ...] = ("snp", "tdx", "tpm")
    policy_digest: str = f"sha256:{'b' * 64}"
    refuse: Callable[[str], None] = lambda _purpose: None
    bend: Callable[[str, dict[str, Any]], Any] = lambda _purpose, answer: answer
    seal_for: dict[str, Any] = field(default_factory=dict)
    drop: list[str] = field(default_factory=list)
    forget: int = 0
    slow_seconds: float = 0.0
    port: int = 0
    answered: list[tuple[str, int]] = field(default_factory=list)
    bindings: list[Binding] = field(default_factory=list)
    evidence: list[tuple[UnverifiedEvidence, ...]] = field(default_factory=list)
    _challenges: dict[str, tuple[str, bytes, bytes]] = field(default_factory=dict)

    def count(self, purpose: str) -> int:
        return sum(name == purpose for name, _ in self.answered)

    def answer(self, path: str, token: str, data: bytes, connection: int) -> bytes:
        """Answer one request."""
        if token not in self.tokens:
            raise RefusedAnswerError(401, "Unauthenticated", "the token is not valid")
        body = parse_canonical(data, name="the body", max_bytes=1 << 20)
        if path == "/v1/challenge":
            return self._challenge(body, connection)
        if path not in PURPOSES:
            raise RefusedAnswerError(404, "RequestInvalid")
        purpose = PURPOSES[path]
        self.refuse(purpose)
        binding = self._check(purpose, self.tokens[token], body)
        answer: Any = {}
        if purpose != "evicted":
            lease = {"seconds": self.lease_seconds, "endsAt": "2026-11-29T17:00:00Z"}
            digest = f"sha256:{hashlib.sha256(repr(self.evidence[-1]).encode()).hexdigest()}"
            answer = {"lease": lease, "policyDigest": self.policy_digest, "evidenceDigest": digest}
        if purpose == "release":
            answer |= self._seal(binding)
        self.answered.append((purpose, connection))
        return encode_canonical(self.bend(purpose, answer))

    def _challenge(self, body: dict[str, Any], connection: int) -> bytes:
        self.refuse("challenge")
        token, nonce = secrets.token_urlsafe(24), secrets.token_bytes(32)
        if self.forget:
            self.forget -= 1
        else:
            self._challenges[token] = (body["purpose"], nonce, encode_canonical(body["question"]))
        self.answered.append(("challenge", connection))
        answer = {
            "challenge": token, "nonce": base64.b64encode(nonce).decode(), "expiresAt": "2026-11-29T17:00:00Z",
            "policyDigest": self.policy_digest, "evidence": list(self.wanted),
        }  # fmt: skip
        return encode_canonical(self.bend("challenge", answer))

    def _check(self, purpose: str, pod: tuple[str, str, str], body: dict[str, Any]) -> Binding:
        found = self._challenges.pop(body["challenge"], None)
        if found is None:
            raise RefusedAnswerError(409, "ChallengeUnknown", "the challenge is not known here")
        meant, nonce, question = found
        if meant != purpose or encode_canonical(body["question"]) != question:
            raise RefusedAnswerError(403, "EvidenceNotBound", "the challenge was made for something else")
        public = base64.b64decode(body.get("key", ""))
        binding = Binding(
            purpose, nonce, public, *pod, policy_digest=self.policy_digest,
            isolation_digest=digest_bytes(body["isolation"].encode()), question_digest=digest_bytes(question),
        )  # fmt: skip
        pieces = parse_evidence(body["evidence"])
        for piece in pieces:
            check_piece(piece, binding)
        self.bindings.append(binding)
        self.evidence.append(pieces)
        return binding

    def _seal(self, binding: Binding) -> dict[str, str]:
        given = self.seal_for
        public = X25519PublicKey.from_public_bytes(given.get("key", binding.public_key))
        sealed = SUITE.encrypt(given.get("plaintext", self.key), public, info=given.get("info", binding.encode()))
        return {"enc": base64.b64encode(sealed[:32]).decode(), "ciphertext": base64.b64encode(sealed[32:]).decode()}


def check_piece(piece: UnverifiedEvidence, binding: Binding) -> None:
    """Check that a simulated chip signed for this binding."""
    if piece.kind != "snp":
        raise RefusedAnswerError(403, "EvidenceUntrusted", "this broker knows simulated chips alone")
    report = piece.report
    r, s = (int.from_bytes(report[at : at + 72], "little") for at in (0x2A0, 0x2E8))
    key = load_der_x509_certificate(piece.certificates[0]).public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    try:
        key.verify(encode_dss_signature(r, s), report[:0x2A0], ec.ECDSA(hashes.SHA384()))
    except InvalidSignature:
        raise RefusedAnswerError(403, "EvidenceUntrusted", "the signature does not hold") from None
    if not binding.matches(report[0x50:0x90]):
        raise RefusedAnswerError(403, "EvidenceNotBound", "the evidence was not made for this challenge")


def other_key() -> bytes:
    """Return a public key that nobody has the other half of."""
    return X25519PrivateKey.generate().public_key().public_bytes_raw()


@contextlib.contextmanager
def serve_broker(broker: SimulatedBroker, keys: Keys) -> Iterator[SimulatedBroker]:
    """Serve on loopback over TLS with connections that are kept; `broker.port` is set."""
    numbers = iter(range(1, 1 << 30))

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body are two writes: the second would wait for an ACK

        def setup(self) -> None:
            super().setup()
            self.number = next(numbers)

        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            time.sleep(broker.slow_seconds)
            purpose = PURPOSES.get(self.path, "challenge")
            if purpose in broker.drop:
                broker.drop.remove(purpose)
                self.close_connection = True
                return
            try:
                token = self.headers.get("Authorization", "").removeprefix("Bearer ")
                status, body = 200, broker.answer(self.path, token, data, self.number)
            except RefusedAnswerError as refusal:
                status = refusal.status
                body = json.dumps({"reason": refusal.reason, "message": refusal.message}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            pass

    with Quiet(("127.0.0.1", broker.port), Answer) as http:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(keys.certificate, keys.key)
        http.socket = context.wrap_socket(http.socket, server_side=True, do_handshake_on_connect=False)
        broker.port = http.server_address[1]
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield broker
        finally:
            http.shutdown()
            thread.join()
