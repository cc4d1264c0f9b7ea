"""Unseal a model into the pod's memory: ciphertext streams from the depot through one buffer, segment by segment.

Nothing of a segment is written before its tag held, no ciphertext is kept, and a file gets its name once it is whole.
"""

import contextlib
import http.client
import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Final

from sekisho.agent.artifact import Artifact, read_artifact
from sekisho.agent.config import SealedConfig
from sekisho.agent.release import KeyRequest, KeySource, wipe
from sekisho.agent.transport import ServerAccess, open_blob
from sekisho.agent.volume import (
    check_memory_backed,
    check_room,
    keep_whole_files,
    prepare_partials,
    wipe_partials,
)
from sekisho.agent.weights import WeightList, wipe_weights
from sekisho.attest.unsealing import REPORTABLE
from sekisho.errors import Reason, RefusedError, SekishoError, UnavailableError
from sekisho.seal.facts import SEGMENT_BYTES, TAG_BYTES, SealedManifest
from sekisho.seal.keys import check_commitment
from sekisho.seal.segments import Segment, SegmentOpener, derive_file_key

_CONNECTIONS: Final = 3
_ATTEMPTS: Final = 4
_PAUSE_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be unsealed, from where, by whose key, and to where.

    Attributes:
        root: The memory-backed volume.
        stop: Ends the work soon after it is set.
        progress: Called with the number of bytes that were added.
    """

    depot: ServerAccess
    keys: KeySource
    told: SealedConfig
    root: Path
    stop: threading.Event
    progress: Callable[[int], None] = lambda _count: None


@dataclass(slots=True)
class _Job:
    """One file to unseal; its key is wiped once the file is whole, or is given up."""

    index: int
    key: bytearray = field(repr=False)


def unseal_model(order: Order, listing: WeightList) -> SealedManifest:
    """Make the volume hold exactly the plaintext of the accepted model.

    Files that are there, whole and true to their digest, stay; where all are, no key is asked for. What was half
    written is wiped first.

    Raises:
        RefusedError: The artifact, the key or the volume is not as it must be.
        UnavailableError: The depot or the release of keys did not answer; the call may be repeated.
    """
    check_memory_backed(order.root)
    wipe_partials(order.root)
    try:
        return _bring(order, listing)
    except RefusedError as error:
        if error.reason in REPORTABLE:  # else the depot refuses to be asked, which says nothing about the artifact
            wipe_weights(order.root)  # of what is refused nothing stays, whole files included
        raise


def _bring(order: Order, listing: WeightList) -> SealedManifest:
    artifact = read_artifact(order.depot, listing, order.told)
    files = artifact.manifest.files
    kept = keep_whole_files(order.root, artifact.manifest, order.stop)
    check_room(order.root, artifact.manifest)
    missing = [index for index, file in enumerate(files) if file.path not in kept]
    if missing:
        try:
            _unseal_files(order, artifact, missing, partials=prepare_partials(order.root))
        finally:
            wipe_partials(order.root)
    return artifact.manifest


def _unseal_files(order: Order, artifact: Artifact, missing: Sequence[int], *, partials: Path) -> None:
    jobs = _derive_jobs(order, artifact, missing)
    files = artifact.manifest.files
    order.progress(sum(file.size for file in files) - sum(files[index].size for index in missing))
    waiting: queue.SimpleQueue[_Job] = queue.SimpleQueue()
    for job in jobs:
        waiting.put(job)
    halt = threading.Event()
    try:
        with ThreadPoolExecutor(max_workers=_CONNECTIONS, thread_name_prefix="unseal") as pool:
            count = min(_CONNECTIONS, len(jobs))
            tasks = [pool.submit(_work, _Line(order, artifact, partials, halt), waiting) for _ in range(count)]
        errors = [error for task in tasks if (error := task.exception()) is not None]
        if errors:
            raise min(errors, key=_rank)
    finally:
        for job in jobs:
            wipe(job.key)


def _rank(error: BaseException) -> int:
    """Put what went wrong before what only stopped because of that, and refusals before what may pass."""
    if not isinstance(error, SekishoError):
        return 0
    return 3 if error.reason is Reason.WEIGHTS_PENDING else 1 + error.retry


def _derive_jobs(order: Order, artifact: Artifact, missing: Sequence[int]) -> list[_Job]:
    """Ask for the data key, check that it is the right one, and keep of it only the keys of the files."""
    manifest = artifact.manifest
    model = manifest.model
    wanted = KeyRequest(artifact.key_file, order.told.manifest_digest, model.name, model.version, model.data_class)
    data_key = order.keys.ask(wanted)
    try:
        check_commitment(data_key, manifest.commitment)
        files = [(index, manifest.files[index]) for index in missing]
        return [
            _Job(index, bytearray(derive_file_key(data_key, model, path=file.path, salt=file.salt)))
            for index, file in files
        ]
    finally:
        wipe(data_key)


def _work(line: "_Line", waiting: "queue.SimpleQueue[_Job]") -> None:
    """Unseal files until none waits; an error here ends the other lines as well."""
    try:
        while True:
            try:
                job = waiting.get_nowait()
            except queue.Empty:
                return
            line.unseal(job)
    except BaseException:
        line.halt.set()
        raise
    finally:
        line.wipe()


class _Line:
    """One connection at a time, and the buffers that every byte of it passes through.

    Args:
        order: What is to be done.
        artifact: What is to be opened.
        partials: Folder of half-written files.
        halt: Set once any line failed.
    """

    def __init__(self, order: Order, artifact: Artifact, partials: Path, halt: threading.Event) -> None:
        self._order, self._artifact, self._partials, self.halt = order, artifact, partials, halt
        self._sealed = bytearray(SEGMENT_BYTES + TAG_BYTES)
        self._plain = bytearray(SEGMENT_BYTES)

    def wipe(self) -> None:
        """Overwrite what the buffers hold."""
        wipe(self._plain)
        wipe(self._sealed)

    def unseal(self, job: _Job) -> None:
        """Unseal one file and give it its name."""
        file = self._artifact.manifest.files[job.index]
        partial = self._partials / f"{job.index:05d}"
        try:
            with _disk_errors(file.path), partial.open("xb", buffering=0) as out:
                self._fill(job.index, SegmentOpener(job.key, file.segments, name=f'"{file.path}"'), out)
                os.fchmod(out.fileno(), 0o444)
        finally:
            wipe(job.key)
        with _disk_errors(file.path):
            target = self._order.root / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            partial.rename(target)

    def _fill(self, index: int, opener: SegmentOpener, out: FileIO) -> None:
        """Unseal every segment; where a connection breaks off, go on by another from the same segment."""
        segments = self._artifact.table.segments(index)
        done = failures = 0
        while done < len(segments):
            before = done
            try:
                for _ in self._stream(index, segments[done:], opener, out):
                    done += 1
            except UnavailableError:
                failures = 0 if done > before else failures + 1
                if failures >= _ATTEMPTS or self._is_over() or self._order.stop.wait(_PAUSE_SECONDS * failures):
                    raise

    def _stream(self, index: int, segments: Sequence[Segment], opener: SegmentOpener, out: FileIO) -> Iterator[Segment]:
        file = self._artifact.manifest.files[index]
        offset = segments[0].offset
        with open_blob(self._order.depot, file.ciphertext.digest, offset=offset) as response:
            span = f"bytes {offset}-{file.size - 1}/{file.size}"
            if offset and response.headers.get("Content-Range") != span:
                raise UnavailableError(
                    Reason.DEPOT_UNREACHABLE, f'the depot did not resume "{file.path}" at byte {offset}'
                )
            for segment in segments:
                if self._is_over():
                    raise UnavailableError(Reason.WEIGHTS_PENDING, "the transfer was stopped")
                with _disk_errors(file.path):
                    self._open(segment, opener, response, out)
                self._order.progress(segment.length)
                yield segment

    def _open(self, segment: Segment, opener: SegmentOpener, response: http.client.HTTPResponse, out: FileIO) -> None:
        """Read one segment, open it, and write it; nothing is written before its tag held."""
        end = segment.length
        sealed, plain = memoryview(self._sealed)[: end + TAG_BYTES], memoryview(self._plain)[:end]
        _read_whole(response, sealed[:end])
        sealed[end:] = segment.tag
        opener.open_into(segment.index, sealed, plain)
        _write_whole(out, plain)

    def _is_over(self) -> bool:
        return self._order.stop.is_set() or self.halt.is_set()


def _read_whole(response: http.client.HTTPResponse, view: memoryview) -> None:
    done = 0
    try:
        while done < len(view) and (count := response.readinto(view[done:])):
            done += count
    except (OSError, http.client.HTTPException) as error:
        raise UnavailableError(Reason.DEPOT_UNREACHABLE, f"the depot broke off: {type(error).__name__}") from error
    if done < len(view):
        raise UnavailableError(Reason.DEPOT_UNREACHABLE, f"the depot broke off {len(view) - done} bytes too early")


def _write_whole(out: FileIO, view: memoryview) -> None:
    done = 0
    while done < len(view):
        done += out.write(view[done:])


@contextlib.contextmanager
def _disk_errors(path: str) -> Iterator[None]:
    """Tell a full volume from a broken connection: both are OSErrors."""
    try:
        yield
    except OSError as error:
        raise RefusedError(
            Reason.SIZE_EXCEEDED,
            f'"{path}" cannot be written to the memory-backed volume: {error.strerror or type(error).__name__}; make '
            "it larger by stating the Model's size",
        ) from error
