"""Verification of logs and proofs, and how what was found is told."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sekisho.cli.ledger_keys import LogKeys, read_log_keys, read_small, read_witnesses
from sekisho.cli.progress import Meter, open_meter
from sekisho.errors import Reason, RefusedError
from sekisho.ledger.checkpoint import (
    PROOF_HEAD,
    Checkpoint,
    Cosigned,
    parse_checkpoint,
    parse_inclusion,
    read_signed,
    verify_cosignatures,
)
from sekisho.ledger.entry import parse_entry
from sekisho.ledger.merkle import hash_leaf
from sekisho.ledger.notes import Note, NoteKey, parse_note
from sekisho.ledger.receipt import Receipt, parse_receipt
from sekisho.ledger.verify import Chain, VerifiedLog, verify_chains, verify_log
from sekisho.recording.reading import LogFiles, find_logs

Look = Callable[[str, int, bytes], None]
"""Is shown the origin, place and bytes of an entry."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What was kept elsewhere, and has to be in the logs.

    Attributes:
        checkpoints: Signed notes.
        receipts: Of callers.
        witnesses: Whose cosignatures count.
    """

    checkpoints: tuple[bytes, ...] = ()
    receipts: tuple[Receipt, ...] = ()
    witnesses: tuple[NoteKey, ...] = ()


@dataclass(slots=True)
class Found:
    """What the verification of many logs came to.

    Attributes:
        files: Of the logs, as they were read.
        chains: The logs by their writers.
        cosigned: By writer and witness the newest checkpoint that it cosigned: log, size and when.
        first: Time of the first entry that has one, as it is spelt.
    """

    files: tuple[LogFiles, ...] = ()
    chains: tuple[Chain, ...] = ()
    cosigned: dict[str, dict[str, tuple[Checkpoint, int]]] = field(default_factory=dict)
    first: str = ""
    last: str = ""

    @property
    def logs(self) -> tuple[VerifiedLog, ...]:
        """All logs."""
        return tuple(log for chain in self.chains for log in chain.logs)

    @property
    def records(self) -> int:
        """Number of entries."""
        return sum(log.checkpoint.size for log in self.logs)

    @property
    def expired(self) -> int:
        """Number of entries whose text retention removed."""
        return sum(log.expired for log in self.logs)


def verify(given: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Verify logs, or one proof.

    Raises:
        OSError: A file cannot be read.
        RefusedError: Something does not hold; the message says what.
    """
    keys, witnesses = read_log_keys(given["keys"]), read_witnesses(given["witnesses"])
    if len(given["sources"]) == 1 and (proof := _read_proof(given["sources"][0])) is not None:
        return _verify_proof(proof, keys, witnesses)
    kept = Kept(
        tuple(read_small(file) for file in given["checkpoints"]),
        tuple(parse_receipt(read_small(file).decode("utf-8", "replace")) for file in given["receipts"]),
        witnesses,
    )
    found = verify_sources(given["sources"], keys, kept, meter=open_meter(as_json=given["as_json"]))
    return _describe(found, kept)


def verify_sources(
    sources: Sequence[Path], keys: LogKeys, kept: Kept, *, meter: Meter, look: Look | None = None
) -> Found:
    """Verify every log of some folders and exports.

    Raises:
        OSError: A file cannot be read.
        RefusedError: Something does not hold.
    """
    logs = [log for source in sources for log in find_logs(source)]
    keys = keys.learn(logs)
    marks = _read_marks(kept, keys, logs)
    _check_receipts(kept.receipts, keys, logs)
    found, verified = Found(tuple(logs)), list[VerifiedLog]()
    meter.start("verifying", left := sum(measure(source) for source in sources))
    for log in logs:
        key = keys.find(log.head.origin, parse_note(log.read("checkpoint") or b""))
        mine = [mark for mark, _ in marks if mark.origin == key.name]
        promised = [(item.entry.index, item.entry.leaf) for item in kept.receipts if item.entry.origin == key.name]
        visit = _Visitor(key.name, meter, look)
        verified.append(verify_log(log.read, key, marks=mine, promised=promised, visit=visit))
        _stretch(found, visit)
        left -= visit.seen_bytes
    # Hashes and signatures, which were read beside the entries.
    meter.advance(max(0, left))
    meter.finish()
    found.chains = verify_chains(verified)
    found.cosigned = _gather_cosignatures(found.chains, marks, kept.witnesses)
    return found


