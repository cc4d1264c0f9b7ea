"""Bring the weights into the pod's volume: each file verified while it streams, visible only when it is whole."""

import contextlib
import hashlib
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sekisho.agent.transport import ServerAccess, open_blob
from sekisho.errors import Reason, RefusedError, UnavailableError

MAX_FILES: Final = 8200  # a sealed model has up to 8192 files, and five beside them
MAX_PATH: Final = 512
_CHUNK_BYTES: Final = 1 << 20
_CONNECTIONS: Final = 3
_PARTIAL_PREFIX: Final = ".sekisho-partial-"
_DIGEST = re.compile(r"^sha256:[0-9a-f]{64}$")
_SEGMENT = re.compile(r"^[A-Za-z0-9_+=@~-][A-Za-z0-9._+=@~ -]{0,254}$")


@dataclass(frozen=True, slots=True)
class WeightFile:
    """One file: where it goes below the volume, how long it is, and its digest."""

    path: str
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class WeightList:
    """All files of a model, and the digest that stands for them."""

    digest: str
    total_bytes: int
    files: tuple[WeightFile, ...]


def parse_weight_list(body: dict[str, Any]) -> WeightList:
    """Check the depot's list: every path stays below the volume, every size is true to the total.

    Raises:
        RefusedError: SourceInvalid, naming what is wrong.
    """
    raw = body.get("files")
    if not isinstance(raw, list) or not 0 < len(raw) <= MAX_FILES:
        raise _invalid(f"it does not name 1 to {MAX_FILES} files")
    files = tuple(_parse_file(item) for item in raw)
    paths = {file.path for file in files}
    if len(paths) != len(files):
        raise _invalid("two files have the same path")
    for file in files:
        parts = file.path.split("/")
        if any("/".join(parts[:i]) in paths for i in range(1, len(parts))):
            raise _invalid(f'"{file.path}" lies below another file')
    total = sum(file.size for file in files)
    if body.get("totalBytes") != total or not _is_digest(body.get("digest")):
        raise _invalid("totalBytes or digest does not fit the files")
    return WeightList(body["digest"], total, files)


def check_path(path: Any) -> str:
    """Return `path` if it is a plain relative path.

    Raises:
        RefusedError: It is absolute, climbs, is hidden, or has characters that no weight file needs.
    """
    if not isinstance(path, str) or not 0 < len(path) <= MAX_PATH:
        raise _invalid(f"a path is not a text of 1 to {MAX_PATH} characters")
    if not all(_SEGMENT.match(part) for part in path.split("/")):
        raise _invalid(f"path {path[:80]!r} is absolute, climbs, is hidden or has unusual characters")
    return path


def bring_weights(
    access: ServerAccess, wanted: WeightList, *, root: Path, stop: threading.Event, progress: Callable[[int], None]
) -> None:
    """Make `root` hold exactly `wanted`; what is there and verifies is kept, partial files are resumed.

    Args:
        access: The depot.
        wanted: The files.
        root: The volume.
        stop: Ends the transfer soon after it is set.
        progress: Called with the number of bytes that were added.

    Raises:
        RefusedError: The volume is too small, or the depot refuses.
        UnavailableError: The transfer broke off or its digest differs; the call may be repeated.
    """
    _check_room(root, wanted)
    _remove_strangers(root, wanted)
    with ThreadPoolExecutor(max_workers=_CONNECTIONS) as pool:
        tasks = [pool.submit(_bring_file, access, f, root, stop, progress) for f in wanted.files]
        try:
            for task in tasks:
                task.result()
        except BaseException:
            for task in tasks:
                task.cancel()
            raise


def wipe_weights(root: Path) -> None:
    """Remove everything from the volume; errors are passed over, the volume goes with the pod."""
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(root)):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    Path(entry.path).unlink()


