"""Unseal a model into the pod's memory: ciphertext streams from the depot through buffers, segment by segment.

Nothing of a segment is written before its tag held, no ciphertext is kept, and a file gets its name once it is whole.
"""

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from sekisho.agent.artifact import Artifact, read_artifact
from sekisho.agent.config import SealedConfig
from sekisho.agent.lines import LINES, Line, Stretch, Target, cut_stretches
from sekisho.agent.release import KeyRequest, KeySource, wipe
from sekisho.agent.transport import ServerAccess
from sekisho.agent.volume import (
    check_memory_backed,
    check_room,
    keep_whole_files,
    prepare_partials,
    wipe_partials,
)
from sekisho.agent.weights import WeightList, wipe_weights
from sekisho.attest.unsealing import REPORTABLE
from sekisho.errors import Reason, RefusedError, SekishoError
from sekisho.seal.facts import SealedFile
from sekisho.seal.keys import check_commitment
from sekisho.seal.segments import derive_file_key


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be unsealed, from where, by whose key, and to where.

    Attributes:
        root: The memory-backed volume.
        stop: Ends the work soon after it is set.
        progress: Called with the number of bytes that were added.
        stays_sealed: Tells by its path that a file is not to be unsealed.
    """

    depot: ServerAccess
    keys: KeySource
    told: SealedConfig
    root: Path
    stop: threading.Event
    progress: Callable[[int], None] = lambda _count: None
    stays_sealed: Callable[[str], bool] = lambda _path: False


def unseal_model(order: Order, listing: WeightList) -> Artifact:
    """Make the volume hold exactly the plaintext of the accepted model, but for what stays sealed.

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


def _bring(order: Order, listing: WeightList) -> Artifact:
    artifact = read_artifact(order.depot, listing, order.told)
    wanted = [(index, file) for index, file in enumerate(artifact.manifest.files) if not order.stays_sealed(file.path)]
    files = [file for _, file in wanted]
    kept = keep_whole_files(order.root, files, order.stop)
    check_room(order.root, files)
    missing = [(index, file) for index, file in wanted if file.path not in kept]
    if missing:
        try:
            targets = _derive_targets(order, artifact, missing, prepare_partials(order.root))
            order.progress(sum(file.size for file in files if file.path in kept))
            _unseal_files(order, artifact, targets, [index for index, _ in missing])
        finally:
            wipe_partials(order.root)
    return artifact


def open_data_key(keys: KeySource, artifact: Artifact) -> bytearray:
    """Ask for the data key, and check that it is the one that the manifest commits to; the caller wipes it.

    Raises:
        SekishoError: It is not released, or is another.
    """
    manifest = artifact.manifest
    model = manifest.model
    wanted = KeyRequest(artifact.key_file, artifact.manifest_digest, model.name, model.version, model.data_class)
    data_key = keys.ask(wanted)
    try:
        check_commitment(data_key, manifest.commitment)
    except BaseException:
        wipe(data_key)
        raise
    return data_key


def _unseal_files(order: Order, artifact: Artifact, targets: Sequence[Target], indexes: Sequence[int]) -> None:
    waiting: queue.SimpleQueue[Stretch] = queue.SimpleQueue()
    halt = threading.Event()
    try:
        for target, index in zip(targets, indexes, strict=True):
            for stretch in cut_stretches(target, artifact.table.segments(index)):
                waiting.put(stretch)
        with ThreadPoolExecutor(max_workers=LINES, thread_name_prefix="unseal") as pool:
            lines = [Line(order.depot, order.stop, halt, order.progress) for _ in range(min(LINES, waiting.qsize()))]
            tasks = [pool.submit(_work, line, waiting) for line in lines]
        errors = [error for task in tasks if (error := task.exception()) is not None]
        if errors:
            raise min(errors, key=_rank)
    finally:
        for target in targets:
            target.give_up()


def _rank(error: BaseException) -> int:
    """Put what went wrong before what only stopped because of that, and refusals before what may pass."""
    if not isinstance(error, SekishoError):
        return 0
    return 3 if error.reason is Reason.WEIGHTS_PENDING else 1 + error.retry


def _derive_targets(
    order: Order, artifact: Artifact, missing: Sequence[tuple[int, SealedFile]], partials: Path
) -> list[Target]:
    """Get the data key, and keep of it only the keys of the files."""
    model = artifact.manifest.model
    data_key = open_data_key(order.keys, artifact)
    try:
        return [
            Target(
                file,
                partials / f"{index:05d}",
                order.root / file.path,
                bytearray(derive_file_key(data_key, model, path=file.path, salt=file.salt)),
            )
            for index, file in missing
        ]
    finally:
        wipe(data_key)


def _work(line: Line, waiting: "queue.SimpleQueue[Stretch]") -> None:
    """Unseal stretches until none waits; an error here ends the other lines as well."""
    try:
        while True:
            try:
                stretch = waiting.get_nowait()
            except queue.Empty:
                return
            line.unseal(stretch)
    except BaseException:
        line.halt.set()
        raise
    finally:
        line.wipe()