class _Visitor:
    """Looks at the entries of one log as they are read."""

    def __init__(self, origin: str, meter: Meter, look: Look | None) -> None:
        self._origin = origin
        self._meter = meter
        self._look = look
        self.first = self.last = b""
        self.seen_bytes = 0

    def __call__(self, index: int, entry: bytes) -> None:
        self.first = self.first or entry
        self.last = entry
        self.seen_bytes += len(entry)
        self._meter.advance(len(entry))
        if self._look is not None:
            self._look(self._origin, index, entry)


def _check_receipts(receipts: Sequence[Receipt], keys: LogKeys, logs: Sequence[LogFiles]) -> None:
    known = {log.head.origin: log for log in logs}
    for receipt in receipts:
        log = known.get(receipt.entry.origin)
        if log is None:
            raise RefusedError(
                Reason.RECORD_TRUNCATED, f"a receipt was given by the log {receipt.entry.origin}, which is not here"
            )
        receipt.verify(keys.find(receipt.entry.origin, parse_note(log.read("checkpoint") or b"")))


def _read_marks(kept: Kept, keys: LogKeys, logs: Sequence[LogFiles]) -> list[tuple[Checkpoint, Note]]:
    """Return every checkpoint from before, with verified signatures."""
    origins = {log.head.origin for log in logs}
    marks = []
    for data in (*kept.checkpoints, *(item for log in logs for item in log.cosigned)):
        note = parse_note(data)
        checkpoint, _ = read_signed(data, keys.find(parse_checkpoint(note.text).origin, note))
        if checkpoint.origin not in origins:
            raise RefusedError(
                Reason.RECORD_TRUNCATED,
                f"a checkpoint was kept of the log {checkpoint.origin} ({checkpoint.size} entries), which is not here",
            )
        marks.append((checkpoint, note))
    return marks


def _gather_cosignatures(
    chains: Sequence[Chain], marks: Sequence[tuple[Checkpoint, Note]], witnesses: Sequence[NoteKey]
) -> dict[str, dict[str, tuple[Checkpoint, int]]]:
    found: dict[str, dict[str, tuple[Checkpoint, int]]] = {}
    for chain in chains:
        origins = {log.checkpoint.origin for log in chain.logs}
        notes = [(log.checkpoint, log.note) for log in chain.logs]
        notes += [(mark, note) for mark, note in marks if mark.origin in origins]
        newest: dict[str, tuple[Checkpoint, int]] = {}
        for checkpoint, cosigned in _cosignatures(notes, witnesses):
            before = newest.get(cosigned.witness)
            if before is None or (before[0].origin, before[0].size) < (checkpoint.origin, checkpoint.size):
                newest[cosigned.witness] = checkpoint, cosigned.at
        for key in witnesses:
            if key.name not in newest:
                raise RefusedError(
                    Reason.SIGNATURE_MISSING,
                    f"{key.name} cosigned no checkpoint of {chain.name} that is here; give those that it did by "
                    "--checkpoint",
                )
        found[chain.name] = newest
    return found


def _cosignatures(
    notes: Sequence[tuple[Checkpoint, Note]], witnesses: Sequence[NoteKey]
) -> Iterator[tuple[Checkpoint, Cosigned]]:
    for checkpoint, note in notes:
        for cosigned in verify_cosignatures(note, witnesses):
            yield checkpoint, cosigned


def _stretch(found: Found, visit: _Visitor) -> None:
    first, last = (str(parse_entry(entry).get("at", "")) for entry in (visit.first, visit.last))
    found.first = min(filter(None, (found.first, first)), default="")
    found.last = max(found.last, last)


