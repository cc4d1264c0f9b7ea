"""Verify who signed a sealed model, and who approved it, against the signers that a policy names; pure.

The caller brings the bytes, the signers and the time. Nothing of a manifest is believed before its signature holds.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sekisho.errors import Reason, RefusedError
from sekisho.seal.canonical import encode_canonical, parse_canonical
from sekisho.seal.certificates import Authority
from sekisho.seal.facts import MANIFEST_NAME, SIGNATURES_NAME, SealedManifest
from sekisho.seal.fields import DIGEST, WORD, Fields
from sekisho.seal.manifest import digest_of
from sekisho.seal.publickey import PublicKey
from sekisho.seal.signers import Signer, SignerText, find_signers, parse_signers
from sekisho.seal.statement import (
    Signature,
    check_statement,
    parse_signatures,
    read_signature,
    spell_signature,
    spell_statement,
)

__all__ = [
    "MAX_APPROVAL_BYTES",
    "Approval",
    "Authority",
    "PublicKey",
    "Signer",
    "SignerText",
    "VerifiedManifest",
    "encode_approval_signature",
    "encode_approval_statement",
    "parse_signers",
    "verify_approval",
    "verify_manifest",
]

APPROVAL_TYPE: Final = "https://sekisho.dev/attestations/approval/v1"
MAX_APPROVAL_BYTES: Final = 12 * 1024
_CLOCKS_APART: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class VerifiedManifest:
    """A manifest that at least one trusted signer signed.

    Attributes:
        digest: Of the bytes of `sekisho.json`.
        signed_by: Names of the policy's signers whose signatures hold.
    """

    manifest: SealedManifest
    digest: str
    signed_by: frozenset[str]


@dataclass(frozen=True, slots=True)
class Approval:
    """Say that somebody in a role approved a model; unverified.

    Attributes:
        role: Name of the policy's signer whose key or certificate signed.
        by: Who, in words; covered by the signature.
        at: When, RFC 3339 UTC in whole seconds; covered by the signature.
        signature: Base64 of the canonical JSON of one DSSE signature, {"keyid", "sig"} and perhaps "certificates":
            some 250 characters for a key, some thousands with certificates, at most 16384.
    """

    role: str
    by: str
    at: str
    signature: str


def verify_manifest(
    manifest: bytes, signatures: bytes | None, signers: Sequence[Signer], *, at: datetime
) -> VerifiedManifest:
    """Verify that a trusted signer signed exactly this manifest.

    Args:
        manifest: Content of `sekisho.json`.
        signatures: Content of `sekisho.sig.json`; None where there is none.
        signers: Whom the policy trusts; nobody where it is empty.
        at: Aware time for which certificates must be valid.

    Raises:
        RefusedError: SignatureMissing, SignerNotTrusted, SignatureInvalid, or SealInvalid where a file is misspelt.
    """
    if signatures is None:
        raise RefusedError(
            Reason.SIGNATURE_MISSING, f"there is no {SIGNATURES_NAME}; have the owner sign the model: sekisho sign"
        )
    envelope = parse_signatures(signatures)
    signed_by = find_signers(envelope.payload, envelope.signatures, signers, at=at)
    parsed = check_statement(envelope.payload, manifest)
    return VerifiedManifest(parsed, digest_of(manifest), signed_by)


def encode_approval_statement(manifest_digest: str, role: str, by: str, at: str) -> bytes:
    """Spell the statement that an approval signs, by DSSE's encoding of it.

    Raises:
        RefusedError: SealInvalid; a part is misspelt or too long.
    """
    value: dict[str, Any] = {"at": at, "by": by, "digest": manifest_digest, "role": role}
    fields = Fields.of(value, name="the approval", known=("at", "by", "digest", "role"))
    predicate = {"at": fields.time("at"), "by": fields.text("by", most=256), "role": fields.text("role", pattern=WORD)}
    subjects = [(MANIFEST_NAME, fields.text("digest", pattern=DIGEST, most=71))]
    return spell_statement(APPROVAL_TYPE, predicate, subjects)


def encode_approval_signature(signature: Signature) -> str:
    """Spell `Approval.signature`."""
    return base64.b64encode(encode_canonical(spell_signature(signature))).decode()


def verify_approval(approval: Approval, *, manifest_digest: str, signers: Sequence[Signer], at: datetime) -> None:
    """Verify that the role's own signer approved the manifest of this digest.

    Args:
        approval: As the cluster keeps it.
        manifest_digest: Of the verified `sekisho.json`.
        signers: Of the policy; the one whose name is the role counts, no other.
        at: Aware time for which certificates must be valid, and before which the approval must have been given.

    Raises:
        RefusedError: ApprovalMissing where it is dated later than now; SignerNotTrusted, SignatureInvalid, SealInvalid.
    """
    statement = encode_approval_statement(manifest_digest, approval.role, approval.by, approval.at)
    if datetime.fromisoformat(approval.at) > at + _CLOCKS_APART:
        raise RefusedError(
            Reason.APPROVAL_MISSING, f'the approval of "{approval.role}" is dated {approval.at}, which is still to come'
        )
    own = [signer for signer in signers if signer.name == approval.role]
    if not own:
        raise RefusedError(
            Reason.SIGNER_NOT_TRUSTED, f'the policy has no signer "{approval.role}", so nobody can approve in that role'
        )
    signature = _parse_signature(approval.signature)
    try:
        find_signers(statement, (signature,), own, at=at)
    except RefusedError as error:
        raise RefusedError(
            error.reason, f'the approval of "{approval.role}" does not hold for {manifest_digest}: {error.message}'
        ) from error


def _parse_signature(text: str) -> Signature:
    fields = Fields("the approval", {"signature": text})
    data = fields.base64("signature", most=MAX_APPROVAL_BYTES)
    name = "the approval's signature"
    return read_signature(parse_canonical(data, name=name, max_bytes=MAX_APPROVAL_BYTES), name)
