"""The logs of one writer, one after the other: the last is written, each begins with what the one before ended with.

Each has a folder that is named by when it began: `journal` while it is not sealed, `checkpoint`, and `tile/…`.
"""

import base64
import errno
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from sekisho.errors import Reason, RefusedError
from sekisho.ledger.checkpoint import Checkpoint, countersign, read_signed, sign_checkpoint
from sekisho.ledger.entry import LINK, encode_entry, parse_entry
from sekisho.ledger.handover import describe_handover, read_handover, read_last
from sekisho.ledger.notes import parse_note
from sekisho.ledger.receipt import Batch
from sekisho.ledger.tiles import CHECKPOINT, MAX_ENTRY, Tile, Tree
from sekisho.recording.journal import JOURNAL, Journal, Line, measure_sound
from sekisho.recording.keys import LogKey, sync_folder, write_all

_log = logging.getLogger(__name__)
LOGS: Final = "logs"
_TRIAL: Final = "trial"
_BIRTH: Final = "%Y%m%dT%H%M%S%f"
_BEGINNER: Final = "logKey"


@dataclass(frozen=True, slots=True)
class LogLimits:
    """When a log ends, and how much all may hold.

    Attributes:
        segment_bytes: Size of a log after which the next is begun.
        segment_seconds: Age of a log after which the next is begun.
        max_bytes: Size of all logs together; nothing is recorded beyond it.
    """

    segment_bytes: int = 64 << 20
    segment_seconds: float = 86_400.0
    max_bytes: int = 900 << 20


@dataclass(frozen=True, slots=True)
class Keys:
    """What signs checkpoints.

    Attributes:
        now: Signs; a log that another of these signed is handed over to it.
        before: Signed before.
    """

    now: LogKey
    before: tuple[LogKey, ...] = ()

    def find(self, name: str, ids: Iterable[bytes]) -> LogKey | None:
        """Return the key of the first of some ids that one of them has under a name."""
        known = {key.named(name).id: key for key in (*self.before, self.now)}
        return next((known[item] for item in ids if item in known), None)


