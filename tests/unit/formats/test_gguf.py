import struct
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import Reason, RefusedError
from sekisho.formats.gguf import parse_gguf, read_gguf_texts
from sekisho.formats.layout import Layout
from tests.unit.formats.files import build_gguf, entry, text

U32 = struct.Struct("<I")
NAME = text("general.name") + U32.pack(8) + text("tiny")
LAYERS = text("layers") + U32.pack(4) + U32.pack(2)
TOKENS = text("tokens") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("b")
SCORES = text("scores") + struct.pack("<IIQ", 9, 6, 2) + bytes(8)
ENTRIES = (entry("a", (2,), 0, 0), entry("q", (256, 2), 12, 32))
DATA = bytes(32 + 288)
GOOD = build_gguf((NAME, LAYERS, TOKENS, SCORES), ENTRIES, DATA)


def align(value: int, kind: int = 4) -> bytes:
    return text("general.alignment") + U32.pack(kind) + U32.pack(value)


def parse(data: bytes) -> Layout:
    return parse_gguf(BytesIO(data), len(data))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"", "the magic of 4 bytes at byte 0 passes the end of 0 bytes", id="empty"),
        pytest.param(b"GGML" + bytes(20), "it begins with 47474d4c, 47475546 is needed", id="magic"),
        pytest.param(build_gguf(version=1), "its version is 1, 2 or 3", id="version 1"),
        pytest.param(build_gguf(version=3 << 24), "in little-endian order is needed", id="big-endian"),
        pytest.param(build_gguf(counts=(2**40, 0)), "it has 1099511627776 tensors, 262144 are allowed", id="tensors"),
        pytest.param(build_gguf(counts=(0, 2**40)), "it has 1099511627776 keys, 65536 are allowed", id="keys"),
        pytest.param(build_gguf(counts=(5, 0)), "passes the end of 24 bytes", id="no tensors"),
        pytest.param(build_gguf((struct.pack("<Q", 2**60),), counts=(0, 1)), "512 are allowed", id="long key"),
        pytest.param(build_gguf((text(b"\xff"),)), "is not UTF-8", id="latin"),
        pytest.param(build_gguf((text("k") + U32.pack(13),)), "has the type 13, which is not known", id="type"),
        pytest.param(
            build_gguf((text("k") + struct.pack("<IQ", 8, 2**40),)), "a text has 1099511627776 bytes", id="long text"
        ),
        pytest.param(
            build_gguf((text("k") + struct.pack("<IQ", 8, 99),)), "a text of 99 bytes at byte .* passes", id="cut text"
        ),
        pytest.param(
            build_gguf((text("k") + struct.pack("<IIQ", 9, 9, 1),)), "has the type 9, which is not known", id="nested"
        ),
        pytest.param(
            build_gguf((text("k") + struct.pack("<IIQ", 9, 8, 2**40),)), "a list has 1099511627776 texts", id="texts"
        ),
        pytest.param(
            build_gguf((text("k") + struct.pack("<IIQ", 9, 12, 2**63),)), "a list of .* passes the end", id="list"
        ),
        pytest.param(build_gguf((align(24),)), "its alignment is 24, a power of two", id="alignment"),
        pytest.param(build_gguf((align(0),)), "its alignment is 0, a power of two", id="alignment 0"),
        pytest.param(build_gguf((align(2**20),)), "its alignment is 1048576", id="alignment large"),
        pytest.param(build_gguf((align(32, kind=5),)), "its alignment is 0", id="alignment type"),
        pytest.param(build_gguf((), (entry("a", (1,) * 5, 0, 0),)), "has 5 dimensions, 4 are allowed", id="dimensions"),
        pytest.param(build_gguf((), (entry("a", (1,), 99, 0),)), "has the type 99, which is not known", id="ggml"),
        pytest.param(build_gguf((), (entry("a", (0,), 0, 0),)), "a shape that no F32 can have", id="no elements"),
        pytest.param(build_gguf((), (entry("a", (2**40,) * 4, 0, 0),)), "that no F32 can have", id="overflow"),
        pytest.param(build_gguf((), (entry("a", (100,), 12, 0),)), "Q4_K can have: rows of 256 elements", id="row"),
        pytest.param(build_gguf((), (ENTRIES[0], ENTRIES[0]), DATA), "two tensors have one name", id="twice"),
        pytest.param(
            build_gguf((), (entry("a", (2,), 0, 0), entry("b", (2,), 0, 0)), DATA),
            'tensor "b" begins at 0, 32 is the next aligned place',
            id="overlap",
        ),
        pytest.param(
            build_gguf((), (entry("a", (2,), 0, 64),), DATA), 'tensor "a" begins at 64, 0 is the next', id="gap"
        ),
        pytest.param(GOOD[:-1], "tensors end at byte .*, the file at", id="short"),
        pytest.param(GOOD + bytes(32), "less than 32 may follow", id="rest"),
    ],
)
def test_a_malformed_or_oversized_file_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(RefusedError, match=message) as caught:
        parse(data)
    assert caught.value.reason is Reason.FORMAT_INVALID
    assert caught.value.message.startswith("not a valid GGUF file: ")


def test_a_header_over_33_mib_is_refused_though_each_of_its_parts_is_allowed() -> None:
    with pytest.raises(RefusedError, match="its header has more than 34603008 bytes"):
        parse(build_gguf((text("k" * 512) + U32.pack(8) + text(""),) * 65_536))


def test_the_layout_tells_names_types_and_places_ascending() -> None:
    layout = parse(GOOD)
    start = len(GOOD) - len(DATA)
    assert [(t.name, t.dtype, t.shape, t.offset, t.size) for t in layout.tensors] == [
        ("a", "F32", (2,), start, 8),
        ("q", "Q4_K", (256, 2), start + 32, 288),
    ]
    assert layout.boundaries() == (start, start + 8, start + 32)


def test_another_alignment_and_padding_at_the_end_are_read() -> None:
    data = build_gguf((align(64),), (entry("a", (2,), 0, 0),), bytes(64), alignment=64)
    assert parse(data).tensors[0].offset == len(data) - 64
    assert parse(build_gguf(version=2)).tensors == ()
    assert parse(build_gguf((), (entry("one", (), 0, 0),), bytes(4))).tensors[0].size == 4


def test_wanted_texts_are_read_and_values_of_other_types_are_passed_over() -> None:
    assert read_gguf_texts(BytesIO(GOOD), len(GOOD), wanted=lambda key: key != "layers") == {"general.name": "tiny"}
    assert read_gguf_texts(BytesIO(GOOD), len(GOOD), wanted=lambda key: key == "layers") == {}


def test_a_wanted_text_that_stands_twice_is_refused() -> None:
    data = build_gguf((NAME, NAME))
    with pytest.raises(RefusedError, match='two values stand under the key "general'):
        read_gguf_texts(BytesIO(data), len(data), wanted=lambda _: True)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_or_read_and_never_crash(data: bytes) -> None:
    for candidate in (data, build_gguf((data,), counts=(1, 2))):
        with pytest.raises(RefusedError):
            parse(candidate)


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_a_flipped_byte_is_refused_or_stays_within_the_file(place: int, mask: int) -> None:
    data = bytearray(GOOD)
    data[place] ^= mask
    try:
        layout = parse(bytes(data))
    except RefusedError:
        return
    assert all(0 <= t.offset <= t.offset + t.size <= len(data) for t in layout.tensors)


@given(st.integers(0, len(GOOD) - 1))
def test_a_file_that_was_cut_anywhere_is_refused(length: int) -> None:
    with pytest.raises(RefusedError):
        parse(GOOD[:length])