def _describe(found: Found, kept: Kept) -> tuple[dict[str, Any], str]:
    witnesses = len(kept.witnesses)
    facts = {
        "records": found.records, "expired": found.expired, "from": found.first, "to": found.last,
        "writers": [_describe_chain(chain, found) for chain in found.chains], "checkpoints": len(kept.checkpoints),
        "receipts": len(kept.receipts), "witnesses": [key.name for key in kept.witnesses],
    }  # fmt: skip
    several = len(found.logs) > 1
    logs = (
        f"{len(found.logs):,} logs of {count(len(found.chains), 'writer')}, unforked" if several else "one unforked log"
    )
    told = [f"{found.records:,} records, {found.first[:10]} to {found.last[:10]}, {logs}"]
    if witnesses:
        told[0] += f", checkpoint cosigned by {count(witnesses, 'witness', 'witnesses')}"
    if kept.receipts:
        told[0] += f", {count(len(kept.receipts), 'receipt')} kept"
    told += [line for chain in found.chains for line in _tell_chain(chain, found)]
    if found.expired:
        told.append(f"  the text of {found.expired:,} records was removed by retention; their hashes hold")
    if not witnesses and not kept.checkpoints and not kept.receipts:
        told.append("  nothing from before was given: what was cut off and signed anew would not show")
    return facts, "\n".join(told)


def _describe_chain(chain: Chain, found: Found) -> dict[str, Any]:
    newest = found.cosigned.get(chain.name, {})
    return {
        "name": chain.name,
        "logs": [{"origin": log.checkpoint.origin, "records": log.checkpoint.size, "root": log.checkpoint.root.hex(),
                  "expired": log.expired} for log in chain.logs],
        "after": chain.after.origin if chain.after else None,
        "beginnings": chain.beginnings,
        "cosigned": {name: {"log": head.origin, "records": head.size, "at": at} for name, (head, at) in newest.items()},
    }  # fmt: skip


def _tell_chain(chain: Chain, found: Found) -> Iterator[str]:
    if chain.after is not None:
        yield f"  {chain.name} goes on from {chain.after.origin} ({chain.after.size:,} records), which is not here"
    if chain.beginnings > 1:
        yield f"  {chain.name} begins {chain.beginnings} times: what its pod had before a new beginning shows nowhere"
    last = chain.logs[-1].checkpoint
    for name, (head, _) in sorted(found.cosigned.get(chain.name, {}).items()):
        if (head.origin, head.size) != (last.origin, last.size):
            yield f"  {name} vouches for {chain.name} up to record {head.size:,} of {head.origin}"


def _read_proof(source: Path) -> bytes | None:
    if source.is_dir():
        return None
    with source.open("rb") as file:
        data = file.read(len(PROOF_HEAD) + 1)
        return data + file.read(1 << 20) if data == f"{PROOF_HEAD}\n".encode() else None


def _verify_proof(data: bytes, keys: LogKeys, witnesses: Sequence[NoteKey]) -> tuple[dict[str, Any], str]:
    proof = parse_inclusion(data)
    note = parse_note(proof.checkpoint)
    key = keys.find(parse_checkpoint(note.text).origin, note)
    checkpoint, note = proof.verify(hash_leaf(proof.entry), key)
    cosigned = {item.witness for item in verify_cosignatures(note, witnesses)}
    for witness in witnesses:
        if witness.name not in cosigned:
            raise RefusedError(Reason.SIGNATURE_MISSING, f"{witness.name} did not cosign the checkpoint of this proof")
    facts = {
        "log": checkpoint.origin, "index": proof.index, "records": checkpoint.size, "entry": parse_entry(proof.entry),
        "witnesses": sorted(cosigned),
    }  # fmt: skip
    entry = proof.entry.decode("utf-8", "replace")
    return facts, f"entry {proof.index:,} of {checkpoint.size:,} of {checkpoint.origin}:\n{entry}"


def measure(source: Path) -> int:
    """Return about how many bytes there are to read."""
    if source.is_dir():
        return sum(path.stat().st_size for path in source.rglob("*") if path.is_file() and path.parts[-2:-1] != ("0",))
    return source.stat().st_size


def count(number: int, one: str, many: str = "") -> str:
    """Spell a number of things."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
