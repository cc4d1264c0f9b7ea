"""What becomes of logs that have ended: sealed, copied, removed after their time. One thread, beside the writing one.

A sealed log has the layout of c2sp.org/tlog-tiles and no journal: whoever can serve files can serve it.
"""

import logging
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

from sekisho.errors import Reason, RefusedError, SekishoError
from sekisho.ledger.checkpoint import Checkpoint, parse_checkpoint
from sekisho.ledger.handover import LAST, read_handover, read_last
from sekisho.ledger.notes import parse_note
from sekisho.ledger.tiles import CHECKPOINT, WIDTH, Tile, Tree, encode_bundle, list_bundles, list_tiles, parse_bundle
from sekisho.ledger.verify import EXPIRED, FIRST
from sekisho.recording.journal import JOURNAL, Line, measure_sound, parse_line
from sekisho.recording.keys import write_whole
from sekisho.recording.logs import list_logs, read_beginning, read_birth

_log = logging.getLogger(__name__)
_MARK: Final = "copied"
_ENTRIES: Final = "tile/entries"
_END_SECONDS: Final = 5.0
Files = Mapping[str, bytes]


class Store(Protocol):
    """Where logs are copied to."""

    def put(self, path: str, data: bytes) -> None:
        """Write an object.

        Raises:
            SekishoError: It does not take it now.
        """
        ...

    def clear(self, folder: str) -> None:
        """Remove every object below a folder.

        Raises:
            SekishoError: It does not do it now.
        """
        ...


