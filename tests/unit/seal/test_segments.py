from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import Reason, RefusedError
from sekisho.seal.manifest import BlobFacts, digest_of
from sekisho.seal.segments import (
    MAX_SEGMENTS,
    SEGMENT_BYTES,
    SegmentOpener,
    SegmentSealer,
    SegmentTable,
    build_nonce,
    cut_segments,
    derive_file_key,
)
from tests.unit.seal.sealing import IDENTITY, KEY, seal

MIB = 1024 * 1024


def test_a_segment_is_never_sealed_twice_because_its_nonce_would_be_used_twice() -> None:
    sealer = SegmentSealer(KEY, 2)
    sealer.seal(0, b"one")
    with pytest.raises(RefusedError, match="segment 0 of 2 was sealed before") as caught:
        sealer.seal(0, b"two")
    assert caught.value.reason is Reason.SEAL_INVALID


@pytest.mark.parametrize("index", [-1, 2])
def test_a_segment_outside_the_file_is_neither_sealed_nor_opened(index: int) -> None:
    with pytest.raises(RefusedError, match="is no segment of this file"):
        SegmentSealer(KEY, 2).seal(index, b"")
    with pytest.raises(RefusedError, match=f"segment {index} of 2 of the file does not open"):
        SegmentOpener(KEY, 2).open(index, b"", bytes(16))


def test_a_segment_over_4_mib_is_not_sealed() -> None:
    with pytest.raises(RefusedError, match="has 4194305 bytes"):
        SegmentSealer(KEY, 1).seal(0, bytes(SEGMENT_BYTES + 1))


def test_ciphertext_needs_room_for_its_tag() -> None:
    with pytest.raises(RefusedError, match="has 3 bytes and room for 3") as caught:
        SegmentSealer(KEY, 1).seal_into(0, b"abc", bytearray(3))
    assert caught.value.reason is Reason.SEAL_INVALID


@pytest.mark.parametrize("total", [0, MAX_SEGMENTS + 1])
def test_a_file_without_segments_or_with_more_than_a_nonce_can_count_is_refused(total: int) -> None:
    with pytest.raises(RefusedError, match=f"a file has 1 to 4294967296 segments, not {total}"):
        SegmentOpener(KEY, total)


def test_a_key_of_another_length_is_refused_before_it_becomes_a_weaker_cipher() -> None:
    with pytest.raises(RefusedError, match="the file key has 16 bytes, 32 are needed") as caught:
        SegmentSealer(bytes(16), 1)
    assert caught.value.reason is Reason.KEY_MISMATCH
    with pytest.raises(RefusedError, match="the data key has 16 bytes, 32 are needed"):
        derive_file_key(bytes(16), IDENTITY, path="a", salt=bytes(32))
    with pytest.raises(RefusedError, match='the salt of "a" has 8 bytes, 32 are needed'):
        derive_file_key(KEY, IDENTITY, path="a", salt=bytes(8))


@pytest.mark.parametrize("tag", [b"", bytes(15), bytes(17)])
def test_a_tag_of_another_length_does_not_open(tag: bytes) -> None:
    with pytest.raises(RefusedError, match="does not open"):
        SegmentOpener(KEY, 1).open(0, b"abc", tag)


def test_a_tag_that_was_shortened_does_not_open_though_its_beginning_is_right() -> None:
    ciphertext, tag = SegmentSealer(KEY, 1).seal(0, b"abc")
    with pytest.raises(RefusedError, match="does not open"):
        SegmentOpener(KEY, 1).open(0, ciphertext, tag[:12])


def test_sealed_bytes_shorter_than_a_tag_or_longer_than_a_segment_do_not_open() -> None:
    for length in (0, 15, SEGMENT_BYTES + 17):
        with pytest.raises(RefusedError, match="does not open"):
            SegmentOpener(KEY, 1).open_into(0, bytes(length), bytearray(max(0, length - 16)))


def test_room_that_is_not_as_long_as_the_segment_is_refused() -> None:
    sealed = bytearray(19)
    SegmentSealer(KEY, 1).seal_into(0, b"abc", sealed)
    with pytest.raises(RefusedError, match="has 3 bytes, 4 were to be filled") as caught:
        SegmentOpener(KEY, 1).open_into(0, sealed, bytearray(4))
    assert caught.value.reason is Reason.SEAL_BROKEN


def test_what_the_cipher_wrote_before_the_tag_failed_is_wiped() -> None:
    sealed = bytearray(16 + 64)
    SegmentSealer(KEY, 1).seal_into(0, b"A" * 64, sealed)
    sealed[-1] ^= 1
    dest = bytearray(b"x" * 64)
    with pytest.raises(RefusedError, match="does not open"):
        SegmentOpener(KEY, 1).open_into(0, sealed, dest)
    assert dest == bytes(64)


def test_the_same_place_as_last_and_not_last_does_not_open() -> None:
    ciphertext, tag = SegmentSealer(KEY, 1).seal(0, b"abc")
    with pytest.raises(RefusedError, match="segment 0 of 2"):
        SegmentOpener(KEY, 2).open(0, ciphertext, tag)


