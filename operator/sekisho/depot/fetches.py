"""Fetches of whole models: one at a time for each model, with progress to tell and failures to remember."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sekisho.depot.cache import BlobCache, SlowSourceError
from sekisho.depot.cluster import WeightsWish
from sekisho.depot.settings import SourceEntry
from sekisho.depot.sources.choice import choose_source
from sekisho.depot.sources.listing import Listing, RemoteFile, Source, check_listing, digest_of_list
from sekisho.depot.sources.opening import open_source
from sekisho.depot.turns import Turns
from sekisho.errors import Reason, RefusedError, SekishoError, UnavailableError
from sekisho.seal.facts import MANIFEST_NAME

_LOG: Final = logging.getLogger(__name__)
_FETCHES_AT_ONCE: Final = 4
_FETCHES_OF_ONE: Final = 3
"""How many fetches for one namespace run at once."""
_LIST_SECONDS: Final = 900.0
_SOURCES_SECONDS: Final = 5.0
_FILES_AT_ONCE: Final = 3
_ATTEMPTS: Final = 5
_FRESH_SECONDS: Final = 60.0
_REFUSED_SECONDS: Final = 10.0
_MOST_WAIT_SECONDS: Final = 60.0
_MAX_JOBS: Final = 10_000

SourcesReader = Callable[[], Sequence[SourceEntry]]


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file that is in the cache."""

    path: str
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class WeightsSet:
    """All files of a model, complete and verified."""

    digest: str
    total_bytes: int
    files: tuple[StoredFile, ...]


@dataclass(frozen=True, slots=True)
class FetchProgress:
    """How far a fetch is; `message` is for people."""

    done_bytes: int
    total_bytes: int
    message: str


@dataclass(slots=True)
class _Job:
    wish: WeightsWish
    name: str
    namespace: str
    task: "asyncio.Task[None] | None" = None
    listed: bool = False
    total: int = 0
    done: int = 0
    fetched: int = 0
    started_at: float = 0.0
    finished_at: float = 0.0
    failures: int = 0
    result: WeightsSet | None = None
    error: SekishoError | None = None

    def fail(self, error: SekishoError) -> None:
        """Note how an attempt ended; the next one waits the longer the more there were."""
        self.result, self.error = None, error
        self.failures += 1


