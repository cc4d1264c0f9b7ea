"""The record: every line is on disk before what it speaks of happens.

One thread writes. It takes all entries that wait, writes them at once, and tells those who wait once the disk has
them (group commit). Where the disk fails, nobody is told that it has; it is tried again with the next entries, from
the last whole line on.
"""

import asyncio
import contextlib
import hashlib
import hmac
import logging
import os
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sekisho.errors import Reason, SekishoError, UnavailableError
from sekisho.ledger.chain import Head
from sekisho.recording.segments import Segments, sync_folder

_log = logging.getLogger(__name__)
KEY_FILE: Final = "body.key"
_KEY_BYTES: Final = 32
Entry = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RecordLimits:
    """Bounds of the record.

    Attributes:
        segment_bytes: Size after which a new file is begun.
        max_bytes: Size of all files together; nothing is recorded beyond it.
        max_waiting: Entries that may wait for the disk.
        commit_seconds: How long an entry waits for the disk before it is refused.
    """

    segment_bytes: int = 64 << 20
    max_bytes: int = 900 << 20
    max_waiting: int = 4096
    commit_seconds: float = 5.0
    retry_seconds: float = 0.5


@dataclass(slots=True)
class _Waiting:
    entry: Entry
    loop: asyncio.AbstractEventLoop
    done: "asyncio.Future[None]"
    at: float = field(default_factory=time.monotonic)


class Record:
    """Appends entries to a chain of lines over files in one folder. Open it, close it, one process a folder.

    Args:
        folder: Where the files are; made where it is missing.
        instance: Which replica writes; part of every line.
        limits: Bounds.
        refusal: How a refusal begins while nothing can be recorded: what does not happen then.
        observe: Told how long each commit took, and how many entries it had.
    """

    def __init__(
        self,
        folder: Path,
        *,
        instance: str,
        limits: RecordLimits | None = None,
        refusal: str = "nothing is relayed that cannot be recorded",
        observe: Callable[[float, int], None] = lambda seconds, entries: None,
    ) -> None:
        self._folder = folder
        self._instance = instance
        self._limits = limits or RecordLimits()
        self._refusal = refusal
        self._observe = observe
        self._waiting: deque[_Waiting] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self._thread: threading.Thread | None = None
        self._file = Segments(folder, self._limits.segment_bytes, max_bytes=self._limits.max_bytes)
        self._key: bytes | None = None
        self._failed_at = float("-inf")
        self.problem: str | None = "the record is not open yet"

    @property
    def head(self) -> Head:
        """The last line that is on disk."""
        return self._file.head

    def open(self) -> None:
        """Start the thread; a folder that cannot be used is a problem told, and tried again with every entry."""
        self._thread = threading.Thread(target=self._work, name="record", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Write what waits, and end the thread."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, self._limits.commit_seconds)

    def digest_body(self, body: bytes) -> str:
        """Return a keyed digest of a body: equal bodies can be found by who holds the key, none can be guessed.

        Raises:
            UnavailableError: The key is not there.
        """
        if self._key is None:
            raise self._unavailable()
        return f"hmac-sha256:{hmac.digest(self._key, body, 'sha256').hex()}"

    async def append(self, entry: Entry) -> None:
        """Return once the entry is on disk.

        Raises:
            UnavailableError: RecordUnavailable; what the entry speaks of must not happen.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(entry, loop, loop.create_future())
        with self._wake:
            if self._closing or len(self._waiting) >= self._limits.max_waiting:
                raise self._unavailable()
            self._waiting.append(waiting)
            self._wake.notify()
        try:
            async with asyncio.timeout(self._limits.commit_seconds):
                await waiting.done
        except TimeoutError:
            raise self._unavailable() from None

    def _unavailable(self) -> UnavailableError:
        return UnavailableError(
            Reason.RECORD_UNAVAILABLE,
            f"{self._refusal}: {self.problem or 'the disk does not keep up'}",
        )

    def _work(self) -> None:
        self._prepare()
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._waiting or self._closing, timeout=self._limits.retry_seconds)
                batch = [self._waiting.popleft() for _ in range(len(self._waiting))]
                ending = self._closing and not batch
            if ending:
                self._file.close()
                return
            if batch:
                self._commit(batch)
            elif self.problem is not None:
                self._prepare()

    def _prepare(self) -> bool:
        """Open key and file where they are not open; tell whether all is well."""
        if time.monotonic() - self._failed_at < self._limits.retry_seconds:
            return False
        try:
            self._key = self._key or _read_key(self._folder)
            if not self._file.is_open:
                torn = self._file.open()
                note = {"kind": "opened", **self._stamp(), "keyId": hashlib.sha256(self._key).hexdigest()[:16]}
                self._file.append([note | ({"tornBytes": torn} if torn else {})])
        except SekishoError as error:
            self._fail(error.message)
            return False
        except OSError as error:
            self._fail(f"{self._folder}: {error.strerror}")
            return False
        if self.problem is not None:
            _log.info("the record is open", extra={"seq": self._file.head.seq})
        self.problem = None
        return True

    def _stamp(self) -> dict[str, str]:
        return {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "instance": self._instance}

    def _commit(self, batch: list[_Waiting]) -> None:
        error: SekishoError | None = None
        if not self._file.is_open and not self._prepare():
            error = self._unavailable()
        else:
            try:
                self._file.append([self._stamp() | dict(item.entry) for item in batch])
            except OSError as failure:
                self._fail(f"{self._folder}: {failure.strerror}")
                error = self._unavailable()
        _tell(batch, error)
        self._observe(time.monotonic() - batch[0].at, 0 if error else len(batch))

    def _fail(self, problem: str) -> None:
        if problem != self.problem:
            _log.error("the record cannot be written", extra={"detail": problem})
        self.problem = problem
        self._failed_at = time.monotonic()


def _tell(batch: list[_Waiting], error: SekishoError | None) -> None:
    """Wake all who wait for a commit, each event loop once."""
    by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
    for item in batch:
        by_loop.setdefault(item.loop, []).append(item.done)
    for loop, futures in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop may have ended
            loop.call_soon_threadsafe(_settle, futures, error)


def _settle(futures: "list[asyncio.Future[None]]", error: SekishoError | None) -> None:
    for future in futures:
        if not future.done():
            future.set_exception(error) if error else future.set_result(None)


def _read_key(folder: Path) -> bytes:
    """Return the key of this installation's digests of bodies; made once."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / KEY_FILE
    if not path.exists():
        fresh = folder / f"{KEY_FILE}.new"
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, secrets.token_bytes(_KEY_BYTES))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        fresh.rename(path)
        sync_folder(folder)
    key = path.read_bytes()
    if len(key) != _KEY_BYTES:
        raise UnavailableError(
            Reason.RECORD_UNAVAILABLE, f"{KEY_FILE} has {len(key)} bytes, {_KEY_BYTES} expected; restore or remove it"
        )
    return key