def test_a_message_never_holds_key_or_plaintext() -> None:
    with pytest.raises(RefusedError) as caught:
        SegmentOpener(KEY, 1, name='"a"').open(0, b"plain", bytes(16))
    assert KEY.hex() not in str(caught.value)
    assert "plain" not in str(caught.value)


def test_a_tag_of_another_length_does_not_enter_the_table() -> None:
    with pytest.raises(RefusedError, match="a tag has 4 bytes, 16 are needed"):
        SegmentTable.of([[(1, bytes(4))]])


def with_table(rows: list[list[tuple[int, bytes]]], **changes: object) -> tuple[bytes, object]:
    table = SegmentTable.of(rows).encode()
    manifest = seal({"a": (b"abc", b"de"), "b": (b"",)}).manifest
    return table, replace(manifest, table=BlobFacts(len(table), digest_of(table)), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rows", "text"),
    [
        ([[(3, bytes(16)), (3, bytes(16))], [(0, bytes(16))]], "of 5 bytes into 2 segments of 3 to 3 bytes, 6 in all"),
        ([[(5, bytes(16)), (0, bytes(16))], [(0, bytes(16))]], "into 2 segments of 0 to 5 bytes"),
        ([[(SEGMENT_BYTES + 1, bytes(16)), (2, bytes(16))], [(0, bytes(16))]], "to 4194305 bytes"),
        ([[(3, bytes(16)), (2, bytes(16))], [(1, bytes(16))]], 'cuts "b" of 0 bytes'),
        ([[(3, bytes(16)), (2, bytes(16))]], "has 40 bytes, 3 segments need 20 each"),
    ],
)
def test_a_table_that_does_not_cut_its_files_exactly_is_refused(rows: list[list[tuple[int, bytes]]], text: str) -> None:
    table, manifest = with_table(rows)
    with pytest.raises(RefusedError, match=text) as caught:
        SegmentTable.parse(table, manifest)  # type: ignore[arg-type]
    assert caught.value.reason is Reason.SEAL_INVALID


def test_the_table_tells_lengths_tags_and_offsets_of_each_file() -> None:
    sealed = seal()
    table = SegmentTable.parse(sealed.blobs["sekisho.table"], sealed.manifest)
    assert table.lengths(1) == (0,)
    assert table.lengths(2) == (4, 12, 4)
    assert [(row.index, row.offset, row.length) for row in table.segments(2)] == [(0, 0, 4), (1, 4, 12), (2, 16, 4)]
    assert [row.tag for row in table.segments(2)] == list(table.tags(2))
    assert table.encode() == sealed.blobs["sekisho.table"]


def test_a_nonce_is_seven_zeros_the_place_and_the_last_flag() -> None:
    assert build_nonce(258, last=True).hex() == "00000000000000" + "00000102" + "01"
    assert build_nonce(0, last=False) == bytes(12)


@pytest.mark.parametrize(
    ("size", "boundaries", "lengths"),
    [
        (0, (), (0,)),
        (1, (), (1,)),
        (SEGMENT_BYTES, (), (SEGMENT_BYTES,)),
        (SEGMENT_BYTES + 1, (), (SEGMENT_BYTES, 1)),
        (3 * MIB, (MIB, 2 * MIB), (3 * MIB,)),
        (5 * MIB, (3 * MIB,), (3 * MIB, 2 * MIB)),
        (10 * MIB, (MIB,), (MIB, 4 * MIB, 4 * MIB, MIB)),
        (7 * MIB, (5 * MIB, 6 * MIB), (4 * MIB, 3 * MIB)),
        (2 * MIB, (-1, 0, 2 * MIB, 9 * MIB, MIB, MIB), (2 * MIB,)),
    ],
)
def test_pieces_are_packed_whole_until_the_next_would_pass_4_mib(
    size: int, boundaries: tuple[int, ...], lengths: tuple[int, ...]
) -> None:
    assert cut_segments(size, boundaries) == lengths


@given(st.integers(0, 100 * MIB), st.lists(st.integers(0, 100 * MIB), max_size=40))
def test_segments_cover_the_file_and_never_cut_a_piece_that_would_fit(size: int, boundaries: list[int]) -> None:
    lengths = cut_segments(size, boundaries)
    assert sum(lengths) == size
    assert all(0 < length <= SEGMENT_BYTES for length in lengths) or (size == 0 and lengths == (0,))
    assert len(lengths) <= 2 * -(-size // SEGMENT_BYTES) + 1
    cuts = {sum(lengths[:count]) for count in range(len(lengths) + 1)}
    edges = sorted({0, size, *(edge for edge in boundaries if edge < size)})
    for start, end in pairwise(edges):
        if end - start > SEGMENT_BYTES:
            assert start in cuts
        else:
            assert not any(start < cut < end for cut in cuts)


@given(st.binary(max_size=200), st.integers(1, 9), st.data())
def test_a_segment_opens_at_its_own_place_only(plaintext: bytes, total: int, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, total - 1))
    other = data.draw(st.integers(0, 10))
    ciphertext, tag = SegmentSealer(KEY, total).seal(place, plaintext)
    opener = SegmentOpener(KEY, total)
    assert opener.open(place, ciphertext, tag) == plaintext
    if other != place:
        with pytest.raises(RefusedError):
            opener.open(other, ciphertext, tag)
