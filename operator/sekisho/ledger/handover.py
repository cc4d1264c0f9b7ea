"""How a writer's key passes to the next: the last entry of a log names it, and both sign that log's end. Pure."""

from typing import Any, Final

from sekisho.errors import Reason, RefusedError
from sekisho.ledger.checkpoint import read_signed
from sekisho.ledger.entry import parse_entry
from sekisho.ledger.merkle import hash_leaf, prove_inclusion, verify_inclusion
from sekisho.ledger.notes import ED25519, Note, NoteKey, parse_key, verify_note
from sekisho.ledger.tiles import CHECKPOINT, WIDTH, Read, TileReader, list_bundles, parse_bundle

HANDOVER: Final = "handover"
LAST: Final = "last"


def describe_handover(key: NoteKey) -> dict[str, Any]:
    """Return what the last entry of a log says: the key, under its writer's name, that signs the next log."""
    return {"kind": HANDOVER, "key": key.encode()}


def read_handover(data: bytes, *, origin: str) -> NoteKey | None:
    """Return the key that an entry passes its log's writer on to, under the writer's name; None where it does not.

    Raises:
        RefusedError: RecordBroken; it names no key, or that of another writer.
    """
    entry = parse_entry(data) if f'"{HANDOVER}"'.encode() in data else {}
    if entry.get("kind") != HANDOVER:
        return None
    try:
        key = parse_key(str(entry.get("key")))
    except RefusedError as error:
        raise RefusedError(Reason.RECORD_BROKEN, f"{origin} is handed over to no key: {error.message}") from None
    if key.kind != ED25519 or key.name != name_writer(origin):
        raise RefusedError(Reason.RECORD_BROKEN, f"{origin} is handed over to {key.name}, which is not its writer")
    return key


def name_writer(origin: str) -> str:
    """Return who writes a log: the origin without the log's own last part."""
    return origin.rpartition("/")[0] or origin


def check_consent(note: Note, successor: NoteKey, *, origin: str) -> None:
    """Verify that the key which a log is handed over to signed the log's end.

    Raises:
        RefusedError: SignatureMissing, SignatureInvalid.
    """
    key = NoteKey(origin, ED25519, successor.public)
    if not any(line.is_by(key) for line in note.signatures):
        raise RefusedError(
            Reason.SIGNATURE_MISSING,
            f"the end of {origin} is not signed by the key that it is handed over to ({successor.id.hex()})",
        )
    verify_note(note, key)


def find_successor(read: Read, key: NoteKey) -> NoteKey | None:
    """Return the key that a log is handed over to, under its writer's name; None where it is not.

    Nothing is verified but what this rests on: both signatures, and that the last entry is under them.

    Args:
        read: Returns the log's files.
        key: Of the log, under its origin.

    Raises:
        RefusedError: Something of this does not hold.
    """
    checkpoint, note = read_signed(read(CHECKPOINT) or b"", key)
    if checkpoint.size == 0 or (entry := read_last(read, checkpoint.size)) is None:
        return None
    successor = read_handover(entry, origin=key.name)
    if successor is None:
        return None
    last, node = checkpoint.size - 1, TileReader(read, checkpoint.size).node
    path = prove_inclusion(last, checkpoint.size, node)
    verify_inclusion(hash_leaf(entry), last, path, size=checkpoint.size, root=checkpoint.root)
    check_consent(note, successor, origin=key.name)
    return successor


def read_last(read: Read, size: int) -> bytes | None:
    """Return the last entry of a log that has some, unverified; None where its text was removed."""
    bundle = next(list_bundles(size, start=size - 1))
    if (data := read(bundle.path)) is None:
        return read(LAST)
    return parse_bundle(data, bundle)[(size - 1) % WIDTH]