@dataclass(slots=True)
class Fetches:
    """The fetches of this depot.

    Attributes:
        sources: Reads the configured sources; asked for every fetch, since the chart may change them.
        clock: Monotonic seconds.
        outcome: Told the reason of every fetch that ended; for metrics.
    """

    cache: BlobCache
    sources: SourcesReader
    anonymous: bool = False
    clock: Callable[[], float] = time.monotonic
    outcome: Callable[[Reason], None] = lambda _reason: None
    _entries: tuple[float, Sequence[SourceEntry]] | None = None
    _jobs: dict[str, _Job] = field(default_factory=dict)
    _turns: Turns = field(default_factory=lambda: Turns(_FETCHES_AT_ONCE, of_one=_FETCHES_OF_ONE))

    def admit(self, uri: str, *, namespace: str) -> None:
        """Let a namespace pass that may have what a URI names, whatever is in the cache already.

        The small list of sources is read here now and then, not in a thread: those may all be at work on large files.

        Raises:
            RefusedError: SourceNotAllowed or StorageUriInvalid; InvalidSpec where the sources cannot be read.
        """
        now = self.clock()
        if self._entries is None or now - self._entries[0] > _SOURCES_SECONDS:
            self._entries = (now, self.sources())
        choose_source(uri, self._entries[1], anonymous=self.anonymous, namespace=namespace)

    def ask(self, wish: WeightsWish, *, namespace: str = "") -> WeightsSet | FetchProgress:
        """Return the files of a model, or how far they are; begins a fetch where none runs.

        Args:
            wish: What is wanted.
            namespace: Who wants it, and was admitted; a fetch that several want is of who began it.

        Raises:
            SekishoError: The last fetch failed; it is tried again after a while, whoever asks.
        """
        name = f"{wish.uri}\n{wish.digest or ''}\n{wish.limit_bytes}" + ("\nsealed" if wish.sealed else "")
        job = self._jobs.get(name)
        if job is None:
            self._make_room()
            job = self._jobs[name] = _Job(wish, name, namespace)
        if job.task is None and self._is_due(job):
            job.namespace = namespace
            self._begin(job)
        if job.result is not None:
            return job.result
        # While it is tried again the old failure stands until bytes flow, so that conditions do not flicker.
        if job.error is not None and not (job.task is not None and job.listed and job.done):
            raise job.error
        return self._describe(job)

    async def close(self) -> None:
        """End every fetch; what is partly there stays for the next process."""
        tasks = [job.task for job in self._jobs.values() if job.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _is_due(self, job: _Job) -> bool:
        age = self.clock() - job.finished_at
        if job.result is not None:
            complete = all(self.cache.find(file.digest) is not None for file in job.result.files)
            return not complete or (not is_pinned(job.wish) and age > _FRESH_SECONDS)
        if job.error is None:
            return True
        if not job.error.retry:
            return age > _REFUSED_SECONDS
        return age > min(_MOST_WAIT_SECONDS, 2.0 ** min(job.failures, 10))

    def _begin(self, job: _Job) -> None:
        job.result = None
        job.started_at, job.done, job.total, job.fetched, job.listed = self.clock(), 0, 0, 0, False
        job.task = asyncio.create_task(self._run(job))

    async def _run(self, job: _Job) -> None:
        try:
            async with self._turns.take(job.namespace):
                job.result = await self._fetch(job)
            job.error, job.failures = None, 0
            self.outcome(Reason.WEIGHTS_AVAILABLE)
            _LOG.info("weights are in the cache", extra={"uri": job.wish.uri, "digest": job.result.digest})
        except SekishoError as error:
            job.fail(error)
            self.outcome(error.reason)
            _LOG.warning(error.message, extra={"uri": job.wish.uri, "reason": error.reason})
        except OSError as error:
            job.fail(UnavailableError(Reason.DEPOT_FULL, f"the depot's volume cannot be used: {error.strerror}"))
            _LOG.exception("the cache cannot be used")
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and waited after
            said = f"the fetch ended with {type(error).__name__}, of which the depot's log says more"
            job.fail(UnavailableError(Reason.INTERNAL_ERROR, said))
            _LOG.exception("a fetch failed in a way that nobody foresaw")
        finally:
            job.task, job.finished_at = None, self.clock()
            self.cache.unpin(f"fetch {job.name}")

    async def _fetch(self, job: _Job) -> WeightsSet:
        wish = job.wish
        if is_pinned(wish):
            kept = await asyncio.to_thread(self._recall, job.name)
            if kept is not None:
                _check_kind(wish, kept.files)
                return kept
        entries = await asyncio.to_thread(self.sources)
        entry = choose_source(wish.uri, entries, anonymous=self.anonymous, namespace=job.namespace)
        async with open_source(wish.uri, entry, expected=wish.digest) as source:
            listing = await _list(source, wish.uri)
            files = check_listing(listing.files, limit_bytes=wish.limit_bytes, uri=wish.uri)
            _check_kind(wish, files)
            if len(files) == 1 and files[0].digest is None:
                files = (replace(files[0], digest=wish.digest),)
            job.total, job.listed = sum(file.size for file in files), True
            stored = await self._fetch_files(job, source, files)
        result = self._conclude(wish, listing, stored)
        if is_pinned(wish):
            await asyncio.to_thread(self.cache.remember_list, job.name, _encode(result))
        return result

    async def _fetch_files(self, job: _Job, source: Source, files: Sequence[RemoteFile]) -> list[StoredFile]:
        slots = asyncio.Semaphore(_FILES_AT_ONCE)

        async def fetch(file: RemoteFile) -> StoredFile:
            async with slots:
                return StoredFile(file.path, file.size, await self._fetch_file(job, source, file))

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(fetch(file)) for file in files]
        except ExceptionGroup as errors:  # not `except*`: the first Pythons 3.11 make a group of what is raised there
            raise _first(errors) from None
        return [task.result() for task in tasks]

    async def _fetch_file(self, job: _Job, source: Source, file: RemoteFile) -> str:
        """Fetch one file, going on after the source broke off; an attempt that brought something is not counted."""
        failures, most, counted = 0, 0, 0

        def note(count: int) -> None:
            nonlocal counted
            counted += count
            job.done += count

        while True:
            counted = 0
            try:
                return await self.cache.fetch(
                    file, source.read, uri=job.wish.uri, owner=f"fetch {job.name}", progress=note,
                    origin=name_origin(job.wish.uri),
                )  # fmt: skip
            except SlowSourceError:
                job.done -= counted
                raise  # begun anew later, behind those who wait by then
            except UnavailableError as error:
                job.done -= counted
                failures = 0 if counted > most else failures + 1
                most = max(most, counted)
                if failures >= _ATTEMPTS or error.reason is not Reason.SOURCE_UNREACHABLE:
                    raise
                await asyncio.sleep(min(8.0, 0.25 * 2**failures) * random.uniform(0.7, 1.0))  # noqa: S311

    def _conclude(self, wish: WeightsWish, listing: Listing, stored: Sequence[StoredFile]) -> WeightsSet:
        digest = listing.digest
        if digest is None:
            pairs = [(file.path, file.digest) for file in stored]
            digest = stored[0].digest if len(stored) == 1 else digest_of_list(pairs)
        if wish.digest is not None and wish.digest != digest:
            raise RefusedError(
                Reason.DIGEST_MISMATCH,
                f"{wish.uri} has digest {digest}, the Model expects {wish.digest}; it is not served",
            )
        return WeightsSet(digest, sum(file.size for file in stored), tuple(stored))

    def _recall(self, name: str) -> WeightsSet | None:
        raw = self.cache.recall_list(name)
        if raw is None:
            return None
        files = tuple(StoredFile(item["path"], item["size"], item["digest"]) for item in raw["files"])
        if not all(self.cache.find(file.digest) is not None for file in files):
            return None
        return WeightsSet(raw["digest"], raw["totalBytes"], files)

    def _describe(self, job: _Job) -> FetchProgress:
        if not job.listed:
            return FetchProgress(0, 0, f"asking {job.wish.uri} for its files")
        seconds = max(0.1, self.clock() - job.started_at)
        percent = 100 * job.done // job.total if job.total else 100
        rate = (job.done >> 20) / seconds
        message = f"{job.done >> 20} of {job.total >> 20} MiB ({percent} %), {rate:.0f} MiB/s"
        return FetchProgress(job.done, job.total, message)

    def _make_room(self) -> None:
        if len(self._jobs) < _MAX_JOBS:
            return
        idle = [name for name, job in self._jobs.items() if job.task is None]
        if not idle:
            raise UnavailableError(Reason.DEPOT_OVERLOADED, f"{len(self._jobs)} fetches are running or waiting")
        del self._jobs[min(idle, key=lambda name: self._jobs[name].finished_at)]


