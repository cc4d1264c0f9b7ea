"""What an interrupted sealing has finished: one line a file, nothing secret, in the unfinished folder."""

import fcntl
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sekisho.cli.failures import refuse
from sekisho.cli.layout import PlainFile
from sekisho.cli.pipeline import Row
from sekisho.seal.facts import BlobFacts, SealedFile

JOURNAL_NAME: Final = "sealing.jsonl"


@dataclass(frozen=True, slots=True)
class Entry:
    """A finished file, and the time of the plaintext's last change when it was sealed."""

    file: SealedFile
    rows: tuple[Row, ...]
    changed_ns: int

    def fits(self, source: PlainFile, stored_as: str) -> bool:
        """Tell whether this is still the file of that plaintext in that place."""
        mine = (self.file.path, self.file.size, self.changed_ns, self.file.stored_as)
        return mine == (source.path, source.size, source.changed_ns, stored_as)


class Journal:
    """The journal of one unfinished folder; one process at a time has it."""

    def __init__(self, folder: Path) -> None:
        self._file = (folder / JOURNAL_NAME).open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise refuse(f"{folder} is being sealed by another process; wait for it, or end it") from error

    def read(self) -> dict[str, Entry]:
        """List the finished files by path; a line that was cut off counts for nothing."""
        self._file.seek(0)
        entries = {}
        for line in self._file:
            try:
                entry = _parse(json.loads(line))
            except (ValueError, KeyError, TypeError):
                continue
            entries[entry.file.path] = entry
        return entries

    def add(self, entry: Entry) -> None:
        """Write one finished file down, durably."""
        self._file.write(json.dumps(_spell(entry)).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Let go of it."""
        self._file.close()


def _spell(entry: Entry) -> dict[str, Any]:
    file = entry.file
    return {
        "path": file.path, "size": file.size, "digest": file.digest, "salt": file.salt.hex(),
        "ciphertext": file.ciphertext.digest, "storedAs": file.stored_as, "changedNs": entry.changed_ns,
        "rows": [[length, tag.hex()] for length, tag in entry.rows],
    }  # fmt: skip


def _parse(value: dict[str, Any]) -> Entry:
    rows = tuple((int(length), bytes.fromhex(tag)) for length, tag in value["rows"])
    file = SealedFile(
        path=value["path"], size=value["size"], digest=value["digest"], salt=bytes.fromhex(value["salt"]),
        segments=len(rows), ciphertext=BlobFacts(size=value["size"], digest=value["ciphertext"]),
        stored_as=value["storedAs"],
    )  # fmt: skip
    return Entry(file, rows, value["changedNs"])
