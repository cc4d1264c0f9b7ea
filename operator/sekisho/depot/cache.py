"""The depot's store of files: named by their digest, bounded in size, complete or not visible at all.

Everything is below one folder: `blobs/` holds verified files, `partial/` what is being fetched (it outlives restarts,
so that a broken fetch goes on), `known/` remembers which digest a version of a source turned out to have, and which
sources have shown that they have a file: a digest is no secret, and who states one is not given what others brought.
"""

import asyncio
import hashlib
import json
import logging
import os
import re
import shutil
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from sekisho.depot.sources.listing import RemoteFile
from sekisho.errors import Reason, RefusedError, UnavailableError

_LOG: Final = logging.getLogger(__name__)
DIGEST: Final = re.compile(r"^sha256:[0-9a-f]{64}$")
_CHUNK_BYTES: Final = 4 << 20
_MARGIN_BYTES: Final = 32 << 20
_MAX_KNOWN: Final = 100_000
_MAX_NOTE_BYTES: Final = 4 << 20
_SHOWN: Final = "shown-"

_SLOWEST_BYTES: Final = 1 << 20
_SLOWEST_SECONDS: Final = 300.0

ResultT = TypeVar("ResultT")
Read = Callable[[RemoteFile, int], AsyncGenerator[bytes, None]]
Progress = Callable[[int], None]


class SlowSourceError(UnavailableError):
    """A source brings so little that whoever waits behind it should have its place; what came is kept."""


@dataclass(slots=True)
class _Blob:
    size: int
    used_at: float


