"""The files of a plain model: a folder as model hubs lay it out, or one file (GGUF, ONNX)."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sekisho.cli.failures import refuse
from sekisho.errors import Reason
from sekisho.seal.facts import MAX_FILES
from sekisho.seal.manifest import check_path

_LEFT_OUT: Final = frozenset({".git", ".cache", ".gitattributes", ".gitignore", ".DS_Store"})


@dataclass(frozen=True, slots=True)
class PlainFile:
    """One file to seal.

    Attributes:
        path: As it will stand in the manifest.
        place: Where it is now.
        changed_ns: Time of its last change as the file system keeps it, which nobody can set back as they can its
            modification time; tells whether it is the file that was scanned, or sealed before.
    """

    path: str
    place: Path
    size: int
    changed_ns: int


def list_plain_files(source: Path) -> tuple[PlainFile, ...]:
    """List what will be sealed, ascending by path.

    Raises:
        RefusedError: A link, a device, too many files, a path the format does not take, nothing at all.
    """
    if source.is_symlink():
        raise refuse(f"{source} is a symbolic link; name the folder or file itself")
    if source.is_file():
        return (take_file(source, source.name),)
    if not source.is_dir():
        raise refuse(f"{source} is no folder and no file", reason=Reason.SOURCE_NOT_FOUND)
    files: list[PlainFile] = []
    for place, path in walk_model(source):
        files.append(take_file(place, path))
        if len(files) > MAX_FILES:
            raise refuse(f"{source} holds more than {MAX_FILES} files; {MAX_FILES} are allowed in one model")
    if not files:
        raise refuse(f"{source} holds no files", reason=Reason.SOURCE_NOT_FOUND)
    return tuple(sorted(files, key=lambda file: file.path))


def walk_model(source: Path) -> Iterator[tuple[Path, str]]:
    """Yield (place, path in the model) of all that a folder holds, links to folders as well, none followed."""
    for folder, names, leaves in os.walk(source):
        names[:] = sorted(name for name in names if name not in _LEFT_OUT)
        for name in [*leaves, *(name for name in names if (Path(folder) / name).is_symlink())]:
            if name not in _LEFT_OUT:
                place = Path(folder) / name
                yield place, place.relative_to(source).as_posix()


def take_file(place: Path, path: str) -> PlainFile:
    """Take one file as it is now.

    Raises:
        RefusedError: A link, a device, or a path the format does not take.
    """
    if any(ord(sign) < 32 or 127 <= ord(sign) < 160 or 0xD800 <= ord(sign) < 0xE000 for sign in path):
        raise refuse(f"the name {ascii(path)[:200]} has signs that no manifest takes; rename the file")
    check_path(path, name="the folder")
    if place.is_symlink():
        raise refuse(f"{place} is a symbolic link; copy the model with `cp -rL` and seal the copy")
    if not place.is_file():
        raise refuse(f"{place} is no regular file")
    facts = place.stat()
    return PlainFile(path, place, facts.st_size, facts.st_ctime_ns)
