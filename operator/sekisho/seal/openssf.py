"""Signatures in the format of OpenSSF model signing 1.0 (the library `model-signing`): made and checked without it.

They speak of plaintext only, file by file; they are bound to a sealed model by the digests in its manifest.
docs/reference/sealed-format.md says what is taken and what is not.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sekisho.errors import Reason, RefusedError
from sekisho.seal.facts import SealedManifest
from sekisho.seal.manifest import digest_of
from sekisho.seal.publickey import PublicKey
from sekisho.seal.signers import Signer, find_signers
from sekisho.seal.statement import MAX_CERTIFICATE_BYTES, MAX_SIGNATURE_BYTES, PAYLOAD_TYPE, STATEMENT_TYPE, Signature

BUNDLE_TYPE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
PREDICATE_TYPE: Final = "https://model_signing/signature/v1.0"
MAX_BUNDLE_BYTES: Final = 8 * 1024 * 1024
MAX_CHAIN: Final = 5
IGNORED: Final = (".cache", ".DS_Store", ".git", ".gitattributes", ".gitignore")
_MOST_TOLD: Final = 3


def encode_openssf_payload(manifest: SealedManifest) -> bytes:
    """Spell the statement of OpenSSF model signing on the plaintext of a manifest."""
    files = sorted((file.path.split("/"), file) for file in manifest.files)
    root = hashlib.sha256(b"".join(bytes.fromhex(file.digest[7:]) for _, file in files))
    value = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": manifest.model.name, "digest": {"sha256": root.hexdigest()}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "serialization": {
                "method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": list(IGNORED)
            },
            "resources": [
                {"name": file.path, "algorithm": "sha256", "digest": file.digest[7:]} for _, file in files
            ],
        },
    }  # fmt: skip
    return json.dumps(value, ensure_ascii=False).encode()


def encode_bundle(payload: bytes, signature: Signature, key: PublicKey) -> bytes:
    """Spell a bundle that `model_signing verify` reads; the key must be one on a curve, the library knows no other."""
    material: dict[str, Any] = {"tlogEntries": []}
    if signature.certificates:
        chain = [{"rawBytes": base64.b64encode(certificate).decode()} for certificate in signature.certificates]
        material["x509CertificateChain"] = {"certificates": chain}
    else:
        material["publicKey"] = {"hint": _hint_of(key)}
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [{"sig": base64.b64encode(signature.value).decode(), "keyid": ""}],
    }
    value = {"mediaType": BUNDLE_TYPE, "verificationMaterial": material, "dsseEnvelope": envelope}
    return json.dumps(value).encode()


def verify_bundle_signature(bundle: bytes, signers: Sequence[Signer], *, at: datetime) -> tuple[bytes, frozenset[str]]:
    """Verify who signed a bundle; what it says is not read.

    Args:
        bundle: Content of `model.sig`.
        signers: Whom the policy trusts.
        at: Aware time for which certificates must be valid.

    Returns:
        The signed payload, and the names of the signers.

    Raises:
        RefusedError: SealInvalid, SignatureInvalid, SignerNotTrusted.
    """
    value = _parse(bundle, "the bundle")
    if value.get("mediaType") != BUNDLE_TYPE:
        raise _refuse(f"the bundle is of type {str(value.get('mediaType'))[:128]}, {BUNDLE_TYPE} is needed")
    envelope = _object(value.get("dsseEnvelope"), "dsseEnvelope")
    signatures = envelope.get("signatures")
    if envelope.get("payloadType") != PAYLOAD_TYPE or not isinstance(signatures, list) or len(signatures) != 1:
        raise _refuse(f"the bundle's envelope does not hold one signature over {PAYLOAD_TYPE}")
    payload = _base64(envelope.get("payload"), "payload", most=MAX_BUNDLE_BYTES)
    sig = _base64(_object(signatures[0], "signature").get("sig"), "sig", most=MAX_SIGNATURE_BYTES)
    signature = _read_material(_object(value.get("verificationMaterial"), "verificationMaterial"), sig, signers)
    return payload, find_signers(payload, (signature,), signers, at=at)


def check_payload(payload: bytes, manifest: SealedManifest, *, bundle: bytes) -> None:
    """Check that a payload, whose signature holds, names exactly the plaintext of a manifest.

    Args:
        payload: As `verify_bundle_signature` returned it.
        manifest: Of the sealed model.
        bundle: Content of `model.sig`; a file of the model with this content may be left unnamed, no other.

    Raises:
        RefusedError: SignatureInvalid; another kind of statement or hashing, or a file that is missing, changed or
            not named.
    """
    named = _read_resources(_parse(payload, "the signed statement"))
    files = {file.path: file.digest for file in manifest.files}
    own = digest_of(bundle)
    extra = sorted(path for path, digest in files.items() if path not in named and digest != own)
    missing = sorted(set(named) - set(files))
    changed = sorted(path for path, digest in named.items() if path in files and files[path] != digest)
    for what, paths in (("not named", extra), ("named but not there", missing), ("other than signed", changed)):
        if paths:
            told = ", ".join(f'"{path[:128]}"' for path in paths[:_MOST_TOLD])
            raise _invalid(
                f"{len(paths)} files of the model are {what}: {told}; sign this very folder with model_signing"
            )


def _read_resources(value: Mapping[str, Any]) -> dict[str, str]:
    kind = value.get("predicateType")
    if value.get("_type") != STATEMENT_TYPE or kind != PREDICATE_TYPE:
        raise _invalid(f"what was signed is a {str(kind)[:128]}, a {PREDICATE_TYPE} is needed")
    predicate = _object(value.get("predicate"), "predicate")
    hashing = _object(predicate.get("serialization"), "serialization")
    method, algorithm = hashing.get("method"), hashing.get("hash_type")
    if method != "files" or algorithm != "sha256":
        raise _invalid(
            f"the model was hashed by {str(method)[:32]} with {str(algorithm)[:32]}, which no digest of a manifest "
            "can be compared with; sign with whole files and sha256, the default of model_signing"
        )
    resources = predicate.get("resources")
    if not isinstance(resources, list):
        raise _invalid("the signed statement lists no resources")
    named = {}
    root = hashlib.sha256()
    for item in resources:
        resource = _object(item, "resource")
        name, digest = resource.get("name"), resource.get("digest")
        if (
            not isinstance(name, str)
            or not _is_digest(digest)
            or resource.get("algorithm") != "sha256"
            or name in named
        ):
            raise _invalid("a resource of the signed statement is misspelt or there twice")
        named[name] = f"sha256:{digest}"
        root.update(bytes.fromhex(str(digest)))
    subjects = value.get("subject")
    if not isinstance(subjects, list) or len(subjects) != 1:
        raise _invalid("the signed statement has not one subject")
    if _object(_object(subjects[0], "subject").get("digest"), "digest").get("sha256") != root.hexdigest():
        raise _invalid("the resources of the signed statement do not come to the digest of its subject")
    return named


def _read_material(material: Mapping[str, Any], sig: bytes, signers: Sequence[Signer]) -> Signature:
    if material.get("tlogEntries") or "certificate" in material:
        raise _refuse(
            "the bundle was signed by way of a transparency log, which cannot be checked offline; sign with a key or "
            "with certificates of your own authority"
        )
    if "x509CertificateChain" in material:
        items = _object(material["x509CertificateChain"], "x509CertificateChain").get("certificates")
        if not isinstance(items, list) or not 1 <= len(items) <= MAX_CHAIN:
            raise _refuse(f"the bundle does not hold 1 to {MAX_CHAIN} certificates")
        chain = tuple(
            _base64(_object(item, "certificate").get("rawBytes"), "rawBytes", most=MAX_CERTIFICATE_BYTES)
            for item in items
        )
        return Signature(key_id=digest_of(chain[0]), value=sig, certificates=chain)
    hint = str(_object(material.get("publicKey"), "publicKey").get("hint"))[:64]
    known = [key.key_id for signer in signers for key in signer.keys if _hint_of(key) == hint]
    return Signature(key_id=known[0] if known else f"with hint {hint}", value=sig)


def _hint_of(key: PublicKey) -> str:
    pem = key.key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(pem).hexdigest()


def _parse(data: bytes, name: str) -> dict[str, Any]:
    if len(data) > MAX_BUNDLE_BYTES:
        raise _refuse(f"{name} has {len(data)} bytes, {MAX_BUNDLE_BYTES} are allowed")
    try:
        return _object(json.loads(data.decode(), object_pairs_hook=_once), name)
    except (ValueError, RecursionError) as error:
        raise _refuse(f"{name} is not JSON with each key once") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError
    return value


def _object(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _refuse(f"bundle: {name} is no object")
    return value


def _base64(value: object, name: str, *, most: int) -> bytes:
    try:
        data = base64.b64decode(value if isinstance(value, str) else "?", validate=True)
    except (binascii.Error, ValueError) as error:
        raise _refuse(f"bundle: {name} is not base64") from error
    if not 1 <= len(data) <= most:
        raise _refuse(f"bundle: {name} has {len(data)} bytes, 1 to {most} are allowed")
    return data


def _is_digest(value: object) -> bool:
    return isinstance(value, str) and len(value) == 64 and not set(value) - set("0123456789abcdef")


def _refuse(text: str) -> RefusedError:
    return RefusedError(Reason.SEAL_INVALID, text)


def _invalid(text: str) -> RefusedError:
    return RefusedError(Reason.SIGNATURE_INVALID, text)
