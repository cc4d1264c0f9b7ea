"""Logs as files, wherever they lie: in the folder of a process, in a copy, in an export."""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sekisho.errors import Reason, RefusedError
from sekisho.ledger.checkpoint import Checkpoint, parse_checkpoint
from sekisho.ledger.notes import parse_note
from sekisho.ledger.tiles import CHECKPOINT, WIDTH, Read, Tree, encode_bundle, list_bundles
from sekisho.recording.journal import JOURNAL, measure_sound

MAX_LOGS: Final = 100_000
MAX_FILE: Final = 1 << 30
COSIGNED: Final = "cosigned"


@dataclass(frozen=True, slots=True)
class LogFiles:
    """One log as it lies somewhere.

    Attributes:
        place: Where, for people.
        head: What its checkpoint says; not verified.
        read: Returns its files.
        cosigned: Copies of its checkpoints that witnesses cosigned.
    """

    place: str
    head: Checkpoint
    read: Read
    cosigned: tuple[bytes, ...] = field(default=(), repr=False)


def find_logs(source: Path) -> list[LogFiles]:
    """Return every log below a folder or in an export, sorted by origin.

    Raises:
        OSError: It cannot be read.
        RefusedError: RecordBroken; there is none, or what is there cannot be read as a log.
    """
    finder = _find_in_folder if source.is_dir() else _find_in_tar
    logs = sorted(finder(source), key=lambda log: log.head.origin)
    if not logs:
        raise RefusedError(Reason.RECORD_BROKEN, f"{source} holds no log: no file {CHECKPOINT} is in it")
    return logs


def _find_in_folder(source: Path) -> Iterator[LogFiles]:
    for number, path in enumerate(sorted(source.rglob(CHECKPOINT))):
        if number >= MAX_LOGS:
            raise RefusedError(Reason.RECORD_BROKEN, f"{source} holds more than {MAX_LOGS} logs")
        place = path.parent
        head, cosigned = _read_head(_read_file(path)), sorted((place / COSIGNED).glob("*"))
        read = _FolderReader(place, head)
        yield LogFiles(str(place), head, read, tuple(map(_read_file, cosigned)))


class _FolderReader:
    """Reads a folder; where a journal is there, what it says is made into files."""

    def __init__(self, place: Path, head: Checkpoint) -> None:
        self._place = place
        self._head = head
        self._made: dict[str, bytes] | None = None

    def __call__(self, path: str) -> bytes | None:
        if self._made is None:
            self._made = self._make()
        if path in self._made:
            return self._made[path]
        try:
            return _read_file(self._place / path)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _make(self) -> dict[str, bytes]:
        """Make the files of the entries under the checkpoint; what came after it is not signed yet."""
        checkpoint = _read_file(self._place / CHECKPOINT)
        size = _read_head(checkpoint).size
        try:
            journal = _read_file(self._place / JOURNAL)
        except FileNotFoundError:
            return {}  # sealed, perhaps since its checkpoint was found: all files were there before the journal went
        lines = measure_sound(journal)[1][:size]
        tree, files = Tree(), {CHECKPOINT: checkpoint}
        for line in lines:
            files |= {tile.path: data for tile, data in tree.append(line.leaf)}
        files |= {tile.path: data for tile, data in tree.edge()}
        entries = [line.entry for line in lines]
        for bundle in list_bundles(len(entries)):
            files[bundle.path] = encode_bundle(entries[bundle.index * WIDTH :][: bundle.width])
        return files


def _read_file(path: Path) -> bytes:
    if (size := path.stat().st_size) > MAX_FILE:
        raise RefusedError(Reason.RECORD_BROKEN, f"{path} has {size} bytes, {MAX_FILE} are allowed")
    return path.read_bytes()


def _find_in_tar(source: Path) -> Iterator[LogFiles]:
    try:
        with tarfile.open(source, "r:") as archive:
            members = archive.getmembers()
    except tarfile.TarError:
        raise RefusedError(Reason.RECORD_BROKEN, f"{source} is no folder and no export (tar)") from None
    places = {item.name: (item.offset_data, item.size) for item in members if item.isreg() and item.size <= MAX_FILE}
    for name in sorted(places):
        folder, _, last = name.rpartition("/")
        if last == CHECKPOINT:
            read = _TarReader(source, places, f"{folder}/" if folder else "")
            cosigned = sorted(item.removeprefix(read.prefix) for item in places if item.startswith(read.prefix))
            notes = [read(item) for item in cosigned if item.startswith(f"{COSIGNED}/")]
            head = _read_head(read(CHECKPOINT) or b"")
            yield LogFiles(f"{source}:{folder}", head, read, tuple(note for note in notes if note))


@dataclass(frozen=True, slots=True)
class _TarReader:
    """Reads the files of one log out of an archive that is not compressed."""

    source: Path
    places: dict[str, tuple[int, int]] = field(repr=False)
    prefix: str

    def __call__(self, path: str) -> bytes | None:
        place = self.places.get(f"{self.prefix}{path}")
        if place is None:
            return None
        with self.source.open("rb") as file:
            file.seek(place[0])
            return file.read(place[1])


def _read_head(data: bytes) -> Checkpoint:
    return parse_checkpoint(parse_note(data).text)
