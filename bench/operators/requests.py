"""What the API server's audit log tells of a program: how many requests, of which kind, and when each was answered."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from e2e.cluster.audit import Request, read_request

SERVICES: Final = "inferenceservices.inference.sekisho.dev"
# Neither is there per object: the lease is renewed every two seconds, the reviews are answered without storage.
_NOT_PER_OBJECT: Final = ("leases.", "leases")


@dataclass(frozen=True, slots=True)
class Entry:
    """One request, and when it came and was answered, in seconds of the API server's clock."""

    request: Request
    received_at: float
    answered_at: float

    @property
    def is_good(self) -> bool:
        """Whether it did what it asked for."""
        return 200 <= self.request.status < 300


def parse_entry(line: str) -> Entry:
    """Read a line of the log."""
    event = json.loads(line)
    return Entry(read_request(event), _seconds(event["requestReceivedTimestamp"]), _seconds(event["stageTimestamp"]))


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


class Tail:
    """Reads what is appended to the log; each request once, a watch when it begins.

    Attributes:
        entries: All that was read since the beginning or since `restart`.
    """

    def __init__(self, file: Path) -> None:
        self.entries: list[Entry] = []
        self._file = file
        self._at = 0
        self._seen: set[str] = set()
        self.restart()

    def restart(self) -> None:
        """Forget everything that was written so far."""
        self.entries, self._seen = [], set()
        self._at = self._file.stat().st_size if self._file.exists() else 0

    def read(self) -> list[Entry]:
        """Read what is new; return it."""
        new = [entry for entry in map(parse_entry, self._lines()) if entry.request.audit_id not in self._seen]
        # A watch has two lines, its begin and its end; both may be among the new ones.
        unique = list({entry.request.audit_id: entry for entry in reversed(new)}.values())[::-1]
        self._seen.update(entry.request.audit_id for entry in unique)
        self.entries += unique
        return unique

    def of(self, user: str) -> list[Entry]:
        """Return what one user asked for, leases aside."""
        return [entry for entry in self.entries if entry.request.user == user and is_per_object(entry.request)]

    def _lines(self) -> Iterator[str]:
        if not self._file.exists():
            return
        with self._file.open("rb") as log:
            log.seek(self._at)
            data = log.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._at += len(whole)
        yield from whole.decode().splitlines()


def is_per_object(request: Request) -> bool:
    """Tell whether a request belongs to an object's life, and not to the process' own."""
    return not request.resource.startswith(_NOT_PER_OBJECT)


def count_writes(entries: Iterable[Entry]) -> int:
    """Count what could have changed something stored, refused or not."""
    return sum(entry.request.is_write for entry in entries)


def count_reads(entries: Iterable[Entry]) -> int:
    """Count GETs and LISTs; a watch is none."""
    return sum(entry.request.verb in {"get", "list"} for entry in entries)


def spell_counts(entries: Iterable[Entry], *, objects: int) -> str:
    """Spell how often each verb of each kind was used for an object."""
    counts = Counter(
        (entry.request.verb, entry.request.resource.replace(".inference.sekisho.dev", ""))
        for entry in entries
        if entry.request.verb != "watch"
    )
    return ", ".join(f"{count / objects:.2f} {verb} {kind}" for (verb, kind), count in counts.most_common(12))


def first_good(entries: Iterable[Entry], *, resource: str, verbs: frozenset[str]) -> Mapping[tuple[str, str], Entry]:
    """Return the first request of this kind that succeeded, by namespace and name."""
    found: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        request = entry.request
        if request.resource == resource and request.verb in verbs and entry.is_good:
            found.setdefault((request.namespace, request.name), entry)
    return found
