"""The volume of unsealed weights: that it is in memory, what may stay in it, and what is wiped from it."""

import ctypes
import hashlib
import os
import shutil
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sekisho.errors import Reason, RefusedError, UnavailableError
from sekisho.seal.facts import SealedFile

PARTIAL_FOLDER: Final = ".sekisho-partial"
_IN_MEMORY: Final = {0x01021994: "tmpfs", 0x858458F6: "ramfs"}
_STATFS_BYTES: Final = 512
_CHUNK_BYTES: Final = 1 << 20


def check_memory_backed(root: Path) -> None:
    """Refuse a volume that is not kept in memory: plain weights must never reach a disk.

    Pages of a tmpfs can be swapped out where the node has swap; Kubernetes keeps swap from pods unless told otherwise.

    Raises:
        RefusedError: VolumeMissing; nothing was written.
    """
    try:
        found = read_filesystem_type(root)
    except OSError as error:
        raise _no_memory(root, f"what it lies on cannot be told: {error.strerror}") from error
    if found not in _IN_MEMORY:
        raise _no_memory(root, f"it lies on a file system of type {found:#x}, not on tmpfs or ramfs")


def read_filesystem_type(root: Path) -> int:
    """Return the kernel's magic number of the file system that a folder lies on (statfs(2), f_type).

    Raises:
        OSError: The folder is not there, or the kernel does not say.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    answer = ctypes.create_string_buffer(_STATFS_BYTES)
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if libc.fstatfs(descriptor, answer) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(descriptor)
    return int.from_bytes(answer.raw[: ctypes.sizeof(ctypes.c_long)], sys.byteorder) & 0xFFFFFFFF


def prepare_partials(root: Path) -> Path:
    """Wipe what an earlier process left half written, and return an empty folder that only this user may enter."""
    folder = root / PARTIAL_FOLDER
    wipe_partials(root)
    folder.mkdir(mode=0o700)
    return folder


def wipe_partials(root: Path) -> None:
    """Remove half-written plaintext, whatever lies in its place.

    Raises:
        OSError: It cannot be removed.
    """
    folder = root / PARTIAL_FOLDER
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    elif folder.exists():
        shutil.rmtree(folder)


def check_room(root: Path, files: Sequence[SealedFile]) -> None:
    """Refuse a volume that is too small for the plaintext.

    Raises:
        RefusedError: SizeExceeded, with both numbers.
    """
    stat = os.statvfs(root)
    used = sum(path.lstat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    room = min(stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize + used)
    total = sum(file.size for file in files)
    if total > room:
        raise RefusedError(
            Reason.SIZE_EXCEEDED,
            f"the unsealed weights have {total >> 20} MiB, the memory-backed volume has room for {room >> 20} MiB; "
            "let the Model be inspected anew, or state its size, so that the volume is made large enough",
        )


def keep_whole_files(root: Path, files: Sequence[SealedFile], stop: threading.Event) -> frozenset[str]:
    """Remove everything but wanted files whose plaintext still has its digest; return their paths.

    Args:
        root: The volume.
        files: What is wanted there, of a verified manifest.
        stop: Ends it soon after it is set.

    Raises:
        UnavailableError: It was stopped.
    """
    wanted = {file.path: file for file in files}
    kept = set()
    for path in sorted(root.rglob("*"), reverse=True):  # what is in a folder comes before the folder
        name = str(path.relative_to(root))
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif _is_whole(path, wanted.get(name), stop):
            kept.add(name)
        else:
            path.unlink(missing_ok=True)
    return frozenset(kept)


def check_stop(stop: threading.Event) -> None:
    """End here if the transfer was stopped.

    Raises:
        UnavailableError: It was.
    """
    if stop.is_set():
        raise UnavailableError(Reason.WEIGHTS_PENDING, "the transfer was stopped")


def _is_whole(path: Path, file: SealedFile | None, stop: threading.Event) -> bool:
    if file is None or path.is_symlink() or not path.is_file() or path.stat().st_size != file.size:
        return False
    hasher = hashlib.sha256()
    with path.open("rb") as handle:
        while chunk := handle.read(_CHUNK_BYTES):
            check_stop(stop)
            hasher.update(chunk)
    return f"sha256:{hasher.hexdigest()}" == file.digest


def _no_memory(root: Path, why: str) -> RefusedError:
    return RefusedError(
        Reason.VOLUME_MISSING,
        f"{root} is no volume in memory, and nothing is unsealed onto a disk: {why}; mount an emptyDir of "
        "medium Memory, as the operator renders it, and see what changed the pod",
    )
