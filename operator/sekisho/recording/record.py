"""The record: every entry is on disk before what it speaks of happens.

One thread writes. It takes all entries that wait, writes them at once, and tells those who wait once the disk has
them (group commit). Where the disk fails, nobody is told that it has; it is tried again with the next entries, from
the last whole line on. Tiles and checkpoints are written behind that, by the same thread.
"""

import asyncio
import contextlib
import hashlib
import hmac
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sekisho.errors import Reason, SekishoError, UnavailableError
from sekisho.ledger.checkpoint import Checkpoint
from sekisho.ledger.entry import OPENED, encode_entry
from sekisho.ledger.merkle import EMPTY_ROOT
from sekisho.ledger.notes import NoteKey
from sekisho.ledger.receipt import Batch, SignedBatch, Written, batch_of, sign_batch
from sekisho.recording.claim import Claim
from sekisho.recording.keeper import Keeper, Keeping, Lag
from sekisho.recording.keys import LogKey, read_body_key, read_keys_before, read_log_key, write_public
from sekisho.recording.logs import LOGS, Keys, LogLimits, Logs
from sekisho.recording.patience import Patience

_log = logging.getLogger(__name__)
_EMPTY: Final = Checkpoint("", 0, EMPTY_ROOT)
_NOTHING: Final = Batch("", 0, ())
_MAX_SIGNED: Final = 64
Entry = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RecordLimits:
    """Bounds of the record.

    Attributes:
        segment_bytes: Size of a log after which the next is begun.
        segment_seconds: Age of a log after which the next is begun.
        max_bytes: Size of all files together; nothing is recorded beyond it.
        max_waiting: Entries that may wait for the disk.
        commit_seconds: How long an entry waits for the disk before it is refused.
        lazy_seconds: How long an entry that nobody waits for may wait for others to be written with.
        checkpoint_seconds: How far the signed checkpoint may be behind.
    """

    segment_bytes: int = 64 << 20
    segment_seconds: float = 86_400.0
    max_bytes: int = 900 << 20
    max_waiting: int = 4096
    commit_seconds: float = 5.0
    retry_seconds: float = 0.5
    checkpoint_seconds: float = 5.0
    lazy_seconds: float = 0.1


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose logs these are.

    Attributes:
        instance: Which replica writes; part of every entry, and of the origin of its logs.
        name: Of the installation and process; the origin of a log is NAME/INSTANCE/when it began.
        key_file: Ed25519 private key in PEM; None: one is made, and kept in the folder.
        before_file: The key before, where there is one: a log that it signed is handed over.
    """

    instance: str
    name: str = "sekisho"
    key_file: Path | None = None
    before_file: Path | None = None


@dataclass(slots=True)
class _Waiting:
    """An entry that waits for the disk. Without bytes a checkpoint is waited for, without `done` nothing is."""

    entry: bytes | None
    done: "asyncio.Future[Any] | Future[Any] | None"
    loop: asyncio.AbstractEventLoop | None = None
    at: float = field(default_factory=time.monotonic)


_Outcome = tuple["asyncio.Future[Any] | Future[Any]", Any, SekishoError | None]


class Record:
    """Appends entries to logs in one folder, which no other process may have meanwhile. Open it, close it.

    Args:
        folder: Where keys and logs are; made where it is missing.
        identity: Whose.
        limits: Bounds.
        keeping: What becomes of logs that have ended.
        refusal: How a refusal begins while nothing can be recorded: what does not happen then.
        observe: Told how long each commit took, and how many entries it had.
    """

    def __init__(
        self,
        folder: Path,
        identity: Identity,
        *,
        limits: RecordLimits | None = None,
        keeping: Keeping | None = None,
        refusal: str = "nothing is relayed that cannot be recorded",
        observe: Callable[[float, int], None] = lambda seconds, entries: None,
    ) -> None:
        self._folder = folder
        self._identity = identity
        self._limits = limits or RecordLimits()
        self._refusal = refusal
        self._observe = observe
        self._waiting: list[_Waiting] = []
        # Taken itself where nobody is told: every entry does, and by way of the condition it costs more.
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._calling: asyncio.AbstractEventLoop | None = None
        self._closing = self._hurry = False
        self._patience = Patience(self._limits.commit_seconds, self._unavailable)
        self._thread: threading.Thread | None = None
        self._keeper = Keeper(folder / LOGS, keeping or Keeping(), note=self._note, active=self._active)
        self._claim = Claim(folder)
        self._logs: Logs | None = None
        self._signed: dict[tuple[str, int], SignedBatch] = {}
        # The key of bodies has been taken in already: that costs more than a body does.
        self._keys: tuple[LogKey, hmac.HMAC] | None = None
        self._key_id = ""
        # Spelt once a second; one assignment, since two threads do it.
        self._second = -1, ""
        self._named: NoteKey | None = None
        self._failed_at = self._published_at = float("-inf")
        self.problem: str | None = "the record is not open yet"

    @property
    def head(self) -> Checkpoint:
        """The last signed head: log, number of entries, root of the tree over them."""
        return (self._logs.published if self._logs is not None else None) or _EMPTY

    @property
    def lag(self) -> Lag:
        """How far the copy of the logs is behind."""
        return self._keeper.lag

    def open(self) -> None:
        """Start the threads; a folder that cannot be used is a problem told, and tried again with every entry."""
        self._thread = threading.Thread(target=self._work, name="record", daemon=True)
        self._thread.start()
        self._keeper.open()

    async def close(self) -> None:
        """Write what waits and a last checkpoint, end the threads, and copy what was written last."""
        self._keeper.stop()
        with self._wake:
            self._closing = True
            self._wake.notify()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, self._limits.commit_seconds)
        if self._thread is None or not self._thread.is_alive():
            await asyncio.to_thread(self._keeper.close, self._active())
            # Last of all: until then nobody else seals or copies what is here.
            self._claim.release()

    def digest_body(self, body: bytes) -> str:
        """Return a keyed digest of a body: equal bodies can be found by who holds the key, none can be guessed.

        Raises:
            UnavailableError: The key is not there.
        """
        if self._keys is None:
            raise self._unavailable()
        digest = self._keys[1].copy()
        digest.update(body)
        return f"hmac-sha256:{digest.hexdigest()}"

    def receipt(self, written: Written) -> str:
        """Return the log's signed word that an entry is on disk: one line, fit for a header. For one event loop alone.

        Raises:
            UnavailableError: The key is not there.
        """
        if self._keys is None:
            raise self._unavailable()
        batch, key = batch_of(written), self._keys[0]
        signed = self._signed.get((batch.origin, batch.first))
        if signed is None:
            at = time.time_ns() // 1_000_000
            signed = sign_batch(batch, self._name(key, batch.origin), key.sign, at=at)
            self._signed[batch.origin, batch.first] = signed
            if len(self._signed) > _MAX_SIGNED:
                self._signed.pop(next(iter(self._signed)))
        return signed.spell(written)

    def _name(self, key: LogKey, origin: str) -> NoteKey:
        """Return the public key under the name of a log; computed once for each log."""
        if self._named is None or self._named.name != origin:
            self._named = key.named(origin)
        return self._named

    async def append(self, entry: Entry) -> Written:
        """Return once the entry is on disk.

        Raises:
            RefusedError: RecordUnavailable; the entry is too long, or cannot be spelt.
            UnavailableError: RecordUnavailable; what the entry speaks of must not happen.
        """
        written: Written = await self._wait(encode_entry({**self._stamp(), **entry}))
        return written

    async def checkpoint(self) -> bytes:
        """Return a signed checkpoint over everything that is on disk now.

        Raises:
            UnavailableError: RecordUnavailable.
        """
        data: bytes = await self._wait(None)
        return data

    def _wait(self, entry: bytes | None) -> "asyncio.Future[Any]":
        loop = asyncio.get_running_loop()
        done: asyncio.Future[Any] = loop.create_future()
        self._enqueue(_Waiting(entry, done, loop))
        self._patience.watch(done, loop)
        return done

    def put(self, entry: Entry) -> None:
        """Record what nobody waits for: it is on disk with the next entry that somebody waits for, or soon by itself.

        Raises:
            RefusedError: RecordUnavailable; the entry is too long, or cannot be spelt.
            UnavailableError: RecordUnavailable; too much waits already, or the record cannot be written now.
        """
        if self.problem is not None:
            raise self._unavailable()
        self._enqueue(_Waiting(encode_entry({**self._stamp(), **entry}), None))

    def _enqueue(self, waiting: _Waiting) -> None:
        with self._lock:
            if self._closing or len(self._waiting) >= self._limits.max_waiting:
                raise self._unavailable()
            self._waiting.append(waiting)
            if waiting.done is None:
                return
            if (loop := waiting.loop) is None:
                self._hurry = True
                self._wake.notify()
            elif self._calling is not loop:
                # Woken once for all that this turn of the event loop brings, which then share a commit.
                self._calling = loop
                loop.call_soon(self._call)

    def _call(self) -> None:
        with self._wake:
            self._calling, self._hurry = None, True
            self._wake.notify()

    def _note(self, entry: Entry) -> None:
        """Record what the keeper does, and wait for the disk."""
        done: Future[Any] = Future()
        self._enqueue(_Waiting(encode_entry({**self._stamp(), **entry}), done))
        try:
            done.result(self._limits.commit_seconds)
        except TimeoutError:
            raise self._unavailable() from None

    def _active(self) -> Path | None:
        return self._logs.active if self._logs is not None and self._logs.is_settled else None

    def _unavailable(self) -> UnavailableError:
        return UnavailableError(
            Reason.RECORD_UNAVAILABLE,
            f"{self._refusal}: {self.problem or 'the disk does not keep up'}",
        )

    def _work(self) -> None:
        self._prepare()
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._hurry or self._closing, timeout=self._limits.lazy_seconds)
                self._hurry = False
                batch, self._waiting = self._waiting, []
                ending = self._closing and not batch
            if ending:
                self._end()
                return
            if batch:
                self._commit(batch)
            elif self.problem is not None:
                self._prepare()
            self._publish_behind()

    def _prepare(self) -> bool:
        """Open keys and log where they are not open; tell whether all is well."""
        if time.monotonic() - self._failed_at < self._limits.retry_seconds:
            return False
        try:
            self._claim.take()
            if self._keys is None:
                self._keys = self._read_keys()
            if self._logs is None:
                self._logs = self._open_logs(self._keys[0])
            if not self._logs.is_open:
                self._logs.open(self._opening())
        except SekishoError as error:
            self._fail(error.message)
            return False
        except OSError as error:
            self._fail(f"{self._folder}: {error.strerror}")
            return False
        if self.problem is not None:
            _log.info("the record is open", extra={"log": self._logs.origin, "entries": self._logs.head.size})
        self.problem = None
        return True

    def _read_keys(self) -> tuple[LogKey, hmac.HMAC]:
        body = read_body_key(self._folder)
        key = read_log_key(self._folder, self._identity.key_file)
        write_public(self._folder, key.named(self._writer))
        self._key_id = hashlib.sha256(body).hexdigest()[:16]
        return key, hmac.new(body, digestmod="sha256")

    @property
    def _writer(self) -> str:
        return f"{self._identity.name}/{self._identity.instance}"

    def _open_logs(self, key: LogKey) -> Logs:
        limits = self._limits
        bounds = LogLimits(limits.segment_bytes, limits.segment_seconds, limits.max_bytes)
        identity = self._identity
        before = read_keys_before(self._folder, identity.key_file, identity.before_file)
        return Logs(self._folder / LOGS, self._writer, Keys(key, before), bounds)

    def _opening(self) -> dict[str, Any]:
        return {"kind": OPENED, **self._stamp(), "keyId": self._key_id}

    def _stamp(self) -> dict[str, str]:
        now = time.time_ns() // 1_000_000
        second, spelt = self._second
        if second != now // 1000:
            second = now // 1000
            spelt = datetime.fromtimestamp(second, UTC).isoformat().removesuffix("+00:00")
            self._second = second, spelt
        return {"at": f"{spelt}.{now % 1000:03d}+00:00", "instance": self._identity.instance}

    def _commit(self, batch: list[_Waiting]) -> None:
        error: SekishoError | None = None
        results: Sequence[Any] = [None] * len(batch)
        if (self._logs is None or not self._logs.is_open) and not self._prepare():
            error = self._unavailable()
        else:
            try:
                results = self._write(batch)
            except SekishoError as failure:
                self._fail(failure.message)
                error = self._unavailable()
            except OSError as failure:
                self._fail(f"{self._folder}: {failure.strerror}")
                error = self._unavailable()
            except Exception as failure:  # noqa: BLE001 - the thread goes on, and what is on the disk is read anew
                self._start_over(failure)
                error = self._unavailable()
        if error is not None and any(item.done is None for item in batch):
            _log.error("entries that nobody waited for were not recorded", extra={"detail": error.message})
        _tell(batch, results, error)
        self._observe(time.monotonic() - batch[0].at, 0 if error else len(batch))

    def _write(self, batch: list[_Waiting]) -> Sequence[Any]:
        assert self._logs is not None  # noqa: S101 -- narrows the type
        entries = [item.entry for item in batch if item.entry is not None]
        written = self._logs.append(entries, self._opening()) if entries else _NOTHING
        checkpoint = self._publish() if len(entries) < len(batch) else None
        results, place = list[Any](), 0
        for item in batch:
            if item.entry is None:
                results.append(checkpoint)
                continue
            # Who waits for nothing is told nothing.
            results.append(written.take(place) if item.done is not None else None)
            place += 1
        return results

    def _publish(self) -> bytes:
        assert self._logs is not None  # noqa: S101 -- narrows the type
        self._published_at = time.monotonic()
        return self._logs.publish()

    def _publish_behind(self) -> None:
        """Write tiles and a checkpoint now and then; where that fails, entries are recorded all the same."""
        if self._logs is None or self._logs.is_published or not self._logs.is_open:
            return
        if time.monotonic() - self._published_at >= self._limits.checkpoint_seconds:
            try:
                self._publish()
            except OSError as error:
                _log.error("a checkpoint cannot be written", extra={"detail": error.strerror})
            except Exception as error:  # noqa: BLE001 - likewise
                self._start_over(error)

    def _end(self) -> None:
        if self._logs is not None:
            if self._logs.is_open and not self._logs.is_published:
                with contextlib.suppress(OSError):
                    self._logs.publish()
            self._logs.close()

    def _start_over(self, failure: Exception) -> None:
        """Believe nothing that is known of the log but what the disk says, after what nobody foresaw."""
        self._fail(f"{self._folder}: {type(failure).__name__}")
        if self._logs is not None:
            self._logs.close()
            self._logs = None

    def _fail(self, problem: str) -> None:
        if problem != self.problem:
            _log.error("the record cannot be written", extra={"detail": problem})
        self.problem = problem
        self._failed_at = time.monotonic()


def _tell(batch: list[_Waiting], results: Sequence[Any], error: SekishoError | None) -> None:
    """Wake all who wait for a commit, each event loop once."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Outcome]] = {}
    for item, result in zip(batch, results, strict=True):
        if item.done is None:
            continue
        outcome = item.done, result, error
        if item.loop is None:
            _settle([outcome])
        else:
            by_loop.setdefault(item.loop, []).append(outcome)
    for loop, outcomes in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the loop may have ended
            loop.call_soon_threadsafe(_settle, outcomes)


def _settle(outcomes: list[_Outcome]) -> None:
    for future, result, error in outcomes:
        if not future.done():
            future.set_exception(error) if error else future.set_result(result)
