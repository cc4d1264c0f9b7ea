"""Check that what lies in a folder, and the version of it, are what the manifest says; pure, the caller lists."""

from collections.abc import Mapping
from typing import Final

from sekisho.errors import Reason, RefusedError
from sekisho.seal.manifest import (
    BOM_NAME,
    KEY_NAME,
    MANIFEST_NAME,
    SIGNATURES_NAME,
    TABLE_NAME,
    BlobFacts,
    SealedManifest,
    digest_of,
)

_MOST_TOLD: Final = 5
_BESIDE: Final = frozenset({MANIFEST_NAME, KEY_NAME, SIGNATURES_NAME})


def check_version(manifest: SealedManifest, accepted_version: int) -> None:
    """Refuse a version lower than one that was accepted before.

    Args:
        manifest: Verified.
        accepted_version: The highest version of this model accepted so far; 0 where there was none.

    Raises:
        RefusedError: The manifest is older.
    """
    model = manifest.model
    if model.version < accepted_version:
        raise RefusedError(
            Reason.VERSION_ROLLED_BACK,
            f'model "{model.name}" is version {model.version}, version {accepted_version} was accepted before: '
            "seal the older weights anew under a higher version if they shall be served again",
        )


def check_listing(manifest: SealedManifest, listing: Mapping[str, int]) -> None:
    """Check that a sealed folder holds what the manifest names, in its size, and nothing else.

    Args:
        manifest: Verified.
        listing: Size in bytes of every file below the folder, by relative path.

    Raises:
        RefusedError: A file is missing, has another size, or is not in the manifest.
    """
    expected = {file.stored_as: file.ciphertext.size for file in manifest.files}
    expected[TABLE_NAME] = manifest.table.size
    if manifest.bom is not None:
        expected[BOM_NAME] = manifest.bom.size
    extra = sorted(set(listing) - set(expected) - _BESIDE)
    if extra:
        raise RefusedError(
            Reason.NOT_SEALED, f"{len(extra)} files are not in the manifest: {_tell(extra)}; remove them or seal anew"
        )
    missing = sorted((set(expected) | {MANIFEST_NAME}) - set(listing))
    if missing:
        raise RefusedError(
            Reason.SEAL_BROKEN, f"{len(missing)} files of the manifest are missing: {_tell(missing)}; fetch them again"
        )
    for path, size in expected.items():
        if listing[path] != size:
            raise RefusedError(
                Reason.SEAL_BROKEN, f'"{path}" has {listing[path]} bytes, the manifest says {size}; fetch it again'
            )


def check_blob(data: bytes, facts: BlobFacts, *, name: str) -> None:
    """Check that a small blob (the table, the bill of materials) is the one that the manifest names.

    Raises:
        RefusedError: Size or digest differ.
    """
    if len(data) != facts.size or (found := digest_of(data)) != facts.digest:
        raise RefusedError(
            Reason.SEAL_BROKEN,
            f'"{name}" has {len(data)} bytes'
            + (f" and digest {found}" if len(data) == facts.size else "")
            + f", the manifest says {facts.size} bytes and {facts.digest}; fetch it again",
        )


def _tell(paths: list[str]) -> str:
    names = ", ".join(f'"{path[:128]}"' for path in paths[:_MOST_TOLD])
    return names + (f" and {len(paths) - _MOST_TOLD} more" if len(paths) > _MOST_TOLD else "")