@dataclass(slots=True)
class BlobCache:
    """Files by digest, at most `limit_bytes` of them.

    Attributes:
        margin_bytes: Room that is always left free on the volume.
        fetched: Told the size of every chunk that came from a source; for metrics.
    """

    root: Path
    limit_bytes: int
    margin_bytes: int = _MARGIN_BYTES
    clock: Callable[[], float] = time.time
    fetched: Progress = lambda _count: None
    _blobs: dict[str, _Blob] = field(default_factory=dict)
    _partial: dict[str, int] = field(default_factory=dict)
    _reserved: dict[str, int] = field(default_factory=dict)
    _pins: dict[str, set[str]] = field(default_factory=dict)
    _locks: dict[str, tuple[asyncio.Lock, int]] = field(default_factory=dict)
    _shown: set[str] = field(default_factory=set)

    def open(self) -> None:
        """Make the folders, and find what a former process left; blocking, called once at start.

        Raises:
            OSError: The volume cannot be used.
        """
        for name in ("blobs", "partial", "known"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        for entry in os.scandir(self.root / "blobs"):
            stat = entry.stat(follow_symlinks=False)
            if entry.is_file(follow_symlinks=False) and DIGEST.match(f"sha256:{entry.name}"):
                self._blobs[f"sha256:{entry.name}"] = _Blob(stat.st_size, stat.st_mtime)
            else:
                _remove(Path(entry.path))
        self._shown = {entry.name for entry in os.scandir(self.root / "known") if entry.name.startswith(_SHOWN)}
        for entry in os.scandir(self.root / "partial"):
            self._partial[entry.name] = entry.stat(follow_symlinks=False).st_size

    @property
    def used_bytes(self) -> int:
        """Bytes of files, of partial files, and of what running fetches were promised."""
        partial = sum(size for key, size in self._partial.items() if key not in self._reserved)
        return sum(blob.size for blob in self._blobs.values()) + partial + sum(self._reserved.values())

    def find(self, digest: str) -> Path | None:
        """Return where a file is, and note that it was used."""
        blob = self._blobs.get(digest)
        if blob is None:
            return None
        blob.used_at = self.clock()
        return self._path(digest)

    def size_of(self, digest: str) -> int:
        """Return the size of a file that is there."""
        return self._blobs[digest].size

    def pin(self, digest: str, owner: str) -> None:
        """Keep a file from being evicted for as long as `owner` holds it."""
        self._pins.setdefault(digest, set()).add(owner)

    def unpin(self, owner: str) -> None:
        """Let go of everything `owner` held."""
        for digest in [key for key, owners in self._pins.items() if owner in owners]:
            self._pins[digest].discard(owner)
            if not self._pins[digest]:
                del self._pins[digest]

    def owners(self) -> set[str]:
        """Return everyone who holds something."""
        return {owner for owners in self._pins.values() for owner in owners}

    async def fetch(
        self, file: RemoteFile, read: Read, *, uri: str, owner: str, progress: Progress, origin: str = ""
    ) -> str:
        """Make a file present and pinned by `owner`; return its digest.

        One fetch runs per file, whoever asks; what is there already, and was read from the same origin before, is not
        read again.

        Args:
            file: What to fetch.
            read: Reads it from any byte on.
            uri: Where it comes from; part of the key of files whose digest is not known before.
            owner: Who pins it.
            progress: Told how many bytes came nearer.
            origin: What states the digest; another that states the same has to bring the file as well.

        Raises:
            RefusedError: DigestMismatch, SizeExceeded or DepotFull; nothing of a wrong file is kept.
            UnavailableError: The source broke off, or drips (SlowSourceError); a further call goes on where this one
                ended.
        """
        key = _key(file, uri, origin)
        async with self._only(key):
            digest = file.digest or await asyncio.to_thread(self._recall, key)
            shown = f"{_SHOWN}{_hash(origin)[:32]}-{(digest or '').removeprefix('sha256:')}"
            # What a version turned out to be was found out from this very address.
            believed = file.digest is None or shown in self._shown
            if digest is not None and believed and self.find(digest) is not None:
                self.pin(digest, owner)
                progress(file.size)
                return digest
            self._reserve(key, file.size)
            try:
                digest = await self._transfer(key, file, read, progress)
                # Before it gets its name: under another key the same content may be here already, and be evicted now.
                self.pin(digest, owner)
                await _unbroken(self._keep(key, digest, file))
                if file.digest is not None and shown not in self._shown:
                    await _unbroken(asyncio.to_thread(_write_whole, self.root / "known" / shown, b""))
                    self._shown.add(shown)
            finally:
                self._release(key)
            return digest

    async def _transfer(self, key: str, file: RemoteFile, read: Read, progress: Progress) -> str:
        path = self.root / "partial" / key
        if file.digest is None and not file.version:
            await _unbroken(
                asyncio.to_thread(_remove, path)
            )  # nothing says that the rest would belong to the same content
        hasher = hashlib.sha256()
        done = await _unbroken(asyncio.to_thread(_rehash, path, hasher, file.size))
        progress(done)
        with path.open("ab") as out:
            if done < file.size:
                done = await self._copy(file, read(file, done), _Sink(out, hasher, done), progress)
            out.flush()
        if done != file.size:
            raise UnavailableError(
                Reason.SOURCE_UNREACHABLE, f'"{file.path}" broke off after {done} of {file.size} bytes'
            )
        digest = f"sha256:{hasher.hexdigest()}"
        if file.digest is not None and digest != file.digest:
            await asyncio.to_thread(_remove, path)
            progress(-done)
            raise RefusedError(
                Reason.DIGEST_MISMATCH, f'"{file.path}" has digest {digest}, {file.digest} expected; it was thrown away'
            )
        return digest

    async def _keep(self, key: str, digest: str, file: RemoteFile) -> None:
        await asyncio.to_thread(self._settle, key, digest, remember=file.digest is None and bool(file.version))
        self._blobs[digest] = _Blob(file.size, self.clock())

    async def _copy(
        self, file: RemoteFile, chunks: AsyncGenerator[bytes, None], sink: "_Sink", progress: Progress
    ) -> int:
        waiting, paced, loop = bytearray(), 0, asyncio.get_running_loop()
        try:
            async with asyncio.timeout(_SLOWEST_SECONDS) as pace, aclosing(chunks):
                async for chunk in chunks:
                    if sink.done + len(waiting) + len(chunk) > file.size:
                        await _unbroken(asyncio.to_thread(sink.out.truncate, 0))
                        waiting.clear()
                        raise RefusedError(
                            Reason.SIZE_EXCEEDED,
                            f'"{file.path}" is longer than the {file.size} bytes its source stated',
                        )
                    waiting += chunk
                    paced += len(chunk)
                    self.fetched(len(chunk))
                    progress(len(chunk))
                    if len(waiting) >= _CHUNK_BYTES:
                        pace.reschedule(None)  # the volume's time is not the source's
                        await self._write(sink, bytes(waiting))
                        waiting.clear()
                    if paced >= _SLOWEST_BYTES:
                        paced = 0
                        pace.reschedule(loop.time() + _SLOWEST_SECONDS)
        except TimeoutError as error:
            await self._write(sink, bytes(waiting))
            raise SlowSourceError(
                Reason.SOURCE_UNREACHABLE,
                f'"{file.path}" came too slowly: less than {_SLOWEST_BYTES >> 20} MiB in {_SLOWEST_SECONDS:.0f} s',
            ) from error
        except UnavailableError:
            await self._write(sink, bytes(waiting))  # the next attempt goes on from here
            raise
        await self._write(sink, bytes(waiting))
        return sink.done

    async def _write(self, sink: "_Sink", data: bytes) -> None:
        try:
            await _unbroken(asyncio.to_thread(sink.write, data))
        except OSError as error:
            raise UnavailableError(
                Reason.DEPOT_FULL, f"the depot's volume cannot be written: {error.strerror}"
            ) from error

    def _reserve(self, key: str, size: int) -> None:
        """Promise room for a whole file, evicting what nobody uses, longest unused first."""
        needed = size - self._partial.get(key, 0)
        if size > self.limit_bytes:
            raise RefusedError(
                Reason.DEPOT_FULL,
                f"a file of {size >> 20} MiB cannot be kept: the depot's cache holds {self.limit_bytes >> 20} MiB",
            )
        while self.used_bytes + needed > self.limit_bytes or self._free_bytes() < needed + self.margin_bytes:
            if not self._evict_one(key):
                in_use = self.used_bytes
                raise UnavailableError(
                    Reason.DEPOT_FULL,
                    f"{needed >> 20} MiB are needed, {in_use >> 20} of {self.limit_bytes >> 20} MiB are in use, "
                    f"{self._free_bytes() >> 20} MiB are free on its volume; raise depot.cache.size",
                )
        self._reserved[key] = size

    def _free_bytes(self) -> int:
        promised = sum(max(0, size - self._partial.get(key, 0)) for key, size in self._reserved.items())
        return shutil.disk_usage(self.root).free - promised

    def _evict_one(self, keep: str) -> bool:
        for key in self._partial:
            if key not in self._reserved and key != keep:
                _remove(self.root / "partial" / key)
                del self._partial[key]
                return True
        idle = [(blob.used_at, digest) for digest, blob in self._blobs.items() if digest not in self._pins]
        if not idle:
            return False
        digest = min(idle)[1]
        _remove(self._path(digest))
        del self._blobs[digest]
        return True

    def _release(self, key: str) -> None:
        self._reserved.pop(key, None)
        try:
            self._partial[key] = (self.root / "partial" / key).stat().st_size
        except OSError:
            self._partial.pop(key, None)

    def _settle(self, key: str, digest: str, *, remember: bool) -> None:
        path = self.root / "partial" / key
        path.chmod(0o444)
        # What has the name of its digest is believed by every later process, so it is on the disk before it has it.
        with path.open("rb") as file:
            os.fsync(file.fileno())
        path.rename(self._path(digest))
        if remember:
            _write_whole(self.root / "known" / key, digest.encode())
            _thin_out(self.root / "known")

    def _recall(self, key: str) -> str | None:
        text = _read_note(self.root / "known" / key).decode("ascii", "replace").strip()
        return text if DIGEST.match(text) else None

    def _path(self, digest: str) -> Path:
        return self.root / "blobs" / digest.removeprefix("sha256:")

    @asynccontextmanager
    async def _only(self, key: str) -> AsyncIterator[None]:
        lock, users = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks[key]
            if users == 1:
                del self._locks[key]
            else:
                self._locks[key] = (lock, users - 1)

    def remember_list(self, name: str, value: dict[str, Any]) -> None:
        """Keep a small JSON note under `name` (a text of any kind); blocking."""
        _write_whole(self.root / "known" / f"list-{_hash(name)}", json.dumps(value).encode())

    def recall_list(self, name: str) -> dict[str, Any] | None:
        """Return the note under `name`; blocking."""
        try:
            value = json.loads(_read_note(self.root / "known" / f"list-{_hash(name)}"))
        except ValueError:
            return None
        return value if isinstance(value, dict) else None


@dataclass(slots=True)
class _Sink:
    out: Any
    hasher: Any
    done: int

    def write(self, data: bytes) -> None:
        self.out.write(data)
        self.out.flush()
        self.hasher.update(data)
        self.done += len(data)


async def _unbroken(work: Coroutine[Any, Any, ResultT]) -> ResultT:
    """Let work on the volume end before who asked for it goes on, though it was cancelled: its thread cannot be."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOG.warning("work on the cache failed after it was given up", extra={"error": type(error).__name__})
        raise


def _key(file: RemoteFile, uri: str, origin: str) -> str:
    """Name what is being fetched: half a file of one origin is nothing that another's would go on from."""
    if file.digest is not None:
        return f"d-{file.digest.removeprefix('sha256:')}-{_hash(origin)[:32]}"
    return f"v-{_hash(chr(10).join([uri, file.locator, file.version, str(file.size)]))}"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _rehash(path: Path, hasher: Any, size: int) -> int:
    """Hash what is there of a file; a partial file longer than the whole is thrown away."""
    try:
        if path.stat().st_size > size:
            path.unlink()
            return 0
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                hasher.update(chunk)
            return file.tell()
    except FileNotFoundError:
        return 0


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _write_whole(path: Path, data: bytes) -> None:
    temporary = path.with_name(path.name + ".new")
    temporary.write_bytes(data)
    temporary.rename(path)


def _read_note(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_NOTE_BYTES)
    except OSError:
        return b""


def _thin_out(folder: Path) -> None:
    """Forget the older half once there are too many notes; each can be found out again."""
    names = list(os.scandir(folder))
    if len(names) <= _MAX_KNOWN:
        return
    for entry in sorted(names, key=lambda item: item.stat().st_mtime)[: _MAX_KNOWN // 2]:
        _remove(Path(entry.path))
