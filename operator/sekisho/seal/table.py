"""The table of a sealed model: length and tag of every segment, under the signature of the manifest."""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from sekisho.errors import Reason, RefusedError
from sekisho.seal.facts import MAX_TABLE_BYTES, SEGMENT_BYTES, TABLE_NAME, TAG_BYTES, SealedFile, SealedManifest
from sekisho.seal.manifest import digest_of

_ROW: Final = struct.Struct(">I16s")
ROW_BYTES: Final = _ROW.size


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment of a file: its place, where it starts in plaintext and ciphertext alike, its length and tag."""

    index: int
    offset: int
    length: int
    tag: bytes


@dataclass(frozen=True, slots=True)
class SegmentTable:
    """Lengths and tags of all files, in the manifest's order.

    Attributes:
        starts: For each file the row where it begins, and then the number of all rows.
        data: The rows as spelt.
    """

    starts: tuple[int, ...]
    data: bytes

    @classmethod
    def of(cls, files: Sequence[Sequence[tuple[int, bytes]]]) -> "SegmentTable":
        """Build the table from (length, tag) of each segment of each file."""
        starts = (0, *accumulate(len(rows) for rows in files))
        return cls(starts, b"".join(_ROW.pack(length, _check_tag(tag)) for rows in files for length, tag in rows))

    @classmethod
    def parse(cls, data: bytes, manifest: SealedManifest) -> "SegmentTable":
        """Read the table of a manifest; it is as trustworthy as the manifest, whose digest it must have.

        Raises:
            RefusedError: Not the table that the manifest names, or one that does not fit its files.
        """
        if len(data) != manifest.table.size or len(data) > MAX_TABLE_BYTES or digest_of(data) != manifest.table.digest:
            raise RefusedError(
                Reason.SEAL_BROKEN,
                f"{TABLE_NAME} has {len(data)} bytes and is not the table that the manifest names: "
                f"{manifest.table.size} bytes, {manifest.table.digest}",
            )
        starts = (0, *accumulate(file.segments for file in manifest.files))
        if starts[-1] * ROW_BYTES != len(data):
            raise RefusedError(
                Reason.SEAL_INVALID, f"{TABLE_NAME} has {len(data)} bytes, {starts[-1]} segments need {ROW_BYTES} each"
            )
        table = cls(starts, data)
        for index, file in enumerate(manifest.files):
            table._check_lengths(index, file)
        return table

    def encode(self) -> bytes:
        """Spell the content of `sekisho.table`."""
        return self.data

    def lengths(self, file_index: int) -> tuple[int, ...]:
        """List the plaintext lengths of a file's segments."""
        return tuple(length for length, _ in self._rows(file_index))

    def tags(self, file_index: int) -> tuple[bytes, ...]:
        """List the tags of a file's segments."""
        return tuple(tag for _, tag in self._rows(file_index))

    def segments(self, file_index: int) -> tuple[Segment, ...]:
        """List a file's segments with their offsets."""
        offsets = accumulate(self.lengths(file_index), initial=0)
        rows = zip(offsets, self._rows(file_index), strict=False)
        return tuple(Segment(index, offset, length, tag) for index, (offset, (length, tag)) in enumerate(rows))

    def _rows(self, file_index: int) -> Iterator[tuple[int, bytes]]:
        first, end = self.starts[file_index], self.starts[file_index + 1]
        return _ROW.iter_unpack(memoryview(self.data)[first * ROW_BYTES : end * ROW_BYTES])

    def _check_lengths(self, index: int, file: SealedFile) -> None:
        lengths = self.lengths(index)
        if file.size == 0 and lengths == (0,):
            return
        if min(lengths) < 1 or max(lengths) > SEGMENT_BYTES or sum(lengths) != file.size:
            raise RefusedError(
                Reason.SEAL_INVALID,
                f'{TABLE_NAME} cuts "{file.path}" of {file.size} bytes into {len(lengths)} segments of {min(lengths)} '
                f"to {max(lengths)} bytes, {sum(lengths)} in all; 1 to {SEGMENT_BYTES} each is needed, and no rest",
            )


def _check_tag(tag: bytes) -> bytes:
    if len(tag) != TAG_BYTES:
        raise RefusedError(Reason.SEAL_INVALID, f"a tag has {len(tag)} bytes, {TAG_BYTES} are needed")
    return tag