class Logs:
    """Writes entries to the last log, and begins the next.

    Args:
        folder: Of all logs; made where it is missing.
        name: Of the writer; the origin of a log is this and when it began.
        keys: Sign checkpoints.
        limits: Bounds.
    """

    def __init__(self, folder: Path, name: str, keys: Keys, limits: LogLimits) -> None:
        self._folder = folder
        self._name = name
        self._keys = keys
        self._key = keys.now
        self._handed_over = self._unsettled = False
        self._limits = limits
        self._place = folder
        self._journal = Journal(folder)
        self._tree = Tree()
        self._full: list[tuple[Tile, bytes]] = []
        self._partial: list[Path] = []
        self._published = -1
        self._others = 0
        self._last = b""
        self._began_at = datetime.min.replace(tzinfo=UTC)
        self.published: Checkpoint | None = None

    @property
    def is_open(self) -> bool:
        """Whether something can be appended."""
        return self._journal.is_open

    @property
    def is_settled(self) -> bool:
        """Whether it is known which log is written, though nothing may fit into it now."""
        return self._tree.size > 0 and not self._unsettled

    @property
    def origin(self) -> str:
        """Of the log that is written."""
        return f"{self._name}/{self._place.name}"

    @property
    def active(self) -> Path:
        """Folder of the log that is written."""
        return self._place

    @property
    def head(self) -> Checkpoint:
        """What is on disk by now; for the thread that writes."""
        return Checkpoint(self.origin, self._tree.size, self._tree.root())

    @property
    def is_published(self) -> bool:
        """Whether the checkpoint covers every entry."""
        return self._published == self._tree.size

    def open(self, note: dict[str, Any]) -> None:
        """Open the last log behind its last whole entry, or begin one, and note that as an entry.

        Raises:
            OSError: The disk.
            RefusedError: RecordBroken; the log is not as it was signed. Nothing is repaired.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        if self._tree.size and not self._unsettled:
            if not self._reopen():
                # The files are gone while this process runs: the next log tells what it goes on from, so the gap shows.
                self._begin(note, self.head)
        else:
            self.close()
            self._unsettled, self._handed_over = True, False
            self._find(note)
            self._unsettled = False
        self._measure()

    def _find(self, note: dict[str, Any]) -> None:
        for place in reversed(list_logs(self._folder)):
            if not (place / JOURNAL).exists():
                self._follow_sealed(place, note)
                return
            torn = self._recover(place)
            if self._tree.size:
                self._journal.open()
                self._go_on(note | ({"tornBytes": torn} if torn else {}))
                return
            # A crash before its first entry: nobody heard of it, and it says nothing of the log before.
            (place / JOURNAL).unlink()
            place.rmdir()
        self._begin(note, None)

    def _follow_sealed(self, place: Path, note: Mapping[str, Any]) -> None:
        """Begin the log after one that has ended; under its own key, if that has not handed it over."""
        head, self._key = self._read_checkpoint(place)
        if head is not None and head.size:
            last = read_last(lambda path: _read(place / path), head.size) or b""
            if self._is_mine(last, head.origin):
                self._key = self._keys.now
        self._begin(note, head)
        if self._key is not self._keys.now:
            self._hand_over(note)

    def _go_on(self, note: Mapping[str, Any]) -> None:
        """Go on in the log that was recovered, or hand it over; that may have begun before a crash."""
        if self._is_mine(self._last, self.origin):
            self._handed_over = True
            self._follow(note)
            return
        self._put([Line.of(encode_entry(note))])
        if self._key is not self._keys.now:
            self._hand_over(note)

    def _is_mine(self, last: bytes, origin: str) -> bool:
        """Tell whether a log was handed over, by its last entry, to the key that signs now.

        Raises:
            RefusedError: RecordBroken; to another.
        """
        successor = read_handover(last, origin=origin)
        if successor is not None and successor.public != self._keys.now.named(origin).public:
            raise RefusedError(
                Reason.RECORD_BROKEN,
                f"{origin} was handed over to the key {successor.id.hex()}, and another signs now; nothing is recorded "
                "until that key is given",
            )
        return successor is not None

    def _hand_over(self, note: Mapping[str, Any]) -> None:
        """End the log by an entry that names the key which signs now, and begin the next under that."""
        self._handed_over = True
        entry = {name: note[name] for name in ("at", "instance") if name in note}
        self._put([Line.of(encode_entry(entry | describe_handover(self._keys.now.named(self._name))))])
        self._follow(note)

    def _follow(self, note: Mapping[str, Any]) -> None:
        old = self._key.named(self._name).id.hex()
        if self._key is not self._keys.now:
            self.publish()
        # Else the end is signed already, and the key before is not here any more.
        link = self.head
        self.close()
        self._key = self._keys.now
        self._begin(note, link)
        self._handed_over = False
        new = self._key.named(self._name).id.hex()
        _log.info("the key of the record was changed", extra={"before": old, "now": new, "log": link.origin})

    def append(self, entries: Sequence[bytes], note: Mapping[str, Any]) -> Batch:
        """Write entries and wait for the disk; begin the next log first where this one has come to its end.

        Raises:
            OSError: The disk did not take them; the log is closed, and to be opened anew.
        """
        lines = list(map(Line.of, entries))
        try:
            if self._is_full():
                self._rotate(note)
            self._check_room(sum(map(len, entries)))
            first, origin = self._tree.size, self.origin
            self._put(lines)
        except OSError:
            self.close()
            raise
        return Batch(origin, first, tuple([line.leaf for line in lines]))

    def publish(self) -> bytes:
        """Write the tiles that the disk lacks, then the checkpoint that speaks of them; return it.

        Raises:
            OSError: The disk; the checkpoint of before stays.
        """
        head = self.head
        if not self._place.is_dir():
            # Nothing may come back without its journal, as if it were sealed.
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        data = sign_checkpoint(head, self._key.named(head.origin), self._key.sign)
        if self._handed_over and self._key is not self._keys.now:
            data = countersign(data, self._keys.now.named(head.origin), self._keys.now.sign)
        for tile, hashes in self._full:
            write_file(self._place / tile.path, hashes)
        self._full.clear()
        edge = [(self._place / tile.path, hashes) for tile, hashes in self._tree.edge()]
        for path, hashes in edge:
            write_file(path, hashes)
        write_file(self._place / CHECKPOINT, data)
        self._published, self.published = head.size, head
        kept = {path for path, _ in edge}
        for path in self._partial:
            if path not in kept:
                path.unlink(missing_ok=True)
        self._partial = list(kept)
        return data

    def close(self) -> None:
        """Close the log; `open` goes on in it."""
        self._journal.close()

    def _reopen(self) -> bool:
        """Go on in the log of before, where it still holds what was acknowledged; a full disk costs no reading."""
        try:
            self._journal.open()
        except FileNotFoundError:
            return False
        try:
            self._measure()
            self._try_room()
        except OSError:
            self.close()
            raise
        return True

    def _try_room(self) -> None:
        """Write the largest entry beside the log: on a full disk opening works, and all would seem to be well."""
        size = min(MAX_ENTRY, self._limits.max_bytes // 16)
        self._check_room(size)
        path = self._folder.with_name(_TRIAL)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                write_all(descriptor, bytes(size))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        finally:
            path.unlink(missing_ok=True)

    def _recover(self, place: Path) -> int:
        """Build the tree of a log anew from its journal; return how many torn bytes it has."""
        data = (place / JOURNAL).read_bytes()
        try:
            sound, lines = measure_sound(data)
        except RefusedError as error:
            waits = "nothing is recorded until the log's folder is moved away and looked at"
            raise RefusedError(error.reason, f"{error.message}; {waits}") from None
        signed, self._key = self._read_checkpoint(place)
        if lines:
            self._last, self._began_at = lines[-1].entry, read_beginning(lines[0].entry, place.name)
            if signed is None:
                self._key = self._find_beginner(parse_entry(lines[0].entry))
        self._place, self._tree, self._full = place, Tree(), []
        self._journal = Journal(place / JOURNAL, sound)
        for line in lines:
            if signed is not None and self._tree.size == signed.size:
                _check_root(self._tree, signed)
            self._full += self._tree.append(line.leaf)
        if signed is not None and self._tree.size <= signed.size:
            _check_root(self._tree, signed)
        self._partial, self._published = list(place.glob("tile/**/*.p/*")), -1
        return len(data) - sound

    def _find_beginner(self, first: Mapping[str, Any]) -> LogKey:
        """Return the key under which a log was begun that was never signed; receipts may be."""
        said = str(first.get(_BEGINNER, ""))
        if not said:
            return self._keys.now
        try:
            found = self._keys.find(self._name, [bytes.fromhex(said)])
        except ValueError:
            found = None
        if found is None:
            raise RefusedError(
                Reason.SIGNER_NOT_TRUSTED,
                f"the last log was begun under the key {said[:64]!r}, which is not here; nothing is recorded until it "
                "is given as the key before, or the log's folder is moved away and looked at",
            )
        return found

    def _read_checkpoint(self, place: Path) -> tuple[Checkpoint | None, LogKey]:
        """Return what was signed of a log, and by which key; no file of a log that nobody saw yet is none."""
        try:
            data = (place / CHECKPOINT).read_bytes()
        except FileNotFoundError:
            return None, self._keys.now
        origin = f"{self._name}/{place.name}"
        key = self._keys.find(origin, (line.key_id for line in parse_note(data).signatures))
        try:
            return read_signed(data, (key or self._keys.now).named(origin))[0], key or self._keys.now
        except RefusedError as error:
            if key is not None:
                raise
            waits = "until the key that signed it is given as the key before, or its folder is moved away and looked at"
            raise RefusedError(error.reason, f"{error.message}; nothing is recorded {waits}") from None

    def _begin(self, note: Mapping[str, Any], link: Checkpoint | None) -> None:
        """Begin a log whose first entry says what it goes on from."""
        place = self._folder / self._choose_name()
        place.mkdir(mode=0o755)
        sync_folder(self._folder)
        self._place, self._tree, self._full, self._partial, self._published = place, Tree(), [], [], -1
        self._began_at = datetime.now(UTC)
        self._journal = Journal(place / JOURNAL)
        self._journal.create()
        first = dict(note) | {_BEGINNER: self._key.named(self._name).id.hex()}
        if link is not None:
            first[LINK] = {"origin": link.origin, "size": link.size, "root": base64.b64encode(link.root).decode()}
        self._put([Line.of(encode_entry(first))])

    def _choose_name(self) -> str:
        """Return a name that is later than every other, whatever the clock says."""
        known = [path.name for path in list_logs(self._folder)] + [self._place.name]
        now = datetime.now(UTC)
        name = _spell_birth(now)
        last = max((item for item in known if is_log_name(item)), default="")
        if name <= last:
            name = _spell_birth(read_birth(last) + timedelta(milliseconds=1))
        return name

    def _rotate(self, note: Mapping[str, Any]) -> None:
        self.publish()
        link = self.head
        self.close()
        self._begin(note, link)
        self._measure()

    def _is_full(self) -> bool:
        if self._journal.size >= self._limits.segment_bytes:
            return True
        # Either way: what a clock that was ahead began would not end for as long as that was ahead.
        age = abs((datetime.now(UTC) - self._began_at).total_seconds())
        return self._tree.size > 1 and age >= self._limits.segment_seconds

    def _put(self, lines: Sequence[Line]) -> None:
        self._journal.append(lines)
        self._full += self._tree.extend([line.leaf for line in lines])

    def _check_room(self, size: int) -> None:
        """Stop before the volume's own limit: a pod that exceeds an emptyDir's is evicted, and its record lost."""
        if (held := self._others + self._journal.size) + size > self._limits.max_bytes:
            raise OSError(
                errno.ENOSPC,
                f"the record holds {held} bytes, {self._limits.max_bytes} are allowed; move finished logs away, have "
                "them replicated, or raise SEKISHO_RECORD_MAX",
            )

    def _measure(self) -> None:
        files = (path for path in self._folder.rglob("*") if path != self._place / JOURNAL)
        self._others = sum(_size_of(path) for path in files)


def list_logs(folder: Path) -> list[Path]:
    """Return the folders of all logs, oldest first."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and is_log_name(path.name))


