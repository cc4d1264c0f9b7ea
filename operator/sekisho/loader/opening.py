"""Open a sealed folder whose manifest was verified: what lies there, its table, and whole files into memory."""

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.utils import Buffer

from sekisho.errors import Reason, RefusedError
from sekisho.loader.mapping import Region
from sekisho.loader.reading import Part, Read, Source, open_parts
from sekisho.seal.facts import FILES_FOLDER, MAX_FILES, TABLE_NAME, SealedFile, SealedManifest
from sekisho.seal.keys import check_commitment
from sekisho.seal.segments import SegmentOpener, derive_file_key
from sekisho.seal.table import Segment, SegmentTable
from sekisho.seal.verify import check_blob, check_listing

_MOST_BESIDE: Final = 16  # files of a sealed folder that are not ciphertext


@dataclass(frozen=True, slots=True)
class SealedModel:
    """A sealed folder that was checked as far as it can be without reading weights.

    Attributes:
        manifest: Verified by whoever opened the folder.
        keys: The file keys by path, secret; files without one cannot be opened.
        read: How ciphertext is read, as `os.preadv` does.
    """

    folder: Path
    manifest: SealedManifest
    table: SegmentTable
    keys: Mapping[str, bytes] = field(repr=False)
    read: Read = field(default=os.preadv, repr=False)

    def find(self, path: str) -> tuple[SealedFile, tuple[Segment, ...]]:
        """Return a file of the manifest and its segments.

        Raises:
            RefusedError: NotSealed, the manifest does not name it.
        """
        for index, file in enumerate(self.manifest.files):
            if file.path == path:
                return file, self.table.segments(index)
        raise RefusedError(
            Reason.NOT_SEALED, f'"{path[:128]}" is not in the manifest of model "{self.manifest.model.name}"'
        )


def derive_keys(data_key: bytes, manifest: SealedManifest, paths: Iterable[str] | None = None) -> dict[str, bytes]:
    """Derive the keys of files, by default of all.

    Raises:
        RefusedError: KeyMismatch, it is not the data key that the manifest commits to.
    """
    check_commitment(data_key, manifest.commitment)
    wanted = None if paths is None else set(paths)
    return {
        file.path: derive_file_key(data_key, manifest.model, path=file.path, salt=file.salt)
        for file in manifest.files
        if wanted is None or file.path in wanted
    }


def open_model(folder: Path, manifest: SealedManifest, keys: Mapping[str, bytes]) -> SealedModel:
    """Check that a folder holds exactly what its manifest names, and read its table; no weights are read.

    Args:
        folder: Where the ciphertext lies.
        manifest: Verified; an unverified one makes everything after it worthless.
        keys: File keys by path.

    Raises:
        RefusedError: A file is missing, too many, or of another size; the table is not the one of the manifest.
    """
    listing = list_folder(folder)
    check_listing(manifest, listing)
    data = _read_small(folder / TABLE_NAME, manifest.table.size)
    check_blob(data, manifest.table, name=TABLE_NAME)
    return SealedModel(folder, manifest, SegmentTable.parse(data, manifest), dict(keys))


def list_folder(folder: Path) -> dict[str, int]:
    """List the size of every file of a sealed folder by relative path.

    Raises:
        RefusedError: A link, a device, a folder that no sealed model has, or far too many files.
    """
    listing: dict[str, int] = {}
    for place, prefix in ((folder, ""), (folder / FILES_FOLDER, f"{FILES_FOLDER}/")):
        try:
            with os.scandir(place) as entries:
                listing |= {prefix + name: size for name, size in _sizes(entries, prefix)}
        except OSError as error:
            raise RefusedError(
                Reason.SEAL_BROKEN, f"{place} cannot be listed: {error.strerror}; fetch the model again"
            ) from error
        if len(listing) > MAX_FILES + _MOST_BESIDE:
            raise RefusedError(Reason.NOT_SEALED, f"{folder} holds more than {MAX_FILES} files, no sealed model does")
    return listing


def read_file(model: SealedModel, path: str, *, threads: int | None = None) -> Region:
    """Decrypt a whole file into memory of its own; release it after use.

    Raises:
        RefusedError: Anything of the file differs from what was sealed; nothing of it is in memory then.
    """
    file, _ = model.find(path)
    region = Region(file.size)
    try:
        read_file_into(model, path, region.view, threads=threads)
    except BaseException:
        region.release()
        raise
    return region


def read_file_into(model: SealedModel, path: str, dest: Buffer, *, threads: int | None = None) -> None:
    """Decrypt a whole file into memory of the caller's, which must have exactly its size.

    Raises:
        RefusedError: As for `read_file`; `dest` is zeros then.
    """
    target = memoryview(dest).cast("B")
    file, _ = model.find(path)
    if target.nbytes != file.size:
        raise RefusedError(
            Reason.SIZE_EXCEEDED, f'"{path}" has {file.size} bytes, its destination {target.nbytes}; both must be equal'
        )
    with open_source(model, path) as source:
        open_parts(source, [Part(0, target)], threads=threads)


@contextmanager
def open_source(model: SealedModel, path: str) -> Iterator[Source]:
    """Open the ciphertext of a file for `open_parts`.

    Raises:
        RefusedError: It is not in the manifest, has no key, is no regular file, or has another size.
    """
    file, segments = model.find(path)
    if (key := model.keys.get(path)) is None:
        raise RefusedError(Reason.KEY_MISMATCH, f'no key for "{path}" was handed over; it cannot be opened')
    opener = SegmentOpener(key, file.segments, name=f'"{path}"')
    try:
        descriptor = os.open(model.folder / file.stored_as, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise _broken(file, f"cannot be opened: {error.strerror}") from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_size != file.ciphertext.size:
            raise _broken(file, f"has {found.st_size} bytes, the manifest says {file.ciphertext.size}")
        yield Source(descriptor, segments, opener, f'"{path}"', model.read)
    finally:
        os.close(descriptor)


def _sizes(entries: Iterable[os.DirEntry[str]], prefix: str) -> Iterator[tuple[str, int]]:
    for entry in entries:
        if not prefix and entry.name == FILES_FOLDER and entry.is_dir(follow_symlinks=False):
            continue
        if not entry.is_file(follow_symlinks=False):
            raise RefusedError(
                Reason.NOT_SEALED, f'"{prefix}{entry.name[:128]}" is no regular file; a sealed model has no other'
            )
        yield entry.name, entry.stat(follow_symlinks=False).st_size


def _read_small(place: Path, size: int) -> bytes:
    try:
        with place.open("rb") as file:
            return file.read(size + 1)
    except OSError as error:
        raise RefusedError(
            Reason.SEAL_BROKEN, f"{place.name} cannot be read: {error.strerror}; fetch it again"
        ) from error


def _broken(file: SealedFile, text: str) -> RefusedError:
    return RefusedError(
        Reason.SEAL_BROKEN, f'{file.stored_as}, the ciphertext of "{file.path}", {text}; fetch it again'
    )
