"""Seal one file in one pass: read, encrypt and write here, both digests in two threads beside it."""

import hashlib
import io
import os
import secrets
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from sekisho.cli.failures import refuse
from sekisho.cli.layout import PlainFile
from sekisho.errors import Reason, RefusedError
from sekisho.formats.choose import parse_layout
from sekisho.seal.facts import SALT_BYTES, SEGMENT_BYTES, TAG_BYTES, BlobFacts, ModelIdentity, SealedFile
from sekisho.seal.segments import SegmentSealer, cut_segments, derive_file_key

Row = tuple[int, bytes]
_DEPTH = 2


@dataclass(slots=True)
class Digests:
    """Two threads that hash plaintext and ciphertext in order while the next segment is encrypted."""

    _plain: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "hash-plaintext"))
    _sealed: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "hash-ciphertext"))

    def add(
        self, plain: Any, ciphertext: Any, *, of: memoryview, sealed: memoryview
    ) -> tuple[Future[Any], Future[Any]]:
        """Hash one segment in both threads."""
        return self._plain.submit(plain.update, of), self._sealed.submit(ciphertext.update, sealed)

    def close(self) -> None:
        """End both threads."""
        self._plain.shutdown()
        self._sealed.shutdown()


@dataclass(slots=True)
class _Slot:
    """Buffers of one segment, used again once both digests have read them."""

    plain: bytearray = field(default_factory=lambda: bytearray(SEGMENT_BYTES))
    sealed: bytearray = field(default_factory=lambda: bytearray(SEGMENT_BYTES + TAG_BYTES))
    pending: tuple[Future[Any], ...] = ()

    def wait(self) -> None:
        for future in self.pending:
            future.result()
        self.pending = ()


@dataclass(frozen=True, slots=True)
class Sealer:
    """Seal files of one model with its data key.

    Attributes:
        data_key: 32 secret bytes; never written anywhere.
        advance: Told how many bytes were done.
    """

    model: ModelIdentity
    data_key: bytes = field(repr=False)
    digests: Digests
    advance: Callable[[int], None]

    def seal_file(self, source: PlainFile, target: Path, *, stored_as: str) -> tuple[SealedFile, tuple[Row, ...]]:
        """Seal one file under a new salt; whatever `target` held is gone.

        Raises:
            RefusedError: The file changed while it was read.
        """
        salt = secrets.token_bytes(SALT_BYTES)
        lengths = cut_segments(source.size, find_boundaries(source))
        key = derive_file_key(self.data_key, self.model, path=source.path, salt=salt)
        sealer = SegmentSealer(key, len(lengths))
        plain, ciphertext = hashlib.sha256(), hashlib.sha256()
        with open_plain(source) as reading, target.open("wb", buffering=0) as writing:
            tags = self._seal_segments(sealer, lengths, (reading, writing), (plain, ciphertext))
            facts = os.fstat(reading.fileno())
            if reading.read(1) or (facts.st_size, facts.st_ctime_ns) != (source.size, source.changed_ns):
                raise _changed(source)
            os.fsync(writing.fileno())
        sealed = SealedFile(
            path=source.path, size=source.size, digest=f"sha256:{plain.hexdigest()}", salt=salt, segments=len(lengths),
            ciphertext=BlobFacts(size=source.size, digest=f"sha256:{ciphertext.hexdigest()}"), stored_as=stored_as,
        )  # fmt: skip
        return sealed, tuple(zip(lengths, tags, strict=True))

    def _seal_segments(
        self, sealer: SegmentSealer, lengths: tuple[int, ...], files: tuple[Any, Any], hashes: tuple[Any, Any]
    ) -> list[bytes]:
        tags: list[bytes] = []
        slots = [_Slot() for _ in range(min(_DEPTH, len(lengths)))]
        try:
            for index, length in enumerate(lengths):
                slot = slots[index % len(slots)]
                slot.wait()
                plain = memoryview(slot.plain)[:length]
                sealed = memoryview(slot.sealed)[: length + TAG_BYTES]
                _fill(files[0], plain)
                sealer.seal_into(index, plain, sealed)
                tags.append(bytes(sealed[length:]))
                slot.pending = self.digests.add(*hashes, of=plain, sealed=sealed[:length])
                write_all(files[1], sealed[:length])
                self.advance(length)
        finally:
            for slot in slots:
                slot.wait()
        return tags


def find_boundaries(source: PlainFile) -> tuple[int, ...]:
    """List the offsets where tensors begin or end, so that segments are cut there.

    Nothing is decided here: a malformed header yields no boundaries, and refusing it is the scan's business.
    """
    with io.BufferedReader(open_plain(source)) as stream:  # type: ignore[type-var]
        try:
            layout = parse_layout(source.path, stream, size=source.size)
        except RefusedError:
            return ()
    return layout.boundaries() if layout else ()


def write_all(file: Any, data: memoryview) -> None:
    """Write everything to an unbuffered file; a full disk may take only a part at first."""
    while data.nbytes:
        data = data[file.write(data) :]


def open_plain(source: PlainFile) -> BinaryIO:
    """Open a file, unbuffered, and no link that has taken its place."""
    handle = os.open(source.place, os.O_RDONLY | os.O_NOFOLLOW)
    return os.fdopen(handle, "rb", buffering=0)


def _fill(file: Any, target: memoryview) -> None:
    while target.nbytes:
        count = file.readinto(target)
        if not count:
            raise refuse("a file became shorter while it was sealed; seal when nothing writes to the model")
        target = target[count:]


def _changed(source: PlainFile) -> Exception:
    text = f"{source.place} changed while it was sealed; seal when nothing writes to the model"
    return refuse(text, reason=Reason.SOURCE_INVALID)