def _bring_file(
    access: ServerAccess, file: WeightFile, root: Path, stop: threading.Event, progress: Callable[[int], None]
) -> None:
    target = _prepare_target(root, file.path)
    if target.exists() and _hash_file(target, stop) == file.digest:
        progress(file.size)
        return
    target.unlink(missing_ok=True)
    partial = root / f"{_PARTIAL_PREFIX}{file.digest[7:]}-{hashlib.sha256(file.path.encode()).hexdigest()[:16]}"
    descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "r+b") as out:
        hasher = hashlib.sha256()
        for chunk in _chunks(out, stop):
            hasher.update(chunk)
        if out.tell() > file.size:
            out.seek(0)
            out.truncate()
            hasher = hashlib.sha256()
        progress(out.tell())
        if out.tell() < file.size:
            _stream(access, file, out, hasher, stop, progress)
        if f"sha256:{hasher.hexdigest()}" != file.digest:
            partial.unlink()
            progress(-file.size)
            raise UnavailableError(
                Reason.DIGEST_MISMATCH,
                f'"{file.path}" has digest sha256:{hasher.hexdigest()}, {file.digest} expected; it was thrown away',
            )
        os.fchmod(out.fileno(), 0o444)
    partial.rename(target)


def _stream(
    access: ServerAccess,
    file: WeightFile,
    out: Any,
    hasher: Any,
    stop: threading.Event,
    progress: Callable[[int], None],
) -> None:
    offset = out.tell()
    with open_blob(access, file.digest, offset=offset) as response:
        if offset and response.headers.get("Content-Range") != f"bytes {offset}-{file.size - 1}/{file.size}":
            raise UnavailableError(Reason.DEPOT_UNREACHABLE, f'the depot did not resume "{file.path}" at byte {offset}')
        left = file.size - offset
        while left and (chunk := response.read(min(_CHUNK_BYTES, left))):
            _check_stop(stop)
            out.write(chunk)
            hasher.update(chunk)
            left -= len(chunk)
            progress(len(chunk))
    out.flush()
    if left:
        raise UnavailableError(Reason.DEPOT_UNREACHABLE, f'"{file.path}" broke off {left} bytes before its end')


def _prepare_target(root: Path, path: str) -> Path:
    target = root / check_path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.parent.resolve().is_relative_to(root.resolve()):
        raise _invalid(f'"{path}" leads out of the volume by a symbolic link')
    return target


def _check_room(root: Path, wanted: WeightList) -> None:
    stat = os.statvfs(root)
    size, room = stat.f_blocks * stat.f_frsize, (stat.f_bavail * stat.f_frsize) + _used_bytes(root)
    if wanted.total_bytes > min(size, room):
        raise RefusedError(
            Reason.SIZE_EXCEEDED,
            f"the weights have {wanted.total_bytes >> 20} MiB, the volume has room for {min(size, room) >> 20} MiB; "
            "state the model's size so that the volume is made large enough",
        )


def _used_bytes(root: Path) -> int:
    return sum(path.lstat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink())


def _remove_strangers(root: Path, wanted: WeightList) -> None:
    keep = {root / file.path for file in wanted.files}
    digests = {file.digest[7:] for file in wanted.files}
    for path in list(root.rglob("*")):
        partial = path.parent == root and path.name.startswith(_PARTIAL_PREFIX)
        known = partial and path.name.removeprefix(_PARTIAL_PREFIX).partition("-")[0] in digests
        if path.is_symlink() or (path.is_file() and path not in keep and not known):
            path.unlink(missing_ok=True)


def _hash_file(path: Path, stop: threading.Event) -> str:
    hasher = hashlib.sha256()
    with path.open("rb") as file:
        for chunk in _chunks(file, stop):
            hasher.update(chunk)
    return f"sha256:{hasher.hexdigest()}"


def _chunks(file: Any, stop: threading.Event) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK_BYTES):
        _check_stop(stop)
        yield chunk


def _check_stop(stop: threading.Event) -> None:
    if stop.is_set():
        raise UnavailableError(Reason.WEIGHTS_PENDING, "the transfer was stopped")


def _parse_file(raw: Any) -> WeightFile:
    if not isinstance(raw, dict):
        raise _invalid("a file is not an object")
    size = raw.get("size")
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= 1 << 50:
        raise _invalid("a size is not a number of bytes")
    if not _is_digest(raw.get("digest")):
        raise _invalid("a digest is not sha256: and 64 hexadecimal digits")
    return WeightFile(check_path(raw.get("path")), size, raw["digest"])


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and _DIGEST.match(value) is not None


def _invalid(what: str) -> RefusedError:
    return RefusedError(Reason.SOURCE_INVALID, f"the list of weights cannot be used: {what}")
