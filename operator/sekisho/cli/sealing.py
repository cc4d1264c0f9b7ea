"""Seal a model into a new folder: resumable, whole or not at all, the data key only in memory."""

import contextlib
import hashlib
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sekisho.cli.failures import refuse
from sekisho.cli.journal import JOURNAL_NAME, Entry, Journal
from sekisho.cli.layout import PlainFile, list_plain_files
from sekisho.cli.pipeline import Digests, Sealer
from sekisho.cli.progress import Meter
from sekisho.errors import Reason, RefusedError
from sekisho.kms.service import KeyService
from sekisho.seal.facts import (
    BOM_NAME,
    FILES_FOLDER,
    KEY_BYTES,
    KEY_NAME,
    MANIFEST_NAME,
    SIGNATURES_NAME,
    TABLE_NAME,
    BlobFacts,
    ModelIdentity,
    SealedManifest,
)
from sekisho.seal.keys import KeyContext, commit_key, encode_wrapped, parse_wrapped
from sekisho.seal.manifest import digest_of, encode_manifest, name_stored
from sekisho.seal.table import SegmentTable

if TYPE_CHECKING:  # who only reads or signs what was sealed need not load what scans
    from sekisho.cli.scanning import Inspector, Scanned

HASH_CHUNK = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Wish:
    """What the owner asked for.

    Attributes:
        key_id: The key-encryption key in `keys`.
        declared: What the owner declares about the model, as it will stand in the manifest.
        finish: Gets the folder and its manifest when all but the result's name is done; refuses by raising.
        inspector: Scans first; without one the manifest says that there was no scan.
    """

    model: ModelIdentity
    keys: KeyService
    key_id: str
    declared: Mapping[str, Any]
    finish: Callable[[Path, SealedManifest], None] | None = None
    inspector: "Inspector | None" = None


@dataclass(frozen=True, slots=True)
class Sealed:
    """What came of it: the new folder, its manifest's digest, and how many files were kept from an earlier try."""

    folder: Path
    digest: str
    manifest: SealedManifest
    kept: int


def seal_model(source: Path, out: Path, wish: Wish, *, meter: Meter) -> Sealed:
    """Seal `source` into `out`, which appears only when everything is in it.

    Raises:
        RefusedError: The input, the key, or an unfinished folder of another model.
        UnavailableError: The key service does not answer.
    """
    if out.exists():
        raise refuse(f"{out} exists; name another folder with --out, or remove it first")
    partial = out.with_name(f"{out.name}.partial")
    if partial.is_symlink() or source.resolve() in {out.resolve(), *out.resolve().parents}:
        raise refuse(f"{out} is inside the model or reached by a link; name a folder elsewhere with --out")
    if partial.exists() and partial.stat().st_uid != os.geteuid():
        raise refuse(f"{partial} is another user's, who could have chosen its key; name a folder elsewhere with --out")
    files = list_plain_files(source)
    scanned = wish.inspector.inspect(files, meter) if wish.inspector else None
    (partial / FILES_FOLDER).mkdir(parents=True, exist_ok=True)
    journal = Journal(partial)
    try:
        data_key = _take_key(partial, wish)
        done = _keep_finished(files, partial, journal)
        entries = _seal_rest(files, partial, wish, data_key=data_key, done=done, journal=journal, meter=meter)
        manifest = _write_manifest(partial, wish, entries, commitment=commit_key(data_key), scanned=scanned)
        (partial / SIGNATURES_NAME).unlink(missing_ok=True)  # of an earlier try, whose manifest was another
        if wish.finish is not None:
            wish.finish(partial, manifest)
    finally:
        journal.close()
    (partial / JOURNAL_NAME).unlink()
    _sync(partial)
    partial.rename(out)
    _sync(out.absolute().parent)
    return Sealed(out, digest_of(encode_manifest(manifest)), manifest, len(done))


