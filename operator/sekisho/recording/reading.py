"""Logs as files, wherever they lie: in the folder of a process, in a copy, in an export."""

import tarfile
from collections.abc import Callable, Iterator
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
        head, cosigned = _read_head(path.read_bytes()), sorted((place / COSIGNED).glob("*"))
        read = _FolderReader(place, head)
        yield LogFiles(str(place), head, read, tuple(item.read_bytes() for item in cosigned))


class _FolderReader:
    """Reads a folder; where a journal is there, what it says is made into files."""

    def __init__(self, place: Path, head: Checkpoint) -> None:
        self._place = place
        self._head = head
        self._made: dict[str, bytes] | None = None

    def __call__(self, path: str) -> bytes | None:
        if self._made is None:
            self._made = self._make() if (self._place / JOURNAL).exists() else {}
        if path in self._made:
            return self._made[path]
        try:
            return (self._place / path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _make(self) -> dict[str, bytes]:
        """Make the files of the entries under the checkpoint; what came after it is not signed yet."""
        checkpoint = (self._place / CHECKPOINT).read_bytes()
        size = _read_head(checkpoint).size
        lines = measure_sound((self._place / JOURNAL).read_bytes())[1][:size]
        tree, files = Tree(), {CHECKPOINT: checkpoint}
        for line in lines:
            files |= {tile.path: data for tile, data in tree.append(line.leaf)}
        files |= {tile.path: data for tile, data in tree.edge()}
        entries = [line.entry for line in lines]
        for bundle in list_bundles(len(entries)):
            files[bundle.path] = encode_bundle(entries[bundle.index * WIDTH :][: bundle.width])
        return files


def _find_in_tar(source: Path) -> Iterator[LogFiles]:
    try:
        archive = tarfile.open(source)  # noqa: SIM115 - it is read from as long as its logs are
    except tarfile.TarError:
        raise RefusedError(Reason.RECORD_BROKEN, f"{source} is no folder and no export (tar)") from None
    members = {item.name: item for item in archive.getmembers() if item.isreg() and item.size <= MAX_FILE}
    for name in sorted(members):
        folder, _, last = name.rpartition("/")
        if last == CHECKPOINT:
            read = _tar_reader(archive, members, folder)
            cosigned = [read(item[len(folder) + 1 :]) for item in members if item.startswith(f"{folder}/{COSIGNED}/")]
            data = read(CHECKPOINT)
            assert data is not None  # noqa: S101 -- it is among the members
            yield LogFiles(f"{source}:{folder}", _read_head(data), read, tuple(item for item in cosigned if item))


def _tar_reader(
    archive: tarfile.TarFile, members: dict[str, tarfile.TarInfo], folder: str
) -> Callable[[str], bytes | None]:
    def read(path: str) -> bytes | None:
        member = members.get(f"{folder}/{path}" if folder else path)
        file = archive.extractfile(member) if member is not None else None
        return file.read() if file is not None else None

    return read


def _read_head(data: bytes) -> Checkpoint:
    return parse_checkpoint(parse_note(data).text)
