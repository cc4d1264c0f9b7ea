"""Open zip archives without unpacking them: names, sizes and, member by member, what an entry needs to be looked at."""

import re
import stat
import zipfile
from collections.abc import Iterator
from io import BytesIO
from typing import IO, Any, Final

from sekisho.scan.entry import HEAD_BYTES, WHOLE_BYTES, Entry, TooLongError, Window
from sekisho.scan.findings import Check, Severity, show

MAX_MEMBERS: Final = 65_536
MAX_DIRECTORY_BYTES: Final = 4 * 1024 * 1024
_CHUNK_BYTES: Final = 1024 * 1024
_BOMB_BYTES: Final = 64 * 1024 * 1024
_BOMB_RATIO: Final = 64
_LOCAL_BYTES: Final = 30
_ENCRYPTED: Final = 0x1
_METHODS: Final = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_RAW: Final = re.compile(r"((?:[^/]+/)?)data/[0-9]+")


def open_members(entry: Entry) -> Iterator[Entry]:
    """Report what is wrong with an archive as a whole, and yield its members one by one.

    The raw weights in an archive of PyTorch are passed over. Of a member at most 16 MiB are unpacked.
    """
    entry.stream.seek(0)
    # The directory is read at once by the length that the archive tells: that is what the window is for.
    window: Any = Window(entry.stream, 2**63, MAX_DIRECTORY_BYTES)
    try:
        archive = zipfile.ZipFile(window)
    except TooLongError:
        entry.report(Check.ARCHIVE, Severity.DANGER, f"its directory has more than {MAX_DIRECTORY_BYTES} bytes")
        return
    except Exception as error:  # noqa: BLE001 - the library names no closed set; an archive it cannot open is not vouched for
        entry.report(Check.ARCHIVE, Severity.SUSPECT, f"a zip archive that cannot be opened: {error}")
        return
    members = [info for info in archive.infolist() if not info.filename.endswith("/")]
    if not _check_directory(entry, archive, members):
        return
    names = {info.filename for info in members}
    for info in members:
        raw = _RAW.fullmatch(info.filename)
        if raw and f"{raw[1]}data.pkl" in names:
            continue
        if (member := _open_member(entry, archive, info)) is not None:
            yield member


def _check_directory(entry: Entry, archive: zipfile.ZipFile, members: list[zipfile.ZipInfo]) -> bool:
    if len(members) > MAX_MEMBERS:
        entry.report(Check.ARCHIVE, Severity.DANGER, f"it has {len(members)} members, {MAX_MEMBERS} are allowed")
        return False
    total = sum(info.file_size for info in members)
    if total > max(_BOMB_BYTES, _BOMB_RATIO * entry.size):
        entry.report(Check.ARCHIVE, Severity.DANGER, f"a bomb: {entry.size} bytes that unpack to {total}")
        return False
    if len({info.filename for info in archive.infolist()}) != len(archive.infolist()):
        entry.report(Check.ARCHIVE, Severity.DANGER, "two members have one name: readers differ in which they take")
    if b"PK" in archive.comment:
        entry.report(Check.POLYGLOT, Severity.DANGER, "another archive hides in its comment")
    if _overlap(members):
        entry.report(Check.ARCHIVE, Severity.DANGER, "two members share bytes")
    if members and min(info.header_offset for info in members) != 0:
        entry.report(Check.POLYGLOT, Severity.DANGER, "something stands before the first member")
    return True


def _overlap(members: list[zipfile.ZipInfo]) -> bool:
    end = 0
    for info in sorted(members, key=lambda info: info.header_offset):
        if info.header_offset < end:
            return True
        end = info.header_offset + _LOCAL_BYTES + info.compress_size
    return False


def _open_member(entry: Entry, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Entry | None:
    name = info.filename
    if problem := _judge(info):
        severity, text = problem
        entry.report(Check.ARCHIVE, severity, f"member {show(name, 60)}: {text}")
        return None
    try:
        with archive.open(info) as stream:
            data = _read_some(stream, min(info.file_size, WHOLE_BYTES))
    except Exception as error:  # noqa: BLE001 - as above: whatever cannot be unpacked is not vouched for
        entry.report(Check.ARCHIVE, Severity.SUSPECT, f"member {show(name, 60)} cannot be unpacked: {error}")
        return None
    return Entry(entry.path, name, info.file_size, data[:HEAD_BYTES], BytesIO(data), entry.found)


def _read_some(stream: IO[bytes], length: int) -> bytes:
    """Read `length` bytes in pieces, each less than the window lets through, and the end where it is near."""
    pieces, left = [], length
    while left > 0:
        piece = stream.read(min(left, _CHUNK_BYTES))
        if not piece:
            raise EOFError("it is shorter than it says")
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def _judge(info: zipfile.ZipInfo) -> tuple[Severity, str] | None:
    name = info.filename
    climbs = any(part in ("", ".", "..") for part in name.split("/")) or "\\" in name or name[1:2] == ":"
    # The library cuts a name at NUL; what a reader that does not would see is another file.
    if climbs or info.orig_filename.rstrip("/") != name.rstrip("/"):
        return Severity.DANGER, "its path leads out of the folder it is unpacked to"
    if stat.S_ISLNK(info.external_attr >> 16):
        return Severity.DANGER, "a symbolic link"
    if info.flag_bits & _ENCRYPTED:
        return Severity.SUSPECT, "encrypted, so nobody can look into it"
    if info.compress_type not in _METHODS:
        return Severity.SUSPECT, f"packed by method {info.compress_type}; stored or deflated is needed"
    return None
