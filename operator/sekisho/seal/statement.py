"""What a signature on a sealed model says, and how it is spelt: an in-toto statement in a DSSE envelope.

The statement follows from the manifest alone, so that nobody has to believe what a signer wrote into it: a reader makes
it anew and compares. docs/reference/sealed-format.md is the contract.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sekisho.errors import Reason, RefusedError
from sekisho.seal.canonical import encode_canonical, parse_canonical
from sekisho.seal.facts import (
    FORMAT,
    FORMAT_VERSION,
    MANIFEST_NAME,
    MAX_MANIFEST_BYTES,
    MAX_SIGNATURES_BYTES,
    SIGNATURES_NAME,
    SealedManifest,
)
from sekisho.seal.fields import DIGEST, Fields
from sekisho.seal.manifest import digest_of, parse_manifest

PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "https://sekisho.dev/attestations/sealed-model/v1"
MAX_STATEMENT_BYTES: Final = MAX_MANIFEST_BYTES + 64 * 1024
MAX_SIGNATURES: Final = 16
MAX_SIGNATURE_BYTES: Final = 256
MAX_CERTIFICATES: Final = 4
MAX_CERTIFICATE_BYTES: Final = 8 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """One signature; nobody has checked it yet.

    Attributes:
        key_id: Which key made it, as the signer says; a hint, nothing more.
        value: Ed25519: 64 bytes. ECDSA: DER.
        certificates: DER, the signer's own first, then those between it and the root; none for a bare key.
    """

    key_id: str
    value: bytes
    certificates: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Envelope:
    """What was signed, and by which signatures; unverified."""

    payload: bytes
    signatures: tuple[Signature, ...]


def encode_statement(manifest: SealedManifest, *, digest: str) -> bytes:
    """Spell the statement on a manifest: its digest, then that of every plaintext file, in the manifest's order."""
    model = manifest.model
    files = [(file.path, file.digest) for file in manifest.files]
    subjects = [(MANIFEST_NAME, digest), *files]
    predicate = {
        "format": FORMAT,
        "formatVersion": FORMAT_VERSION,
        "model": {"class": model.data_class, "name": model.name, "version": model.version},
        "table": {"digest": manifest.table.digest, "size": manifest.table.size},
    }
    return spell_statement(PREDICATE_TYPE, predicate, subjects)


def spell_statement(predicate_type: str, predicate: dict[str, Any], subjects: Sequence[tuple[str, str]]) -> bytes:
    """Spell an in-toto Statement v1; digests are "sha256:" and 64 hexadecimal digits."""
    return encode_canonical(
        {
            "_type": STATEMENT_TYPE,
            "predicate": predicate,
            "predicateType": predicate_type,
            "subject": [{"digest": {"sha256": digest[7:]}, "name": name} for name, digest in subjects],
        }
    )


def check_statement(payload: bytes, manifest: bytes) -> SealedManifest:
    """Check that a statement, whose signature holds, is the one on this manifest; return the manifest.

    Raises:
        RefusedError: The statement is of another kind, on another manifest, or says anything else about it.
    """
    value = parse_canonical(payload, name="the signed statement", max_bytes=MAX_STATEMENT_BYTES)
    kind, subjects, digest = value.get("predicateType"), value.get("subject"), digest_of(manifest)
    if kind != PREDICATE_TYPE:
        raise _invalid(f"what was signed is a {str(kind)[:128]}, a {PREDICATE_TYPE} is needed; sign the sealed folder")
    first = {"digest": {"sha256": digest[7:]}, "name": MANIFEST_NAME}
    if not isinstance(subjects, list) or subjects[:1] != [first]:
        raise _invalid(f"what was signed is not this {MANIFEST_NAME}, whose digest is {digest}; fetch the model again")
    parsed = parse_manifest(manifest)
    if encode_statement(parsed, digest=digest) != payload:
        raise _invalid(f"what was signed says something else than {MANIFEST_NAME} {digest}; sign the folder anew")
    return parsed


def encode_pae(payload: bytes) -> bytes:
    """Spell what the key signs: DSSE's pre-authentication encoding, version 1."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def encode_signatures(envelope: Envelope) -> bytes:
    """Spell the content of `sekisho.sig.json`.

    Raises:
        RefusedError: No signature, too many, or a part too long, so `parse_signatures` would refuse it.
    """
    value = {
        "payload": base64.b64encode(envelope.payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [spell_signature(signature) for signature in envelope.signatures],
    }
    data = encode_canonical(value)
    parse_signatures(data)
    return data


def parse_signatures(data: bytes) -> Envelope:
    """Read the content of `sekisho.sig.json` strictly; no signature is checked.

    Raises:
        RefusedError: Not canonical, a field unknown, missing or out of bounds.
    """
    value = parse_canonical(data, name=SIGNATURES_NAME, max_bytes=MAX_SIGNATURES_BYTES)
    fields = Fields.of(value, name=SIGNATURES_NAME, known=("payload", "payloadType", "signatures"))
    if value["payloadType"] != PAYLOAD_TYPE:
        raise fields.refuse("payloadType", f"is not {PAYLOAD_TYPE}")
    signatures = fields.items("signatures", read_signature, most=MAX_SIGNATURES)
    if not signatures:
        raise fields.refuse("signatures", "is empty")
    return Envelope(fields.base64("payload", most=MAX_STATEMENT_BYTES), signatures)


def spell_signature(signature: Signature) -> dict[str, Any]:
    """Spell one signature as it stands in an envelope."""
    certificates = [base64.b64encode(certificate).decode() for certificate in signature.certificates]
    value = {"keyid": signature.key_id, "sig": base64.b64encode(signature.value).decode()}
    return value | ({"certificates": certificates} if certificates else {})


def read_signature(value: object, name: str) -> Signature:
    """Read one signature strictly."""
    fields = Fields.of(value, name=name, known=("keyid", "sig"), optional=("certificates",))
    certificates: tuple[bytes, ...] = ()
    if "certificates" in fields.value:
        certificates = fields.items("certificates", _read_certificate, most=MAX_CERTIFICATES)
        if not certificates:
            raise fields.refuse("certificates", "is empty; a bare key leaves it out")
    return Signature(
        key_id=fields.text("keyid", pattern=DIGEST, most=71),
        value=fields.base64("sig", most=MAX_SIGNATURE_BYTES),
        certificates=certificates,
    )


def add_signature(envelope: Envelope | None, payload: bytes, signature: Signature) -> Envelope:
    """Add a signature; what the same key signed before gives way.

    Args:
        envelope: What is there already; its signatures stay as they are, unchecked.
        payload: The statement on the manifest.
        signature: Made over its DSSE encoding.

    Raises:
        RefusedError: The envelope is on another manifest; keeping its signatures would be of no use.
    """
    if envelope is None:
        return Envelope(payload, (signature,))
    if envelope.payload != payload:
        raise _invalid(f"{SIGNATURES_NAME} is there and signs another {MANIFEST_NAME}; remove it, then sign")
    others = tuple(other for other in envelope.signatures if other.key_id != signature.key_id)
    return Envelope(payload, (*others, signature))


def _read_certificate(value: object, name: str) -> bytes:
    owner, _, field = name.rpartition(".")
    return Fields(owner, {field: value}).base64(field, most=MAX_CERTIFICATE_BYTES)


def _invalid(text: str) -> RefusedError:
    return RefusedError(Reason.SIGNATURE_INVALID, text)
