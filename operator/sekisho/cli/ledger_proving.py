"""Proofs of entries, requests to witnesses, and exports."""

import io
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Final

from sekisho.cli.failures import refuse
from sekisho.cli.ledger_keys import LogKeys, read_log_keys, read_small
from sekisho.cli.ledger_verifying import Kept, count, measure, verify_sources
from sekisho.cli.progress import open_meter
from sekisho.errors import Reason, RefusedError
from sekisho.ledger.checkpoint import (
    Checkpoint,
    InclusionProof,
    WitnessRequest,
    parse_checkpoint,
    read_signed,
)
from sekisho.ledger.entry import parse_entry
from sekisho.ledger.handover import LAST, name_writer
from sekisho.ledger.merkle import find_root, hash_leaf, prove_consistency, prove_inclusion
from sekisho.ledger.notes import parse_note
from sekisho.ledger.receipt import parse_receipt
from sekisho.ledger.tiles import CHECKPOINT, TileReader, list_bundles, list_tiles, parse_bundle
from sekisho.ledger.verify import FIRST
from sekisho.recording.keys import write_whole
from sekisho.recording.reading import COSIGNED, LogFiles, find_logs

Put = Callable[[str, bytes], None]
_MAX_TOLD: Final = 8


def prove(given: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Write one proof.

    Raises:
        OSError: A file cannot be read or written.
        RefusedError: There is no such entry, or the log is not what was signed.
    """
    wishes = [name for name in ("index", "request_id", "receipt", "since") if given[name] is not None]
    if len(wishes) != 1:
        raise refuse("say what to prove: one of --index, --id, --receipt and --since", reason=Reason.INVALID_SPEC)
    logs = [log for source in given["sources"] for log in find_logs(source)]
    keys = read_log_keys(given["keys"]).learn(logs)
    if given["since"] is not None:
        return _prove_growth(_choose(logs, given["origin"]), keys, given)
    log, index = _find_entry(logs, given)
    checkpoint, reader = _open(log, keys)
    if index >= checkpoint.size:
        raise refuse(
            f"{checkpoint.origin} has {checkpoint.size} entries under its checkpoint; there is no entry {index}",
            reason=Reason.RECORD_TRUNCATED,
        )
    entry = _read_entry(log, index)
    data = log.read(CHECKPOINT) or b""
    proof = InclusionProof(index, prove_inclusion(index, checkpoint.size, reader.node), data, entry)
    proof.verify(hash_leaf(entry), keys.find(checkpoint.origin, parse_note(data)))
    write_whole(given["out"], proof.encode())
    facts = {"log": checkpoint.origin, "index": index, "records": checkpoint.size, "file": str(given["out"])}
    return facts, f"{given['out']}: entry {index:,} of {checkpoint.size:,} of {checkpoint.origin}"


def _prove_growth(log: LogFiles, keys: LogKeys, given: dict[str, Any]) -> tuple[dict[str, Any], str]:
    checkpoint, reader = _open(log, keys)
    since = given["since"]
    if since > checkpoint.size:
        raise refuse(
            f"{checkpoint.origin} has {checkpoint.size} entries; a witness that saw {since} saw what is cut off",
            reason=Reason.RECORD_TRUNCATED,
        )
    path = prove_consistency(since, checkpoint.size, reader.node)
    write_whole(given["out"], WitnessRequest(since, path, log.read(CHECKPOINT) or b"").encode())
    facts = {"log": checkpoint.origin, "since": since, "records": checkpoint.size, "file": str(given["out"])}
    return facts, f"{given['out']}: {checkpoint.origin} from {since:,} to {checkpoint.size:,} records, for a witness"


def _open(log: LogFiles, keys: LogKeys) -> tuple[Checkpoint, TileReader]:
    """Return a log's verified checkpoint, and its tiles, which make the root that was signed."""
    data = log.read(CHECKPOINT) or b""
    note = parse_note(data)
    checkpoint, _ = read_signed(data, keys.find(parse_checkpoint(note.text).origin, note))
    reader = TileReader(log.read, checkpoint.size)
    if find_root(checkpoint.size, reader.node) != checkpoint.root:
        raise RefusedError(
            Reason.RECORD_REWRITTEN, f"the tiles of {checkpoint.origin} do not make the root that was signed"
        )
    return checkpoint, reader


def _find_entry(logs: list[LogFiles], given: dict[str, Any]) -> tuple[LogFiles, int]:
    if given["index"] is not None:
        return _choose(logs, given["origin"]), given["index"]
    if given["receipt"] is not None:
        wanted = parse_receipt(read_small(given["receipt"]).decode("utf-8", "replace")).entry
        return _choose(logs, wanted.origin), wanted.index
    for log in logs:
        for index, entry in _entries(log):
            if parse_entry(entry).get("id") == given["request_id"]:
                return log, index
    raise refuse(f"no entry has the id {given['request_id'][:64]!r}", reason=Reason.REQUEST_INVALID)


def _entries(log: LogFiles) -> Iterator[tuple[int, bytes]]:
    for bundle in list_bundles(log.head.size):
        if (data := log.read(bundle.path)) is not None:
            yield from enumerate(parse_bundle(data, bundle), bundle.index * 256)


def _read_entry(log: LogFiles, index: int) -> bytes:
    bundle = next(list_bundles(log.head.size, start=index))
    data = log.read(bundle.path)
    if data is None:
        raise refuse(f"the text of entry {index} was removed by retention", reason=Reason.RECORD_TRUNCATED)
    return parse_bundle(data, bundle)[index % 256]


def _choose(logs: list[LogFiles], origin: str | None) -> LogFiles:
    found = [log for log in logs if origin in (None, log.head.origin)]
    if not found:
        raise refuse(f"the log {origin} is not here", reason=Reason.RECORD_TRUNCATED)
    newest = {name_writer(log.head.origin): log.head.origin for log in sorted(found, key=lambda log: log.head.origin)}
    if origin is None and len(newest) > 1:
        told = ", ".join([*newest.values()][:_MAX_TOLD])
        raise refuse(
            f"there are logs of {len(newest)} writers; name one by --log, such as {told}", reason=Reason.INVALID_SPEC
        )
    return found[-1]


def export(given: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Write verified logs into one file or folder.

    Raises:
        OSError: A file cannot be read or written.
        RefusedError: A log does not verify, or what witnesses cosigned is of another one.
    """
    out: Path = given["out"]
    if out.exists():
        raise refuse(f"{out} is there already; name another file", reason=Reason.INVALID_SPEC)
    meter, cosigned = open_meter(as_json=given["as_json"]), tuple(read_small(file) for file in given["cosigned"])
    found = verify_sources(given["sources"], read_log_keys(given["keys"]), Kept(cosigned), meter=meter)
    # The files that were verified, as they were then: their writer may go on meanwhile.
    logs = found.files
    sizes = {log.checkpoint.origin: log.checkpoint for log in found.logs}
    meter.start("exporting", left := sum(measure(source) for source in given["sources"]))
    partial = out.with_name(f"{out.name}.partial")
    # What an export that was interrupted left may be of other logs.
    shutil.rmtree(partial, ignore_errors=True)
    with _open_sink(partial, as_tar=out.suffix == ".tar") as put:
        for log in logs:
            for path, data in _files(log, sizes[log.head.origin], cosigned):
                put(f"{_spell_folder(log.head.origin)}/{path}", data)
                # Of a journal more is written than there is: its hashes become tiles.
                meter.advance(done := min(len(data), left))
                left -= done
    meter.advance(left)
    meter.finish()
    partial.rename(out)
    facts = {"file": str(out), "records": found.records, "logs": len(logs)}
    return facts, f"{out}: {found.records:,} records in {count(len(logs), 'log')}"


def _files(log: LogFiles, verified: Checkpoint, cosigned: tuple[bytes, ...]) -> Iterator[tuple[str, bytes]]:
    """Yield the files of a log as of the checkpoint that was verified."""
    data = log.read(CHECKPOINT) or b""
    if parse_checkpoint(parse_note(data).text) != verified:
        raise refuse(f"{log.place} grew while it was exported; run the same command again", reason=Reason.RECORD_BROKEN)
    yield CHECKPOINT, data
    for tile in list_tiles(verified.size):
        if (found := log.read(tile.path)) is None:
            raise refuse(f"{log.place} lacks {tile.path}", reason=Reason.RECORD_TRUNCATED)
        yield tile.path, found
    for path in (*(bundle.path for bundle in list_bundles(verified.size)), FIRST, LAST):
        if (found := log.read(path)) is not None:
            yield path, found
    given = [note for note in cosigned if parse_checkpoint(parse_note(note).text).origin == verified.origin]
    for number, note in enumerate([*log.cosigned, *given]):
        yield f"{COSIGNED}/{number:06d}", note


def _spell_folder(origin: str) -> str:
    parts = PurePosixPath(origin).parts
    if origin.startswith("/") or ".." in parts or not parts:
        raise refuse(f"the log {origin!r} cannot name a folder", reason=Reason.RECORD_BROKEN)
    return "/".join(parts)


@contextmanager
def _open_sink(out: Path, *, as_tar: bool) -> Iterator[Put]:
    if not as_tar:
        yield lambda path, data: _put_file(out / path, data)
        return
    with tarfile.open(out, "w") as archive:

        def put(path: str, data: bytes) -> None:
            member = tarfile.TarInfo(path)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))

        yield put


def _put_file(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
