"""A witness across an air gap: it remembers the largest tree of each log, and cosigns what goes on from that."""

import base64
import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sekisho.cli.failures import refuse
from sekisho.cli.ledger_keys import load_private, read_log_keys
from sekisho.errors import Reason
from sekisho.ledger.checkpoint import Checkpoint, check_request, cosign, parse_checkpoint, parse_request, read_signed
from sekisho.ledger.merkle import EMPTY_ROOT, HASH_BYTES
from sekisho.ledger.notes import COSIGNATURE, Note, NoteKey, check_name, decode_base64, parse_note
from sekisho.recording.keys import write_whole

_MAX_STATE: Final = 64 << 20
State = dict[str, dict[str, Any]]


def cosign_request(given: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Cosign one checkpoint.

    Raises:
        OSError: A file cannot be read or written.
        RefusedError: The checkpoint is not of a log that is witnessed, or does not go on from what was seen.
    """
    with given["request"].open("rb") as file:
        request = parse_request(file.read(1 << 20))
    note = parse_note(request.checkpoint)
    key = read_log_keys(given["keys"]).find(parse_checkpoint(note.text).origin, note)
    checkpoint, note = read_signed(request.checkpoint, key)
    secret = load_private(given["key"])
    me = NoteKey(check_name(given["name"]), COSIGNATURE, secret.public_key().public_bytes_raw())
    with _locked(given["state"]):
        state = _read_state(given["state"])
        check_request(request, checkpoint, seen=_seen(state, checkpoint.origin))
        state[checkpoint.origin] = _spell(checkpoint)
        # What was seen is on disk before it is vouched for: after a crash nothing smaller is signed.
        write_whole(given["state"], json.dumps(state, sort_keys=True, indent=1).encode(), mode=0o600)
        at = int(time.time())
        signed = Note(note.text, (*note.signatures, cosign(note.text, me, secret.sign, at=at)))
        write_whole(given["out"], signed.encode().encode())
    facts = {"log": checkpoint.origin, "records": checkpoint.size, "at": at, "witness": me.encode()}
    return facts, f"{given['out']}: {checkpoint.origin}, {checkpoint.size:,} records, cosigned by {me.name}"


@contextmanager
def _locked(state: Path) -> Iterator[None]:
    """Keep others that use the same state out for as long as it is looked at and written."""
    descriptor = os.open(state.with_name(f"{state.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _read_state(file: Path) -> State:
    if not file.exists():
        return {}
    try:
        state = json.loads(file.read_bytes()[:_MAX_STATE])
    except ValueError:
        state = None
    if not isinstance(state, dict) or not all(map(_is_seen, state.values())):
        raise refuse(
            f"{file} is not what a witness remembers; restore it: without it a witness may vouch for a fork",
            reason=Reason.RECORD_BROKEN,
        )
    return state


def _is_seen(item: object) -> bool:
    if not isinstance(item, dict) or not isinstance(item.get("size"), int):
        return False
    root = decode_base64(str(item.get("root")))
    return root is not None and len(root) == HASH_BYTES


def _seen(state: State, origin: str) -> tuple[int, bytes]:
    item = state.get(origin)
    return (item["size"], base64.b64decode(item["root"])) if item is not None else (0, EMPTY_ROOT)


def _spell(checkpoint: Checkpoint) -> dict[str, Any]:
    return {"size": checkpoint.size, "root": base64.b64encode(checkpoint.root).decode()}
