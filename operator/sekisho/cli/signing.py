"""Sign and approve sealed folders, and tell who did; only small files are read and written."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import yaml

from sekisho.cli.failures import refuse
from sekisho.cli.sealed_folder import read_bounded
from sekisho.cli.sealing import write_whole
from sekisho.cli.signing_keys import SigningKey, make_signature
from sekisho.errors import Reason, RefusedError
from sekisho.seal.facts import MANIFEST_NAME, MAX_MANIFEST_BYTES, MAX_SIGNATURES_BYTES, SIGNATURES_NAME, SealedManifest
from sekisho.seal.manifest import digest_of, parse_manifest
from sekisho.seal.openssf import (
    MAX_BUNDLE_BYTES,
    check_payload,
    encode_bundle,
    encode_openssf_payload,
    verify_bundle_signature,
)
from sekisho.seal.signers import Signer, find_signers, parse_signers, read_signer_texts
from sekisho.seal.statement import add_signature, encode_signatures, encode_statement, parse_signatures
from sekisho.seal.trust import (
    Approval,
    VerifiedManifest,
    encode_approval_signature,
    encode_approval_statement,
    verify_approval,
    verify_manifest,
)

_MAX_TRUST_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Signed:
    """What signing came to: the manifest's digest, the key's id, and how many signatures there are now."""

    digest: str
    key_id: str
    signatures: int


def read_trust(place: Path) -> tuple[Signer, ...]:
    """Read signers from YAML or JSON: a list, an object with `signers`, or a whole ClassificationPolicy.

    Raises:
        RefusedError: PolicyInvalid; none of these, or signers that cannot be used.
    """
    with place.open("rb") as file:
        data = file.read(_MAX_TRUST_BYTES + 1)
    if len(data) > _MAX_TRUST_BYTES:
        raise _invalid(f"{place} is larger than {_MAX_TRUST_BYTES} bytes")
    try:
        value = yaml.safe_load(data)
    except (yaml.YAMLError, RecursionError, UnicodeDecodeError) as error:
        raise _invalid(f"{place} is neither YAML nor JSON") from error
    if isinstance(value, dict) and value.get("kind") == "ClassificationPolicy":
        value = value.get("spec")
    if isinstance(value, dict):
        value = value.get("signers")
    if not value or not isinstance(value, list):
        raise _invalid(f"{place} names no signers; it holds a list, spec.signers of a policy, or the policy itself")
    return parse_signers(read_signer_texts(value))


def sign_folder(folder: Path, key: SigningKey, *, counting_as: Sequence[Signer] | None = None) -> Signed:
    """Add a signature to a sealed folder; one that this key made before gives way.

    Args:
        folder: Of the sealed model.
        key: Signs.
        counting_as: Signers as one of whom the signature must count before it is written; None to ask nobody.

    Raises:
        RefusedError: Not a sealed model, or signatures are there that are not on its manifest.
    """
    manifest = _read_manifest(folder)
    digest = digest_of(manifest)
    payload = encode_statement(parse_manifest(manifest), digest=digest)
    before = _read_signatures(folder)
    signature = make_signature(key, payload)
    if counting_as is not None:
        find_signers(payload, (signature,), counting_as, at=datetime.now(UTC))
    envelope = add_signature(parse_signatures(before) if before else None, payload, signature)
    write_whole(folder / SIGNATURES_NAME, encode_signatures(envelope))
    return Signed(digest, key.public.key_id, len(envelope.signatures))


def verify_signatures(folder: Path, signers: Sequence[Signer]) -> VerifiedManifest:
    """Verify who signed a sealed folder, now."""
    return verify_manifest(_read_manifest(folder), _read_signatures(folder), signers, at=datetime.now(UTC))


def list_signatures(folder: Path) -> list[dict[str, Any]]:
    """List the signatures of a folder as they name themselves; none is verified."""
    data = _read_signatures(folder)
    signatures = parse_signatures(data).signatures if data else ()
    return [{"keyId": one.key_id, "certificates": len(one.certificates)} for one in signatures]


def approve_folder(
    folder: Path, key: SigningKey, *, role: str, by: str, signers: Sequence[Signer] | None = None
) -> tuple[Approval, str]:
    """Sign an approval of a sealed folder's manifest; return it and the manifest's digest. Nothing is written.

    Args:
        folder: Of the sealed model.
        key: Signs.
        role: Name of a policy's signer.
        by: Who approves, in words.
        signers: Of that policy; the model must be signed by one of them, and the approval count. None to ask nobody.
    """
    if signers is None:
        manifest = _read_manifest(folder)
        parse_manifest(manifest)
        digest = digest_of(manifest)
    else:
        digest = verify_signatures(folder, signers).digest
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    signature = make_signature(key, encode_approval_statement(digest, role, by, at))
    approval = Approval(role, by, at, encode_approval_signature(signature))
    if signers is not None:
        verify_approval(approval, manifest_digest=digest, signers=signers, at=datetime.now(UTC))
    return approval, digest


def export_openssf(folder: Path, key: SigningKey, out: Path) -> None:
    """Write a signature on the plaintext in the format of OpenSSF model signing.

    Raises:
        RefusedError: A kind of key that the format does not know, a file that exists.
    """
    if not hasattr(key.public.key, "curve"):
        raise refuse(
            "OpenSSF model signing knows keys on P-256 and P-384 only; name such a key", reason=Reason.KEY_MISMATCH
        )
    payload = encode_openssf_payload(parse_manifest(_read_manifest(folder)))
    bundle = encode_bundle(payload, make_signature(key, payload), key.public)
    if out.resolve().is_relative_to(folder.resolve()):
        raise refuse(f"{out} is inside the sealed folder, which may hold nothing else; name a file elsewhere")
    write_whole(out, bundle)


@dataclass(frozen=True, slots=True)
class Vouched:
    """A signature of OpenSSF model signing that somebody trusted made; what it says is still to be compared."""

    bundle: bytes
    payload: bytes
    signed_by: frozenset[str]

    def check(self, manifest: SealedManifest) -> None:
        """Refuse a manifest whose plaintext is not what was signed."""
        check_payload(self.payload, manifest, bundle=self.bundle)


def read_openssf(place: Path, signers: Sequence[Signer]) -> Vouched:
    """Read a `model.sig` and verify who signed it, now.

    Raises:
        RefusedError: SealInvalid, SignatureInvalid, SignerNotTrusted.
    """
    with place.open("rb") as file:
        bundle = file.read(MAX_BUNDLE_BYTES + 1)
    payload, signed_by = verify_bundle_signature(bundle, signers, at=datetime.now(UTC))
    return Vouched(bundle, payload, signed_by)


def _read_manifest(folder: Path) -> bytes:
    if not (folder / MANIFEST_NAME).is_file():
        raise refuse(f"{folder} holds no {MANIFEST_NAME}; seal the model first", reason=Reason.NOT_SEALED)
    return read_bounded(folder / MANIFEST_NAME, MAX_MANIFEST_BYTES)


def _read_signatures(folder: Path) -> bytes | None:
    place = folder / SIGNATURES_NAME
    return read_bounded(place, MAX_SIGNATURES_BYTES) if os.path.lexists(place) else None


def _invalid(text: str) -> RefusedError:
    return RefusedError(Reason.POLICY_INVALID, text)
