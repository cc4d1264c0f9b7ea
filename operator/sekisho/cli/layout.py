"""The files of a plain model: a folder as model hubs lay it out, or one file (GGUF, ONNX)."""

import os
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
        changed_ns: Time of its last change; tells whether it is the file that was sealed before.
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
        return (_take(source, source.name),)
    if not source.is_dir():
        raise refuse(f"{source} is no folder and no file", reason=Reason.SOURCE_NOT_FOUND)
    files: list[PlainFile] = []
    for folder, names, leaves in os.walk(source):
        names[:] = sorted(name for name in names if name not in _LEFT_OUT)
        for name in [*leaves, *(name for name in names if (Path(folder) / name).is_symlink())]:
            if name not in _LEFT_OUT:
                place = Path(folder) / name
                files.append(_take(place, place.relative_to(source).as_posix()))
        if len(files) > MAX_FILES:
            raise refuse(f"{source} holds more than {MAX_FILES} files; {MAX_FILES} are allowed in one model")
    if not files:
        raise refuse(f"{source} holds no files", reason=Reason.SOURCE_NOT_FOUND)
    return tuple(sorted(files, key=lambda file: file.path))


def _take(place: Path, path: str) -> PlainFile:
    check_path(path, name="the folder")
    if place.is_symlink():
        raise refuse(f"{place} is a symbolic link; copy the model with `cp -rL` and seal the copy")
    if not place.is_file():
        raise refuse(f"{place} is no regular file")
    facts = place.stat()
    return PlainFile(path, place, facts.st_size, facts.st_mtime_ns)
