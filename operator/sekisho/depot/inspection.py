"""Look at the weights of a Model where they come from: are they sealed, by whom signed, and is the artifact whole.

Only what is small is read: the manifest, its signatures, the wrapped key. That the rest is what the manifest names is
told by the listing, as far as the source states digests; the agent checks every byte before it is used.
"""

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sekisho.api.v1alpha1.model import Inspection
from sekisho.depot.settings import SourceEntry
from sekisho.depot.sources.listing import Listing, RemoteFile, Source, check_listing
from sekisho.depot.sources.opening import open_source
from sekisho.errors import Reason, RefusedError, SekishoError, UnavailableError
from sekisho.seal import verify
from sekisho.seal.facts import (
    BOM_NAME,
    KEY_NAME,
    MANIFEST_NAME,
    MAX_MANIFEST_BYTES,
    MAX_SIGNATURES_BYTES,
    SIGNATURES_NAME,
    TABLE_NAME,
    SealedManifest,
)
from sekisho.seal.keys import MAX_KEY_FILE_BYTES, WrappedKey, parse_wrapped
from sekisho.seal.trust import Signer, VerifiedManifest, verify_manifest

MAX_MESSAGE: Final = 1024
_MOST_BYTES: Final[Mapping[str, int]] = {
    MANIFEST_NAME: MAX_MANIFEST_BYTES, SIGNATURES_NAME: MAX_SIGNATURES_BYTES, KEY_NAME: MAX_KEY_FILE_BYTES,
}  # fmt: skip
_MOST_SECONDS: Final = 120.0
_MAX_FINDINGS: Final = 8
_MAX_TEXT: Final = 256


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be looked at, and by whose word.

    Attributes:
        digest: What the artifact must be; None where the Model states none.
        signers: Digest of the signers against whom it is checked.
        namespace: Of the Model that asks.
    """

    uri: str
    digest: str | None
    signers: str
    namespace: str


async def inspect_source(
    question: Question, entry: SourceEntry, signers: Callable[[], Sequence[Signer]], *, most_bytes: int
) -> Inspection:
    """Return what is there; a sealed model that does not hold comes back as a refusal.

    Args:
        question: What to look at.
        entry: The configured source that it belongs to.
        signers: Reads whom the policy trusts.
        most_bytes: Largest size that is accepted of all files together.

    Raises:
        SekishoError: The source cannot be read, now or at all; nothing is known of the weights.
    """
    try:
        async with asyncio.timeout(_MOST_SECONDS), open_source(question.uri, entry, expected=question.digest) as source:
            listing = await source.list_files()
            files = {item.path: item for item in check_listing(listing.files, limit_bytes=most_bytes, uri=question.uri)}
            if MANIFEST_NAME not in files:
                return _report(question, listing, {})
            try:
                blobs = {name: await _read(source, files[name]) for name in _MOST_BYTES if name in files}
                facts = await asyncio.to_thread(_verify, blobs, files, signers)
            except RefusedError as error:
                if error.reason in _OF_THE_SOURCE:
                    raise
                return _report(question, listing, {"sealed": True, "refusal": spell_refusal(error)})
            return _report(question, listing, facts)
    except TimeoutError as error:
        raise UnavailableError(
            Reason.SOURCE_UNREACHABLE, f"{question.uri} was not read within {_MOST_SECONDS:.0f} s"
        ) from error


_OF_THE_SOURCE: Final = frozenset({
    Reason.SOURCE_DENIED, Reason.SOURCE_NOT_FOUND, Reason.SOURCE_INVALID, Reason.SOURCE_NOT_ALLOWED,
    Reason.CREDENTIALS_MISSING,
})  # fmt: skip


def refuse_source(question: Question, error: SekishoError, *, data_class: str | None = None) -> Inspection:
    """Return the inspection of a source that could not be read.

    Args:
        question: What was to be looked at.
        error: Why it could not.
        data_class: Class of the seal that was last read there: what still runs of it loses none of its class.
    """
    kept = {"class": data_class} if data_class is not None else {}
    return _report(question, Listing(None, ()), {"refusal": spell_refusal(error), **kept})


def spell_refusal(error: SekishoError) -> dict[str, str]:
    """Spell why something was refused."""
    return {"reason": error.reason.value, "message": error.message[:MAX_MESSAGE]}


def _report(question: Question, listing: Listing, facts: Mapping[str, Any]) -> Inspection:
    return Inspection.model_validate(
        {
            "uri": question.uri,
            "policyDigest": question.signers,
            "inspectedAt": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "artifactDigest": listing.digest,
            **facts,
        }
    )


async def _read(source: Source, file: RemoteFile) -> bytes:
    """Read one small file whole; the source does not check digests by itself."""
    most = _MOST_BYTES[file.path]
    if file.size > most:
        raise RefusedError(Reason.SEAL_INVALID, f"{file.path} has {file.size} bytes, {most} are allowed")
    data = bytearray()
    async with aclosing(source.read(file, 0)) as chunks:
        async for chunk in chunks:
            data += chunk
            if len(data) > file.size:
                raise RefusedError(Reason.SEAL_INVALID, f"{file.path} is longer than the {file.size} bytes stated")
    if len(data) != file.size:
        raise UnavailableError(
            Reason.SOURCE_UNREACHABLE, f"{file.path} broke off after {len(data)} of {file.size} bytes"
        )
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    if file.digest is not None and digest != file.digest:
        raise RefusedError(Reason.DIGEST_MISMATCH, f"{file.path} has digest {digest}, the artifact says {file.digest}")
    return bytes(data)


def _verify(
    blobs: Mapping[str, bytes], files: Mapping[str, RemoteFile], signers: Callable[[], Sequence[Signer]]
) -> dict[str, Any]:
    """Verify signatures first, then that the artifact holds what the signed manifest names and nothing else."""
    verified = verify_manifest(blobs[MANIFEST_NAME], blobs.get(SIGNATURES_NAME), signers(), at=datetime.now(UTC))
    verify.check_listing(verified.manifest, {path: file.size for path, file in files.items()})
    _check_digests(verified.manifest, files)
    if KEY_NAME not in blobs:
        raise RefusedError(
            Reason.SEAL_BROKEN, f"{KEY_NAME} is missing, so nothing could be unsealed; push the model whole"
        )
    return _spell(verified, parse_wrapped(blobs[KEY_NAME]))


def _check_digests(manifest: SealedManifest, files: Mapping[str, RemoteFile]) -> None:
    expected = {file.stored_as: file.ciphertext.digest for file in manifest.files}
    expected[TABLE_NAME] = manifest.table.digest
    if manifest.bom is not None:
        expected[BOM_NAME] = manifest.bom.digest
    for path, digest in expected.items():
        if files[path].digest not in (None, digest):
            raise RefusedError(
                Reason.SEAL_BROKEN,
                f'"{path}" has digest {files[path].digest}, the manifest says {digest}; push the model again',
            )


def _spell(verified: VerifiedManifest, key: WrappedKey) -> dict[str, Any]:
    manifest, scan = verified.manifest, verified.manifest.scan
    facts: dict[str, Any] = {
        "sealed": True,
        "manifestDigest": verified.digest,
        "model": manifest.model.name,
        "version": manifest.model.version,
        "class": manifest.model.data_class,
        "kms": key.kms,
        "keyId": key.key_id,
        "keyVersion": key.key_version,
        "sizeBytes": sum(file.size for file in manifest.files),
        "signedBy": sorted(verified.signed_by),
        "evaluations": list(manifest.declared.get("evaluations", ())),
    }
    if scan is not None:
        findings = [item[:_MAX_TEXT] for item in scan.findings[:_MAX_FINDINGS]]
        facts["scan"] = {"result": scan.result, "scanner": scan.scanner, "at": scan.at, "findings": findings}
    return facts
