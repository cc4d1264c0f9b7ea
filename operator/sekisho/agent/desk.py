"""The desk where the engine beside the agent gets the keys of its files: brought anew each time, kept by nobody.

An engine that starts, or starts again, has its keys released anew: what is not released any more, or to a pod that may
have it no more, is not handed over either. Between two engines the agent holds no key.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sekisho.agent.artifact import Artifact
from sekisho.agent.journal import log_event
from sekisho.agent.release import KeySource, wipe
from sekisho.agent.unseal import open_data_key
from sekisho.agent.volume import check_memory_backed
from sekisho.agent.waiting import Failures, is_lasting, wait_refused, wait_unavailable
from sekisho.errors import Reason, RefusedError, SekishoError
from sekisho.loader.handover import WEIGHTS_SUFFIX, Handover, hand_over_on_demand, is_handed_over
from sekisho.seal.segments import derive_file_key

_BETWEEN_SECONDS = 0.2


@dataclass(slots=True)
class KeyDesk:
    """Hands over keys in a thread of its own, from `open` to `stop`.

    Attributes:
        artifact: What was accepted; its manifest tells which files the engine opens.
        place: Where the socket is.
        changed: Told when `trouble` is another.
        trouble: Why the last process got no keys; None where it did, or none came.
    """

    keys: KeySource
    artifact: Artifact
    place: Path
    changed: Callable[[], None] = lambda: None
    trouble: SekishoError | None = None
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _failures: Failures = field(default_factory=Failures)

    def check(self) -> None:
        """Refuse what an engine could not start with, before anything large is brought.

        Raises:
            RefusedError: The engine would find nothing to load, or the socket's folder is not in memory.
        """
        if not self._paths():
            name = self.artifact.manifest.model.name
            raise RefusedError(
                Reason.FORMAT_NOT_SERVED,
                f'model "{name}" has no file {WEIGHTS_SUFFIX} at its top, and the Runtime decrypts no other; serve it '
                "by a Runtime whose loader is files",
            )
        check_memory_backed(self.place.parent)

    def open(self) -> None:
        """Begin to listen."""
        self._thread = threading.Thread(target=self._serve, name="desk", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Hand over nothing more, and return once the socket is gone; may be called by anyone, and twice."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _serve(self) -> None:
        while not self._over.is_set():
            try:
                hand_over_on_demand(self.place, self._bring, is_over=self._over.is_set)
            except (SekishoError, OSError) as error:
                log_event("error", f"keys cannot be handed over: {error}")
                self._over.wait(wait_unavailable(0))

    def _bring(self) -> Handover | None:
        """Get the data key, keep of it only what the engine opens, and wipe it."""
        if self._over.wait(_BETWEEN_SECONDS):
            return None
        try:
            data_key = open_data_key(self.keys, self.artifact)
        except SekishoError as error:
            self._fail(error)
            return None
        self._recover()
        try:
            handover = self._derive(data_key)
        finally:
            wipe(data_key)
        log_event("info", "keys are handed over to the engine", files=len(handover.keys))
        return handover

    def _recover(self) -> None:
        self._failures = Failures()
        if self.trouble is not None:
            self.trouble = None
            self.changed()

    def _derive(self, data_key: bytearray) -> Handover:
        model, wanted = self.artifact.manifest.model, self._paths()
        keys = {
            file.path: bytearray(derive_file_key(data_key, model, path=file.path, salt=file.salt))
            for file in self.artifact.manifest.files
            if file.path in wanted
        }
        return Handover(self.artifact.manifest_digest, keys)

    def _paths(self) -> frozenset[str]:
        return frozenset(file.path for file in self.artifact.manifest.files if is_handed_over(file.path))

    def _fail(self, error: SekishoError) -> None:
        log_event("warning", f"no keys for the engine: {error.message}", reason=error.reason)
        self.trouble = error
        self.changed()
        failures = self._failures
        failures.note(refused=is_lasting(error))
        wait = wait_refused(failures.before) if failures.refused else wait_unavailable(failures.before)
        self._over.wait(wait)