def _take_key(partial: Path, wish: Wish) -> bytes:
    """Make and wrap a data key, or have the key service unwrap that of the interrupted sealing."""
    place = partial / KEY_NAME
    context = KeyContext.of(wish.model)
    if place.exists():
        wrapped = parse_wrapped(place.read_bytes())
        if wrapped.key_id != wish.key_id:
            raise refuse(
                f"{partial} was begun with key {wrapped.key_id}, not {wish.key_id}; remove it to start over",
                reason=Reason.KEY_MISMATCH,
            )
        try:
            return wish.keys.unwrap(wrapped, context=context)
        except RefusedError as error:
            if error.reason is not Reason.KEY_MISMATCH:
                raise
            told = (
                f"{partial} was begun with another model, version, class or key; name that, or remove it to start over"
            )
            raise refuse(f"{told}: {error.message}", reason=Reason.KEY_MISMATCH) from None
    data_key = secrets.token_bytes(KEY_BYTES)
    wrapped = wish.keys.wrap(data_key, key_id=wish.key_id, context=context)
    (partial / JOURNAL_NAME).write_bytes(
        b""
    )  # before the new key is there: what an earlier one sealed is worth nothing
    write_whole(place, encode_wrapped(wrapped))
    return data_key


def _keep_finished(files: tuple[PlainFile, ...], partial: Path, journal: Journal) -> dict[str, Entry]:
    """List what need not be sealed again: same plaintext, same place, and its ciphertext is still what was written."""
    known = journal.read()
    kept = {}
    for index, source in enumerate(files):
        entry = known.get(source.path)
        if entry is not None and entry.fits(source, name_stored(index)):
            place = partial / entry.file.stored_as
            if place.is_file() and hash_file(place) == entry.file.ciphertext.digest:
                kept[source.path] = entry
    return kept


def _seal_rest(
    files: tuple[PlainFile, ...], partial: Path, wish: Wish, *,
    data_key: bytes, done: dict[str, Entry], journal: Journal, meter: Meter,
) -> list[Entry]:  # fmt: skip
    entries = []
    meter.start("sealing", sum(file.size for file in files if file.path not in done))
    digests = Digests()
    sealer = Sealer(wish.model, data_key, digests, meter.advance)
    try:
        for index, source in enumerate(files):
            entry = done.get(source.path)
            if entry is None:
                stored_as = name_stored(index)
                sealed, rows = sealer.seal_file(source, partial / stored_as, stored_as=stored_as)
                entry = Entry(sealed, rows, source.changed_ns)
                journal.add(entry)
            entries.append(entry)
    finally:
        digests.close()
        meter.finish()
    return entries


def _write_manifest(
    partial: Path, wish: Wish, entries: list[Entry], *, commitment: bytes, scanned: "Scanned | None"
) -> SealedManifest:
    (partial / BOM_NAME).unlink(missing_ok=True)  # of an earlier try that was scanned
    bom = _write_bom(partial, wish, entries, scanned) if scanned else None
    table = SegmentTable.of([entry.rows for entry in entries]).encode()
    manifest = SealedManifest(
        model=wish.model, files=tuple(entry.file for entry in entries), commitment=commitment,
        table=BlobFacts(size=len(table), digest=digest_of(table)), declared=wish.declared,
        sealed_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        scan=scanned.summary if scanned else None, bom=bom,
    )  # fmt: skip
    write_whole(partial / TABLE_NAME, table)
    write_whole(partial / MANIFEST_NAME, encode_manifest(manifest))
    expected = {entry.file.stored_as for entry in entries}
    for place in (partial / FILES_FOLDER).iterdir():
        if f"{FILES_FOLDER}/{place.name}" not in expected:
            place.unlink()  # of an earlier try with other files
    return manifest


def _write_bom(partial: Path, wish: Wish, entries: list[Entry], scanned: "Scanned") -> BlobFacts:
    files = [entry.file for entry in entries]
    scanned.check_same(files)
    bom = scanned.render_bom(wish.model, files, wish.declared)
    write_whole(partial / BOM_NAME, bom)
    return BlobFacts(size=len(bom), digest=digest_of(bom))


def hash_file(place: Path) -> str:
    """Hash a file without holding it."""
    digest = hashlib.sha256()
    with place.open("rb", buffering=0) as file:
        while chunk := file.read(HASH_CHUNK):
            digest.update(chunk)
    return f"sha256:{digest.hexdigest()}"


def write_whole(place: Path, data: bytes) -> None:
    """Write a small file so that it is there whole or not at all, also after a crash."""
    fresh = place.with_name(f".{place.name}.new")
    with fresh.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(place)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with contextlib.suppress(OSError):  # some file systems cannot
            os.fsync(handle)
    finally:
        os.close(handle)
