"""The cache folder: hashes of inputs, locks between builders, finished archives and their sidecars."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

_KEPT_ARCHIVES = 3


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """An image that lies finished in the cache."""

    name: str
    tag: str
    """Full name with a tag made of the hash of the inputs: it never points at something else later."""
    digest: str
    """Digest of the image's manifest, as a pod names it after the @."""
    bytes: int
    """Size of the archive."""
    packages: dict[str, str] = field(default_factory=dict)
    """Debian package → version laid into the root."""

    @property
    def reference(self) -> str:
        """The image by digest, as manifests name it."""
        return f"{self.tag.rpartition(':')[0]}@{self.digest}"

    @property
    def archive(self) -> Path:
        """Where its archive lies."""
        return archive_path(self.name, self.tag.rpartition(":")[2])


def cache_folder() -> Path:
    """Return the folder outside the tree that holds everything built; ``SEKISHO_CACHE`` moves it."""
    if chosen := os.environ.get("SEKISHO_CACHE"):
        return Path(chosen).resolve()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache").resolve() / "sekisho"


def hash_inputs(words: Iterable[str], paths: Sequence[Path]) -> str:
    """Return 16 hex digits over words and over names and contents of files and folders.

    Compiled Python and dot files do not count: they change without a change of meaning.
    """
    total = hashlib.sha256()
    for word in words:
        total.update(b"w" + word.encode() + b"\0")
    for path in paths:
        for file in sorted(_files_of(path)):
            name = file.relative_to(path.parent).as_posix()
            total.update(b"f" + name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()[:16]


def _files_of(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for file in path.rglob("*"):
        hidden = any(part.startswith(".") or part == "__pycache__" for part in file.relative_to(path).parts)
        if file.is_file() and not hidden:
            yield file


@contextmanager
def locked(path: Path, what: str) -> Iterator[None]:
    """Hold an exclusive lock; wait for another builder, saying so once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{what}: another builder is at it, waiting")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def locked_if_free(path: Path) -> Iterator[bool]:
    """Hold an exclusive lock unless somebody has it; yield whether it is held."""
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def archive_path(name: str, inputs: str) -> Path:
    """Return where the archive of an image with these inputs lies."""
    return cache_folder() / "images" / f"{name}-{inputs}.tar"


def find_built(name: str, inputs: str) -> BuiltImage | None:
    """Return the finished image of these inputs, or None where it must be built; what is found counts as used now."""
    archive = archive_path(name, inputs)
    try:
        image = BuiltImage(**json.loads(archive.with_suffix(".json").read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    if not (archive.is_file() and archive.stat().st_size == image.bytes):
        return None
    os.utime(archive)  # the least used go first: another checkout that shares the cache builds images of its own
    return image


def drop_halves(name: str) -> None:
    """Remove what builders of an image that were killed left of its archives. Call it under the image's lock."""
    for half in (cache_folder() / "images").glob(f".{name}-{'?' * 16}.*"):
        half.unlink(missing_ok=True)


def keep_built(image: BuiltImage, inputs: str) -> None:
    """Write the sidecars of a finished archive and drop the archives of that name that were not used for longest."""
    archive = archive_path(image.name, inputs)
    write_whole(archive.with_suffix(".json"), json.dumps(asdict(image), indent=1))
    point_at(image)
    others = sorted(
        (p for p in archive.parent.glob(f"{image.name}-*.tar") if p != archive and _is_of(image.name, p)),
        key=lambda p: p.stat().st_mtime,
    )
    for old in others[: max(0, len(others) - _KEPT_ARCHIVES + 1)]:
        old.unlink(missing_ok=True)
        old.with_suffix(".json").unlink(missing_ok=True)


def point_at(image: BuiltImage) -> None:
    """Make ``<name>.json`` describe the image of the current inputs."""
    facts = asdict(image) | {"archive": str(image.archive), "reference": image.reference}
    write_whole(cache_folder() / "images" / f"{image.name}.json", json.dumps(facts, indent=1))


def _is_of(name: str, archive: Path) -> bool:
    return len(archive.stem) == len(name) + 17


def write_whole(path: Path, text: str) -> None:
    """Replace a file so that a reader sees the old text or the new one, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(text)
    part.replace(path)


def say(line: str) -> None:
    """Show progress; standard output stays free for what programs read."""
    print(line, file=sys.stderr, flush=True)
