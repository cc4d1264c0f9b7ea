"""Read the parts of a sealed model and hold them against what was accepted, before a key is asked for."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from sekisho.agent.config import SealedConfig
from sekisho.agent.transport import ServerAccess, open_blob
from sekisho.agent.volume import PARTIAL_FOLDER
from sekisho.agent.weights import WeightFile, WeightList
from sekisho.errors import Reason, RefusedError, UnavailableError
from sekisho.seal.facts import KEY_NAME, MANIFEST_NAME, MAX_MANIFEST_BYTES, MAX_TABLE_BYTES, TABLE_NAME, SealedManifest
from sekisho.seal.keys import MAX_KEY_FILE_BYTES, WrappedKey, parse_wrapped
from sekisho.seal.manifest import digest_of, parse_manifest
from sekisho.seal.table import SegmentTable
from sekisho.seal.verify import check_listing


@dataclass(frozen=True, slots=True)
class Artifact:
    """A sealed model that is the accepted one, complete at the depot, and not opened yet.

    Attributes:
        manifest: The one whose digest was verified with its signatures.
        table: Its table.
        manifest_digest: Its digest.
        key_file: Content of sekisho.key.json, for the release of keys.
        blobs: Every blob by its name in the sealed folder.
    """

    manifest: SealedManifest
    manifest_digest: str
    table: SegmentTable
    key_file: bytes
    blobs: Mapping[str, WeightFile]


def read_artifact(access: ServerAccess, listing: WeightList, told: SealedConfig) -> Artifact:
    """Read and check everything but the ciphertext itself.

    Args:
        access: The depot.
        listing: What the depot has of the artifact.
        told: What was accepted.

    Raises:
        RefusedError: The artifact is plain, another one than was accepted, or not whole.
        UnavailableError: A part of it broke off; the call may be repeated.
    """
    blobs = {file.path: file for file in listing.files}
    if MANIFEST_NAME not in blobs:
        raise RefusedError(
            Reason.NOT_SEALED,
            f"the artifact has no {MANIFEST_NAME} among its {len(blobs)} files, so it is not sealed; this service "
            "loads sealed weights alone: run sekisho seal and push what it makes",
        )
    manifest = check_manifest(_read_small(access, blobs, MANIFEST_NAME, most=MAX_MANIFEST_BYTES), told)
    check_listing(manifest, {path: file.size for path, file in blobs.items()})
    _check_blobs(manifest, blobs)
    if KEY_NAME not in blobs:
        raise RefusedError(
            Reason.SEAL_BROKEN, f"the artifact has no {KEY_NAME}, so no key can be asked for; push it with the weights"
        )
    key_file = _read_small(access, blobs, KEY_NAME, most=MAX_KEY_FILE_BYTES)
    check_wrapped(parse_wrapped(key_file), told)
    table = SegmentTable.parse(_read_small(access, blobs, TABLE_NAME, most=MAX_TABLE_BYTES), manifest)
    return Artifact(manifest, told.manifest_digest, table, key_file, blobs)


def check_manifest(data: bytes, told: SealedConfig) -> SealedManifest:
    """Take a manifest as verified where it is, byte for byte, the one that was.

    Raises:
        RefusedError: VersionRolledBack for an older one, ClassMismatch, SealBroken for any other.
    """
    found = digest_of(data)
    manifest: SealedManifest = parse_manifest(data)
    model = manifest.model
    if model.name == told.model and model.version < told.version:
        raise RefusedError(
            Reason.VERSION_ROLLED_BACK,
            f'the artifact holds version {model.version} of model "{model.name}", version {told.version} was accepted: '
            "seal the older weights anew under a higher version if they shall be served again",
        )
    if model.data_class != told.data_class:
        raise RefusedError(
            Reason.CLASS_MISMATCH,
            f'the artifact is sealed for class "{model.data_class}", "{told.data_class}" was accepted; seal it anew '
            "for the class it shall be served in",
        )
    if found != told.manifest_digest or (model.name, model.version) != (told.model, told.version):
        raise RefusedError(
            Reason.SEAL_BROKEN,
            f'{MANIFEST_NAME} is of model "{model.name}" version {model.version} with digest {found}; accepted was '
            f'"{told.model}" version {told.version}, {told.manifest_digest}: it was changed after its signatures were '
            "checked; push the accepted artifact, or wait until the Model is inspected anew",
        )
    for file in manifest.files:
        if file.path.split("/")[0] == PARTIAL_FOLDER:
            raise RefusedError(
                Reason.SEAL_INVALID, f'"{file.path}" lies where unsealing keeps half-written files; seal it elsewhere'
            )
    return manifest


def check_wrapped(wrapped: WrappedKey, told: SealedConfig) -> None:
    """Check that the data key was wrapped by the key service and the key that the model was accepted with.

    Raises:
        RefusedError: KeyMismatch.
    """
    if (wrapped.kms, wrapped.key_id) != (told.kms, told.key_id):
        raise RefusedError(
            Reason.KEY_MISMATCH,
            f'{KEY_NAME} names key "{wrapped.key_id[:256]}" of {wrapped.kms}; accepted was "{told.key_id[:256]}" of '
            f"{told.kms}: put the accepted {KEY_NAME} back, or wait until the Model is inspected anew",
        )


def _check_blobs(manifest: SealedManifest, blobs: Mapping[str, WeightFile]) -> None:
    for file in manifest.files:
        found = blobs[file.stored_as].digest
        if found != file.ciphertext.digest:
            raise RefusedError(
                Reason.SEAL_BROKEN,
                f'"{file.stored_as}" has digest {found}, the manifest says {file.ciphertext.digest}; push it again',
            )


def _read_small(access: ServerAccess, blobs: Mapping[str, WeightFile], name: str, *, most: int) -> bytes:
    blob = blobs[name]
    if blob.size > most:
        raise RefusedError(Reason.SEAL_INVALID, f"{name} has {blob.size} bytes, {most} are allowed")
    with open_blob(access, blob.digest, offset=0) as response:
        data = response.read(blob.size + 1)
    if len(data) != blob.size or f"sha256:{hashlib.sha256(data).hexdigest()}" != blob.digest:
        raise UnavailableError(
            Reason.DIGEST_MISMATCH, f"{name} came with {len(data)} bytes that are not the {blob.size} of {blob.digest}"
        )
    return data