@dataclass(frozen=True, slots=True)
class Keeping:
    """What becomes of logs that have ended.

    Attributes:
        retention_seconds: After this age of its last entry the text of a log is removed; its hashes stay. None: never.
        store: Where every log is copied to; None: nowhere.
        prefix: Of the names in the store.
        most_bytes: Where there is a copy, whole logs are removed here while all together hold more; None: never.
        seconds: How often it is looked.
    """

    retention_seconds: float | None = None
    store: Store | None = None
    prefix: str = ""
    most_bytes: int | None = None
    seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a copy is behind.

    Attributes:
        entries: Not copied yet, of those under a checkpoint.
        seconds: For how long some have not been; 0 where all are.
        problem: Why, where copying fails; empty otherwise.
    """

    entries: int = 0
    seconds: float = 0.0
    problem: str = ""


@dataclass(slots=True)
class _Copy:
    """How far one growing log is copied, and the tree of that."""

    tree: Tree
    offset: int = 0


class Keeper:
    """Looks after logs every few seconds.

    Args:
        folder: Of all logs.
        keeping: What is to be done.
        note: Records an entry durably; raises SekishoError.
        active: Returns the folder of the log that is being written; None where that is not known.
    """

    def __init__(
        self, folder: Path, keeping: Keeping, *, note: Callable[[Mapping[str, Any]], None],
        active: Callable[[], Path | None],
    ) -> None:  # fmt: skip
        self._folder = folder
        self._keeping = keeping
        self._note = note
        self._active = active
        self._ending = threading.Event()
        # Nothing is put into the store from this moment on.
        self._until = float("inf")
        self._thread: threading.Thread | None = None
        self._copies: dict[Path, _Copy] = {}
        self._whole_at = time.monotonic()
        self._behind = 0
        self._problem = ""

    @property
    def lag(self) -> Lag:
        """How far the copy is behind."""
        if self._keeping.store is None:
            return Lag()
        seconds = time.monotonic() - self._whole_at if self._behind or self._problem else 0.0
        return Lag(self._behind, seconds, self._problem)

    def open(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._work, name="record-keeper", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Let the thread end, and put nothing more into the store."""
        self._ending.set()
        self._until = float("-inf")

    def close(self, last: Path | None) -> None:
        """End the thread, and copy what was signed since its last turn: with an emptyDir nothing else is left of it.

        Args:
            last: Folder of the log that was written last; None where that is not known.
        """
        self.stop()
        if self._thread is not None:
            self._thread.join(_END_SECONDS)
        if last is None or self._keeping.store is None:
            return
        if self._thread is None or not self._thread.is_alive():
            self._until = time.monotonic() + _END_SECONDS
            self._try(lambda: self._bring(last))
        if self.lag.seconds:
            _log.error("what was recorded last is not in the copy", extra={"entries": self._behind})

    def _work(self) -> None:
        while not self._ending.wait(self._keeping.seconds):
            self.turn()

    def turn(self) -> None:
        """Look once; what fails is told, and tried again the next time."""
        active = self._active()
        if active is not None:
            self._try(lambda: self._look(active))

    def _try(self, act: Callable[[], object]) -> None:
        problem = ""
        try:
            act()
        except SekishoError as error:
            problem = error.message
        except OSError as error:
            problem = f"{self._folder}: {error.strerror}"
        except Exception as error:  # noqa: BLE001 - the thread goes on, and what it met is told
            problem = f"{type(error).__name__}"
        if problem and problem != self._problem:
            _log.error("logs cannot be looked after", extra={"detail": problem})
        self._problem = problem

    def _bring(self, active: Path) -> list[Path]:
        """Seal logs that have ended, copy all; return those that have."""
        ended = [place for place in list_logs(self._folder) if place.name < active.name]
        for place in ended:
            if (place / JOURNAL).exists():
                seal(place)
        if self._keeping.store is not None:
            self._copy_all(ended, active, self._keeping.store)
        return ended

    def _look(self, active: Path) -> None:
        # Before what has to be recorded: for that there may be no room.
        ended = self._make_room(self._bring(active), active)
        if self._keeping.retention_seconds is not None:
            for place, ended_at in self._find_ends(ended, active).items():
                self._expire(place, ended_at=ended_at)
        for note in sorted(self._removed.glob("*Z")):
            self._expire_copy(note)

    def _copy_all(self, ended: list[Path], active: Path, store: Store) -> None:
        heads = {place: read_head(place) for place in (*ended, active) if (place / CHECKPOINT).exists()}
        self._behind = sum(head.size - self._copied(place) for place, head in heads.items())
        for place, head in heads.items():
            if place == active:
                self._copy_growing(place, head, store)
            elif self._copied(place) < head.size:
                self._copy_sealed(place, head, store)
        self._behind = sum(head.size - self._copied(place) for place, head in heads.items())
        if not self._behind:
            self._whole_at = time.monotonic()

    def _copied(self, place: Path) -> int:
        copy = self._copies.get(place)
        if copy is not None:
            return copy.tree.size
        try:
            return int((place / _MARK).read_text())
        except (FileNotFoundError, ValueError):
            return 0

    def _copy_growing(self, place: Path, head: Checkpoint, store: Store) -> None:
        """Copy what a checkpoint added: tiles and bundles first, the checkpoint last."""
        copy = self._copies.get(place) or _Copy(Tree())
        if head.size == copy.tree.size:
            return
        signed = (place / CHECKPOINT).read_bytes()
        grown, files = _grow(place, copy, parse_checkpoint(parse_note(signed).text))
        for path, data in files.items():
            self._put(store, place, path, data)
        self._put(store, place, CHECKPOINT, signed)
        self._copies = {place: grown}

    def _copy_sealed(self, place: Path, head: Checkpoint, store: Store) -> None:
        start = self._copied(place)
        paths = [tile.path for tile in (*list_bundles(head.size, start=start), *list_tiles(head.size, start=start))]
        for path in paths:
            if (place / path).exists() or not path.startswith(_ENTRIES):
                self._put(store, place, path, (place / path).read_bytes())
        self._put(store, place, CHECKPOINT, (place / CHECKPOINT).read_bytes())
        write_whole(place / _MARK, str(head.size).encode())
        self._copies.pop(place, None)

    def _put(self, store: Store, place: Path, path: str, data: bytes) -> None:
        if time.monotonic() >= self._until:
            raise RefusedError(Reason.TERMINATING, "this process is about to end")
        store.put(f"{self._keeping.prefix}{place.name}/{path}", data)

    def _find_ends(self, ended: list[Path], active: Path) -> dict[Path, datetime]:
        """Return when logs ended, at the latest: before any later one began, though the clock was ahead for a time."""
        now, ends, found = datetime.now(UTC), _read_beginning(active), dict[Path, datetime]()
        for place in reversed(ended):
            began = _read_beginning(place)
            found[place] = max(began, ends) if began <= now else ends
            ends = min(began, ends)
        return dict(reversed(found.items()))

    def _is_over(self, ended_at: datetime) -> bool:
        most = self._keeping.retention_seconds
        return most is not None and (datetime.now(UTC) - ended_at).total_seconds() >= most

    def _expire(self, place: Path, *, ended_at: datetime) -> None:
        """Remove the text of a log whose time is over; recorded before it is done, and tried again where it fails."""
        if not self._is_over(ended_at) or not (place / _ENTRIES).exists():
            return
        if not (place / FIRST).exists():
            self._note_expired(read_head(place), ended_at)
            for name, data in _read_ends(place).items():
                write_whole(place / name, data)
        self._remove_copy(place.name)
        if self._keeping.store is not None:
            for name in (FIRST, LAST):
                if (place / name).exists():
                    self._put(self._keeping.store, place, name, (place / name).read_bytes())
        shutil.rmtree(place / _ENTRIES)

    def _expire_copy(self, note: Path) -> None:
        """Remove the text of a log that is elsewhere alone."""
        head, _, ended = note.read_text().rpartition("\n")
        if self._is_over(datetime.fromisoformat(ended)):
            checkpoint = parse_checkpoint(head)
            self._note_expired(checkpoint, datetime.fromisoformat(ended))
            self._remove_copy(note.name)
            note.unlink()

    def _note_expired(self, head: Checkpoint, ended_at: datetime) -> None:
        self._note({"kind": EXPIRED, "log": head.origin, "entries": head.size, "until": ended_at.isoformat()})

    def _remove_copy(self, name: str) -> None:
        if self._keeping.store is not None:
            # Not by their names: while a log grows, bundles that are not full are copied under a name for each size.
            self._keeping.store.clear(f"{self._keeping.prefix}{name}/{_ENTRIES}/")

    def _make_room(self, ended: list[Path], active: Path) -> list[Path]:
        """Remove whole logs of which there is a copy, oldest first, while all hold too much; return the rest."""
        most = self._keeping.most_bytes
        if self._keeping.store is None or most is None:
            return ended
        held = {place: _measure(place) for place in list_logs(self._folder)}
        if sum(held.values()) <= most:
            return ended
        for place, ended_at in self._find_ends(ended, active).items():
            if sum(held.values()) <= most or not (place / _MARK).exists():
                break
            if (place / _ENTRIES).exists():
                # What is left of it in the copy once its time is over: nobody here can read it then.
                for name, data in _read_ends(place).items():
                    self._put(self._keeping.store, place, name, data)
                self._removed.mkdir(exist_ok=True)
                text = f"{read_head(place).encode()}\n{ended_at.isoformat()}"
                write_whole(self._removed / place.name, text.encode())
            shutil.rmtree(place)
            held.pop(place)
        return [place for place in ended if place in held]

    @property
    def _removed(self) -> Path:
        return self._folder.with_name("removed")


