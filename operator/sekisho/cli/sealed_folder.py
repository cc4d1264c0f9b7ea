"""Read, verify and rewrap a sealed folder; plaintext is never written."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sekisho.cli.failures import refuse
from sekisho.cli.progress import Meter
from sekisho.cli.sealing import HASH_CHUNK, hash_file, write_whole
from sekisho.errors import Reason, RefusedError
from sekisho.kms.service import KeyService
from sekisho.seal.facts import (
    BOM_NAME,
    FILES_FOLDER,
    KEY_NAME,
    MANIFEST_NAME,
    MAX_BOM_BYTES,
    MAX_MANIFEST_BYTES,
    MAX_TABLE_BYTES,
    SIGNATURES_NAME,
    TABLE_NAME,
    SealedFile,
    SealedManifest,
)
from sekisho.seal.keys import (
    MAX_KEY_FILE_BYTES,
    KeyContext,
    WrappedKey,
    check_commitment,
    encode_wrapped,
    parse_wrapped,
)
from sekisho.seal.manifest import UnverifiedManifest, digest_of, parse_manifest
from sekisho.seal.segments import SegmentOpener, derive_file_key
from sekisho.seal.table import Segment, SegmentTable

_SMALL: Final = frozenset({MANIFEST_NAME, KEY_NAME, SIGNATURES_NAME, TABLE_NAME, BOM_NAME})


@dataclass(frozen=True, slots=True)
class SealedFolder:
    """A sealed model on disk, parsed; nobody has vouched for it yet."""

    place: Path
    manifest: UnverifiedManifest
    digest: str
    wrapped: WrappedKey


def open_sealed(place: Path) -> SealedFolder:
    """Parse the manifest and the wrapped key of a folder.

    Raises:
        RefusedError: Not a sealed model, or one that breaks the format.
    """
    if not (place / MANIFEST_NAME).is_file():
        raise refuse(f"{place} holds no {MANIFEST_NAME}; seal the model first", reason=Reason.NOT_SEALED)
    data = read_bounded(place / MANIFEST_NAME, MAX_MANIFEST_BYTES)
    wrapped = parse_wrapped(read_bounded(place / KEY_NAME, MAX_KEY_FILE_BYTES))
    return SealedFolder(place, parse_manifest(data), digest_of(data), wrapped)


def read_bounded(place: Path, most: int) -> bytes:
    """Read a small file of a sealed folder."""
    if place.is_symlink() or not place.is_file():
        raise _broken(f"{place.name} is missing or no regular file")
    with place.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise refuse(f"{place.name} is larger than {most} bytes")
    return data


def check_files(folder: SealedFolder) -> SegmentTable:
    """Check names, sizes and the table: nothing missing, nothing that the manifest does not name.

    Raises:
        RefusedError: SealBroken, with the first file that differs.
    """
    place, manifest = folder.place, folder.manifest
    for file in manifest.files:
        blob = place / file.stored_as
        if blob.is_symlink() or not blob.is_file():
            raise _broken(f'{file.stored_as}, the ciphertext of "{file.path}", is missing or no regular file')
        if blob.stat().st_size != file.ciphertext.size:
            raise _broken(f"{file.stored_as} has {blob.stat().st_size} bytes, the manifest says {file.ciphertext.size}")
    known = {file.stored_as for file in manifest.files} | _SMALL | {FILES_FOLDER}
    if manifest.bom is None:
        known -= {BOM_NAME}
    elif digest_of(read_bounded(place / BOM_NAME, MAX_BOM_BYTES)) != manifest.bom.digest:
        raise _broken(f"{BOM_NAME} is not the one that the manifest names")
    for found in sorted(place.rglob("*")):
        name = found.relative_to(place).as_posix()
        if name not in known:
            raise _broken(f"{name} is there and the manifest does not name it; remove it, or seal the model again")
    return SegmentTable.parse(read_bounded(place / TABLE_NAME, MAX_TABLE_BYTES), manifest)


def verify_digests(folder: SealedFolder, *, meter: Meter) -> None:
    """Check the digest of every ciphertext; needs no key."""
    check_files(folder)
    meter.start("verifying digests", sum(file.size for file in folder.manifest.files))
    try:
        for file in folder.manifest.files:
            digest = hash_file(folder.place / file.stored_as)
            if digest != file.ciphertext.digest:
                raise _broken(
                    f'{file.stored_as} ("{file.path}") has {digest}, the manifest says {file.ciphertext.digest}'
                )
            meter.advance(file.size)
    finally:
        meter.finish()


def verify_tags(folder: SealedFolder, data_key: bytes, *, meter: Meter) -> None:
    """Open every segment of every file in memory and let go of it."""
    table = check_files(folder)
    check_commitment(data_key, folder.manifest.commitment)
    meter.start("verifying tags", sum(file.size for file in folder.manifest.files))
    scratch = bytearray(HASH_CHUNK)
    try:
        for index, file in enumerate(folder.manifest.files):
            _open_all(folder, file, table.segments(index), data_key=data_key, scratch=scratch, meter=meter)
    finally:
        scratch[:] = bytes(len(scratch))
        meter.finish()


def _open_all(
    folder: SealedFolder,
    file: SealedFile,
    segments: tuple[Segment, ...],
    *,
    data_key: bytes,
    scratch: bytearray,
    meter: Meter,
) -> None:
    key = derive_file_key(data_key, folder.manifest.model, path=file.path, salt=file.salt)
    opener = SegmentOpener(key, file.segments, name=f'"{file.path}"')
    with (folder.place / file.stored_as).open("rb") as blob:
        for segment in segments:
            sealed = blob.read(segment.length) + segment.tag
            opener.open_into(segment.index, sealed, memoryview(scratch)[: segment.length])
            meter.advance(segment.length)


def unwrap_key(folder: SealedFolder, keys: KeyService) -> bytes:
    """Have the key service open the data key; secret."""
    return keys.unwrap(folder.wrapped, context=KeyContext.of(folder.manifest.model))


def rewrap_key(folder: SealedFolder, keys: KeyService) -> tuple[WrappedKey, WrappedKey]:
    """Wrap the data key with the newest version of its key; manifest, signatures and weights stay as they are."""
    context = KeyContext.of(folder.manifest.model)
    fresh = keys.rewrap(folder.wrapped, context=context)
    check_commitment(keys.unwrap(fresh, context=context), folder.manifest.commitment)
    write_whole(folder.place / KEY_NAME, encode_wrapped(fresh))
    return folder.wrapped, fresh


def describe_sealed(folder: SealedFolder) -> dict[str, object]:
    """List what a sealed folder says of itself; no part of it is verified."""
    manifest: SealedManifest = folder.manifest
    return {
        "model": manifest.model.name, "version": manifest.model.version, "class": manifest.model.data_class,
        "digest": folder.digest, "sealedAt": manifest.sealed_at, "files": len(manifest.files),
        "bytes": sum(file.size for file in manifest.files), "segments": sum(f.segments for f in manifest.files),
        "key": {"kms": folder.wrapped.kms, "id": folder.wrapped.key_id, "version": folder.wrapped.key_version},
        "scan": manifest.scan.result if manifest.scan else None, "declared": dict(manifest.declared),
        "signatures": (folder.place / SIGNATURES_NAME).is_file(), "verified": False,
    }  # fmt: skip


def _broken(text: str) -> RefusedError:
    return RefusedError(Reason.SEAL_BROKEN, text)
