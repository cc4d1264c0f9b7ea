"""Messages of the Key Broker Service protocol, version 0.4.0, as Trustee documents it; strictly read, pure.

Origin of the shapes: confidential-containers/trustee `kbs/docs/kbs_attestation_protocol.md` and virtee/kbs-types.
Nothing in a message is believed; the evidence in it has to commit to the challenge and to the guest's key.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sekisho.attest.evidence import UnverifiedEvidence
from sekisho.broker.kbs_evidence import PRIMARY_KINDS, parse_additional, parse_primary
from sekisho.errors import Reason, RefusedError

VERSION: Final = "0.4.0"
MAX_BODY_BYTES: Final = 1 << 20
ERRORS: Final = "https://github.com/confidential-containers/kbs/errors/"
_HASHES: Final = ("sha384", "sha512", "sha256")  # the first is what a guest takes where nothing is said
_KEY_FIELDS: Final[Mapping[str, frozenset[str]]] = {
    "EC": frozenset({"kty", "alg", "crv", "x", "y"}),
    "RSA": frozenset({"kty", "alg", "n", "e"}),
}
_MAX_TEXT: Final = 1024


@dataclass(frozen=True, slots=True)
class AuthRequest:
    """The body of `POST /kbs/v0/auth`.

    Attributes:
        tee: What the guest runs in, as "snp".
        algorithm: By which hash its evidence will commit, as "sha384".
    """

    tee: str
    algorithm: str


@dataclass(frozen=True, slots=True)
class AttestRequest:
    """The body of `POST /kbs/v0/attest`.

    Attributes:
        nonce: The nonce that is answered, as it was spelt.
        key: The guest's public key as a JSON Web Key, every field text.
        primary: Evidence of the guest itself.
        devices: Evidence of its devices.
        additional: The same as it was spelt, for the guest's own evidence commits to it.
    """

    nonce: str
    key: Mapping[str, str]
    primary: UnverifiedEvidence
    devices: tuple[UnverifiedEvidence, ...]
    additional: str

    def primary_data(self, algorithm: str) -> bytes:
        """Return what the guest's own evidence must commit to."""
        data = {"additional-evidence": self.additional, "nonce": self.nonce, "tee-pubkey": dict(self.key)}
        return _hash(data, algorithm)

    def device_data(self, algorithm: str) -> bytes:
        """Return what evidence of devices must commit to; the first 32 bytes are their nonce."""
        return _hash({"nonce": self.nonce, "tee-pubkey": dict(self.key)}, algorithm)


def parse_auth(data: bytes) -> AuthRequest:
    """Read who wants to begin.

    Raises:
        RefusedError: RequestInvalid; another version of the protocol, or not such a message.
    """
    body = _parse_object(data)
    if body.get("version") != VERSION:
        raise _invalid(f"version {str(body.get('version'))[:16]!r} of the protocol is not spoken here, {VERSION} is")
    tee = body.get("tee")
    if not isinstance(tee, str) or tee not in PRIMARY_KINDS:
        raise _invalid(f"tee {str(tee)[:32]!r} is not one of {', '.join(PRIMARY_KINDS)}")
    return AuthRequest(tee, _choose_hash(body.get("extra-params")))


def encode_challenge(nonce: str, algorithm: str) -> dict[str, Any]:
    """Spell a challenge."""
    return {"nonce": nonce, "extra-params": {"selected-hash-algorithm": algorithm}}


def parse_attest(data: bytes, *, tee: str) -> AttestRequest:
    """Read an answer to a challenge.

    Raises:
        RefusedError: RequestInvalid or EvidenceInvalid, naming what is not as it must be.
    """
    body = _parse_object(data)
    runtime, evidence = body.get("runtime-data"), body.get("tee-evidence")
    if not isinstance(runtime, dict) or set(runtime) != {"nonce", "tee-pubkey"}:
        raise _invalid("runtime-data is not an object of nonce and tee-pubkey")
    nonce = runtime["nonce"]
    if not isinstance(nonce, str) or not 0 < len(nonce) <= _MAX_TEXT:
        raise _invalid("the nonce is not text")
    if not isinstance(evidence, dict) or set(evidence) != {"primary_evidence", "additional_evidence"}:
        raise _invalid("tee-evidence is not an object of primary_evidence and additional_evidence")
    additional = evidence["additional_evidence"]
    if not isinstance(additional, str):
        raise _invalid("additional_evidence is not text")
    return AttestRequest(
        nonce=nonce,
        key=_read_key(runtime["tee-pubkey"]),
        primary=parse_primary(tee, evidence["primary_evidence"]),
        devices=parse_additional(additional),
        additional=additional,
    )


def encode_error(kind: str, detail: str) -> dict[str, str]:
    """Spell a refusal (RFC 7807, as the protocol uses it)."""
    return {"type": ERRORS + kind, "detail": detail}


def pad_data(digest: bytes, size: int) -> bytes:
    """Bring what evidence commits to to the size of its field: zeros behind, or cut, as guests do."""
    return digest[:size].ljust(size, b"\0")


def _choose_hash(extra: Any) -> str:
    """Choose the hash among those that the guest offers; a guest that offers none takes SHA-384."""
    offered = extra.get("supported-hash-algorithms") if isinstance(extra, dict) else None
    if offered is None:
        return _HASHES[0]
    names = {each.lower() for each in offered if isinstance(each, str)} if isinstance(offered, list) else set()
    chosen = next((each for each in _HASHES if each in names), None)
    if chosen is None:
        raise _invalid(f"none of {', '.join(_HASHES)} is among supported-hash-algorithms")
    return chosen


def _read_key(value: Any) -> dict[str, str]:
    kind = value.get("kty") if isinstance(value, dict) else None
    if kind not in ("EC", "RSA") or set(value) != _KEY_FIELDS[kind]:
        raise _invalid("tee-pubkey is not a JSON Web Key of kty EC or RSA with its fields and alg")
    if not all(isinstance(each, str) and len(each) <= _MAX_TEXT for each in value.values()):
        raise _invalid("a field of tee-pubkey is not text")
    return dict(value)


def _hash(data: Mapping[str, Any], algorithm: str) -> bytes:
    """Hash the canonical JSON (RFC 8785) of text under names; there are no numbers, whose spelling would be harder."""
    canonical = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.new(algorithm, canonical.encode("utf-8", "surrogatepass")).digest()


def _parse_object(data: bytes) -> dict[str, Any]:
    if len(data) > MAX_BODY_BYTES:
        raise _invalid(f"it has {len(data)} bytes, {MAX_BODY_BYTES} allowed")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _invalid("it is not JSON") from error
    if not isinstance(value, dict):
        raise _invalid("it is not an object")
    return value


def _invalid(what: str) -> RefusedError:
    return RefusedError(Reason.REQUEST_INVALID, f"the message of the key broker protocol cannot be used: {what}")
