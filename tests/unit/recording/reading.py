"""What stands in the record of a process, and that it is what was signed; also while it is written."""

import json
from pathlib import Path
from typing import Any

from sekisho.ledger.checkpoint import parse_checkpoint, read_signed
from sekisho.ledger.merkle import hash_leaf
from sekisho.ledger.notes import NoteKey, parse_key, parse_note
from sekisho.ledger.tiles import CHECKPOINT, Tree, list_bundles, parse_bundle
from sekisho.ledger.verify import name_key
from sekisho.recording.journal import JOURNAL, measure_sound
from sekisho.recording.logs import LOGS, list_logs


def read_log(place: Path, key_file: Path) -> list[bytes]:
    """Return the entries of one log; those under its checkpoint make the root that was signed."""
    signed = (place / CHECKPOINT).read_bytes() if (place / CHECKPOINT).exists() else None
    head = parse_checkpoint(parse_note(signed).text) if signed else None
    try:
        entries = [line.entry for line in measure_sound((place / JOURNAL).read_bytes())[1]]
    except FileNotFoundError:
        assert head is not None
        entries = [
            entry
            for tile in list_bundles(head.size)
            for entry in parse_bundle((place / tile.path).read_bytes(), tile)
        ]  # fmt: skip
    if signed and head is not None:
        read_signed(signed, _choose_key(signed, key_file, head.origin))
        tree = Tree()
        for entry in entries[: head.size]:
            tree.append(hash_leaf(entry))
        assert (tree.size, tree.root()) == (head.size, head.root)
    return entries


def _choose_key(signed: bytes, key_file: Path, origin: str) -> NoteKey:
    """Return the key of a pod that a log says it is signed by; keys of before stand below the one of now."""
    keys = [name_key(parse_key(line), origin) for line in key_file.read_text().splitlines()]
    lines = parse_note(signed).signatures
    return next((key for line in lines for key in keys if line.is_by(key)), keys[0])


def read_record(folder: Path) -> list[dict[str, Any]]:
    """Return every entry of every log, in order."""
    if not (folder / LOGS).exists():
        return []
    logs = list_logs(folder / LOGS)
    return [json.loads(entry) for place in logs for entry in read_log(place, folder / "log.pub")]
