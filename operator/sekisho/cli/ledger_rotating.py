"""Handing the logs of a stopped writer over to a new key."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sekisho.cli.failures import refuse
from sekisho.cli.ledger_keys import load_private, read_small
from sekisho.errors import Reason
from sekisho.ledger.entry import OPENED
from sekisho.ledger.notes import NoteKey, parse_key
from sekisho.recording.claim import Claim
from sekisho.recording.keys import LOG_KEY, PUBLIC_KEY, LogKey, make_log_key, sync_folder, write_public
from sekisho.recording.logs import LOGS, Keys, LogLimits, Logs

_NEXT_KEY: Final = "next.key"


def rotate(given: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Hand the logs of a folder over.

    Raises:
        OSError: The disk.
        SekishoError: Another process writes there, a key is none, or the logs are not those of the old key.
    """
    folder: Path = given["folder"]
    name = _read_name(folder)
    claim = Claim(folder)
    claim.take()
    try:
        old = LogKey(load_private(given["key"] or folder / LOG_KEY))
        made = folder / _NEXT_KEY if given["new"] is None else None
        new = make_log_key(made) if made is not None else LogKey(load_private(given["new"]))
        before, now = old.named(name), new.named(name)
        if before == now:
            raise refuse("the new key is the old one; give another", reason=Reason.INVALID_SPEC)
        log = _hand_over(folder, name, Keys(new, (old,)))
        write_public(folder, now)
        if made is not None:
            # Last of all: until then a second run goes on with the same new key.
            made.rename(folder / LOG_KEY)
            sync_folder(folder)
    finally:
        claim.release()
    return _describe(before, now, log)


def _hand_over(folder: Path, name: str, keys: Keys) -> str:
    logs = Logs(folder / LOGS, name, keys, LogLimits())
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    try:
        logs.open({"kind": OPENED, "at": at, "instance": name.rpartition("/")[2]})
        logs.publish()
    finally:
        logs.close()
    return logs.origin


def _read_name(folder: Path) -> str:
    if not (folder / LOGS).is_dir() or not (folder / PUBLIC_KEY).is_file():
        raise refuse(
            f"{folder} is no record of a pod: it has not both {LOGS} and {PUBLIC_KEY}", reason=Reason.RECORD_BROKEN
        )
    lines = read_small(folder / PUBLIC_KEY).decode("utf-8", "replace").splitlines()
    return parse_key(lines[0] if lines else "").name


def _describe(before: NoteKey, now: NoteKey, log: str) -> tuple[dict[str, Any], str]:
    facts = {"before": before.encode(), "now": now.encode(), "log": log}
    return facts, f"{before.id.hex()} handed over to {now.id.hex()}; {log} is signed by\n{now.encode()}"