def seal(place: Path) -> None:
    """Turn a log that has ended into files that never change, and remove its journal.

    Raises:
        OSError: The disk.
        RefusedError: RecordBroken; its journal is not what its checkpoint says.
    """
    _, lines = measure_sound((place / JOURNAL).read_bytes())
    tree, head = Tree(), read_head(place)
    files: dict[str, bytes] = {}
    for line in lines:
        files |= {tile.path: data for tile, data in tree.append(line.leaf)}
    if (tree.size, tree.root()) != (head.size, head.root):
        raise RefusedError(
            Reason.RECORD_BROKEN, f"the log {head.origin} has {tree.size} entries that do not make {head}"
        )
    files |= {tile.path: data for tile, data in tree.edge()}
    for bundle in list_bundles(head.size):
        files[bundle.path] = _bundle(lines, bundle)
    for path, data in files.items():
        (place / path).parent.mkdir(parents=True, exist_ok=True)
        write_whole(place / path, data)
    (place / JOURNAL).unlink()


def read_head(place: Path) -> Checkpoint:
    """Return what the checkpoint of a log of ours says."""
    return parse_checkpoint(parse_note((place / CHECKPOINT).read_bytes()).text)


def _read_ends(place: Path) -> Files:
    """Return what outlives the text of a sealed log: its last entry, where that hands it over, and its first."""
    head = read_head(place)
    bundle = Tile(None, 0, min(WIDTH, head.size))
    first = parse_bundle((place / bundle.path).read_bytes(), bundle)[0]
    last = read_last(lambda path: (place / path).read_bytes(), head.size) or b""
    return ({LAST: last} if read_handover(last, origin=head.origin) is not None else {}) | {FIRST: first}


def _read_beginning(place: Path) -> datetime:
    """Return when a log of ours began."""
    if read_birth(place.name) <= datetime.now(UTC):
        return read_birth(place.name)
    if (place / JOURNAL).exists():
        with (place / JOURNAL).open("rb") as file:
            line = parse_line(file.readline().rstrip(b"\n"))
        first = line.entry if line is not None else b""
    elif (place / FIRST).exists():
        first = (place / FIRST).read_bytes()
    else:
        bundle = Tile(None, 0, min(WIDTH, read_head(place).size))
        first = parse_bundle((place / bundle.path).read_bytes(), bundle)[0]
    return read_beginning(first, place.name)


def _grow(place: Path, copy: _Copy, head: Checkpoint) -> tuple[_Copy, Files]:
    """Return the copy after a checkpoint, and the files by which it grows."""
    with (place / JOURNAL).open("rb") as file:
        file.seek(copy.offset)
        data = file.read()
    # Bundles that were partial are written anew from their first entry on: the offset is that of a bundle's beginning.
    first = copy.tree.size // WIDTH * WIDTH
    _, lines = measure_sound(data)
    lines = lines[: head.size - first]
    tree, files = copy.tree.copy(), dict[str, bytes]()
    for line in lines[copy.tree.size - first :]:
        files |= {tile.path: data for tile, data in tree.append(line.leaf)}
    files |= {tile.path: data for tile, data in tree.edge()}
    for bundle in list_bundles(head.size, start=first):
        files[bundle.path] = _bundle(lines, Tile(None, bundle.index - first // WIDTH, bundle.width))
    whole = lines[: (head.size // WIDTH * WIDTH) - first]
    return _Copy(tree, copy.offset + sum(len(line.encode()) for line in whole)), files


def _bundle(lines: list[Line], bundle: Tile) -> bytes:
    start = bundle.index * WIDTH
    return encode_bundle([line.entry for line in lines[start : start + bundle.width]])


def _measure(place: Path) -> int:
    return sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
