"""What agents and broker say to each other: canonical JSON, strictly read, nothing in it believed yet."""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from sekisho.attest.binding import digest_bytes
from sekisho.attest.evidence import UnverifiedEvidence, parse_evidence
from sekisho.attest.isolation import MAX_PROOF_BYTES
from sekisho.errors import Reason, RefusedError
from sekisho.seal.canonical import encode_canonical, parse_canonical
from sekisho.seal.fields import DIGEST, Fields
from sekisho.seal.keys import MAX_KEY_FILE_BYTES, KeyContext, WrappedKey, parse_wrapped
from sekisho.seal.manifest import check_class

MAX_BODY_BYTES: Final = 1 << 20
PUBLIC_KEY_BYTES: Final = 32
RELEASE: Final = "release"
RENEW: Final = "renew"
EVICTED: Final = "evicted"
PURPOSES: Final = (RELEASE, RENEW, EVICTED)
_MAX_CHALLENGE: Final = 64
_MAX_QUESTIONS: Final = 256
_QUESTION: Final = ("class", "keyFile", "manifestDigest", "model", "version")
_NAME: Final = "the request"


@dataclass(frozen=True, slots=True)
class Question:
    """Which key is asked for.

    Attributes:
        wrapped: As the artifact holds it; not signed, so only its key service can tell whether it is genuine.
        context: What the key must have been wrapped for.
        manifest_digest: "sha256:…" of the manifest that the pod has verified.
        digest: "sha256:…" of the question's canonical bytes; evidence commits to it.
    """

    wrapped: WrappedKey
    context: KeyContext
    manifest_digest: str
    digest: str


@dataclass(frozen=True, slots=True)
class Ask:
    """The body of `POST /v1/challenge`."""

    purpose: str
    question: Question


@dataclass(frozen=True, slots=True)
class Proof:
    """The body of `POST /v1/keys`, `/v1/renew` and `/v1/evicted`.

    Attributes:
        challenge: The name of the challenge that is answered.
        isolation: The proof of isolation, as its bytes were.
        public_key: The raw ephemeral X25519 key; empty but for a release.
    """

    challenge: str
    evidence: tuple[UnverifiedEvidence, ...]
    isolation: bytes
    public_key: bytes
    question: Question


@dataclass(frozen=True, slots=True)
class Lease:
    """For how long a pod may keep what it was given.

    Attributes:
        seconds: The pod counts them from when it asked for the challenge.
        ends_at: For people.
    """

    seconds: int
    ends_at: datetime


def parse_ask(data: bytes) -> Ask:
    """Read who wants to prove what.

    Raises:
        RefusedError: SealInvalid or RequestInvalid, naming the first field that is not as it must be.
    """
    value = parse_canonical(data, name=_NAME, max_bytes=MAX_BODY_BYTES)
    fields = Fields.of(value, name=_NAME, known=("purpose", "question"))
    purpose = fields.text("purpose", most=16)
    if purpose not in PURPOSES:
        raise _invalid(f"purpose is not one of {', '.join(PURPOSES)}")
    return Ask(purpose, parse_question(value["question"]))


def parse_proof_body(data: bytes, *, purpose: str) -> Proof:
    """Read an answer to a challenge.

    Raises:
        RefusedError: SealInvalid, RequestInvalid or EvidenceInvalid, naming the first thing that is not as it must be.
    """
    value = parse_canonical(data, name=_NAME, max_bytes=MAX_BODY_BYTES)
    keyed = ("key",) if purpose == RELEASE else ()
    fields = Fields.of(value, name=_NAME, known=("challenge", "evidence", "isolation", "question", *keyed))
    if not isinstance(value["isolation"], str):
        raise fields.refuse("isolation", "is not text")
    isolation = value["isolation"].encode()  # canonical text is Unicode
    if len(isolation) > MAX_PROOF_BYTES:
        raise fields.refuse("isolation", f"has {len(isolation)} bytes, {MAX_PROOF_BYTES} are allowed")
    return Proof(
        challenge=fields.text("challenge", most=_MAX_CHALLENGE),
        evidence=parse_evidence(value["evidence"]),
        isolation=isolation,
        public_key=_read_key(fields) if keyed else b"",
        question=parse_question(value["question"]),
    )


def encode_body(value: Mapping[str, Any]) -> bytes:
    """Spell an answer."""
    return encode_canonical(dict(value))


def encode_bytes(data: bytes) -> str:
    """Spell bytes as base64 with padding."""
    return base64.b64encode(data).decode()


def encode_lease(lease: Lease) -> dict[str, Any]:
    """Spell a lease as part of an answer."""
    return {"seconds": lease.seconds, "endsAt": spell_time(lease.ends_at)}


def spell_time(at: datetime) -> str:
    """Spell a UTC time in whole seconds."""
    return f"{at.replace(tzinfo=None).isoformat(timespec='seconds')}Z"


def parse_question(value: object) -> Question:
    """Read which key is asked for.

    Raises:
        RefusedError: SealInvalid or RequestInvalid, naming the first field that is not as it must be.
    """
    return _read_question(encode_canonical(value))


@lru_cache(_MAX_QUESTIONS)
def _read_question(data: bytes) -> Question:
    """Read a question from its canonical bytes; pods of a service ask the same again and again."""
    fields = Fields.of(json.loads(data), name="the question", known=_QUESTION)
    text = fields.text("keyFile", most=4 * -(-MAX_KEY_FILE_BYTES // 3))
    try:
        key_file = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise fields.refuse("keyFile", "is not base64") from error
    context = KeyContext(
        model=fields.text("model", most=255),
        version=fields.integer("version", least=1),
        data_class=check_class(fields.text("class", most=1024), name="the question.class"),
    )
    return Question(
        wrapped=parse_wrapped(key_file),
        context=context,
        manifest_digest=fields.text("manifestDigest", pattern=DIGEST),
        digest=digest_bytes(data),
    )


def _read_key(fields: Fields) -> bytes:
    key = fields.base64("key", most=PUBLIC_KEY_BYTES)
    if len(key) != PUBLIC_KEY_BYTES:
        raise fields.refuse("key", f"has {len(key)} bytes, {PUBLIC_KEY_BYTES} are needed")
    return key


def _invalid(message: str) -> RefusedError:
    return RefusedError(Reason.REQUEST_INVALID, message)