async def _list(source: Source, uri: str) -> Listing:
    try:
        async with asyncio.timeout(_LIST_SECONDS):
            return await source.list_files()
    except TimeoutError as error:
        message = f"{uri} did not name its files within {_LIST_SECONDS:.0f} s"
        raise UnavailableError(Reason.SOURCE_UNREACHABLE, message) from error


def _check_kind(wish: WeightsWish, files: Sequence[RemoteFile | StoredFile]) -> None:
    """Refuse ciphertext to who takes it for plain weights: an engine would fail on it, and nobody would say why."""
    if wish.sealed or all(file.path != MANIFEST_NAME for file in files):
        return
    raise RefusedError(
        Reason.SOURCE_INVALID,
        f"{wish.uri} is a sealed model (it has {MANIFEST_NAME}), and the pod takes plain weights: a storageUri in a "
        "service cannot unseal, so create a Model for it and name it in modelRef; where that is done, the depot looks "
        "at the Model again within minutes, and the pod is replaced",
    )


def is_pinned(wish: WeightsWish) -> bool:
    """Tell whether a wish names its content by digest, so that a complete copy never needs to be asked for again."""
    return wish.digest is not None or (wish.uri.startswith("oci://") and "@sha256:" in wish.uri)


def name_origin(uri: str) -> str:
    """Return what has to bring a file itself before it is given what others brought: a repository, or an address."""
    if not uri.startswith("oci://"):
        return uri
    repository, _, last = uri.partition("@")[0].rpartition("/")
    return f"{repository}/{last.partition(':')[0]}"


def encode_files(files: Sequence[StoredFile]) -> list[dict[str, Any]]:
    """Spell files for the agent."""
    return [{"path": file.path, "size": file.size, "digest": file.digest} for file in files]


def _encode(result: WeightsSet) -> dict[str, Any]:
    return {"digest": result.digest, "totalBytes": result.total_bytes, "files": encode_files(result.files)}


def _first(errors: ExceptionGroup[Exception]) -> Exception:
    """Pick the error to report: what nobody foresaw, then the volume's, then a refusal before a failure for now."""
    flat: list[Exception] = []
    stack: list[Exception] = [errors]
    while stack:
        item = stack.pop()
        if isinstance(item, ExceptionGroup):
            stack += item.exceptions
        else:
            flat.append(item)
    return min(flat, key=_rank)


def _rank(error: Exception) -> int:
    if isinstance(error, SekishoError):
        return 2 + error.retry
    return int(isinstance(error, OSError))