def is_log_name(name: str) -> bool:
    """Tell whether a folder is named as a log's."""
    return len(name) == 19 and name[8] == "T" and name[18] == "Z" and f"{name[:8]}{name[9:18]}".isdigit()


def write_file(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; the disk is not waited for, since the journal can make it anew."""
    fresh = path.with_name(f"{path.name}.new")
    try:
        fresh.write_bytes(data)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_bytes(data)
    fresh.replace(path)


def _check_root(tree: Tree, signed: Checkpoint) -> None:
    if tree.size < signed.size:
        raise RefusedError(
            Reason.RECORD_BROKEN,
            f"the record of {signed.origin} has {tree.size} entries, {signed.size} were signed; nothing is recorded "
            "until the log's folder is moved away and looked at",
        )
    if tree.root() != signed.root:
        raise RefusedError(
            Reason.RECORD_BROKEN,
            f"the first {signed.size} entries of {signed.origin} are not those that were signed; nothing is recorded "
            "until the log's folder is moved away and looked at",
        )


def _spell_birth(at: datetime) -> str:
    return f"{at.strftime(_BIRTH)[:-3]}Z"


def read_birth(name: str) -> datetime:
    """Return when a log began, by its folder's name."""
    return datetime.strptime(f"{name[:-1]}000", _BIRTH).replace(tzinfo=UTC)


def read_beginning(first: bytes, name: str) -> datetime:
    """Return when a log began: by its name, or by its first entry where that is a time to come.

    Names only rise, so that of a log which follows what a clock that was ahead began lies ahead as well.
    """
    birth = read_birth(name)
    if birth <= datetime.now(UTC):
        return birth
    try:
        at = datetime.fromisoformat(str(parse_entry(first).get("at")))
    except ValueError:
        return birth
    return at if at.tzinfo is not None else birth


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except FileNotFoundError:
        return 0
