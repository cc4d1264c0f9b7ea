import json
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import Reason, RefusedError
from sekisho.formats.layout import MAX_TENSORS, Layout
from sekisho.formats.safetensors import MAX_HEADER_BYTES, parse_safetensors
from tests.unit.formats.files import build_safetensors

HEADER: dict[str, Any] = {
    "__metadata__": {"format": "pt"},
    "b": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [4, 16]},
    "a": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]},
    "none": {"dtype": "F4", "shape": [0], "data_offsets": [16, 16]},
}
DATA = bytes(16)
GOOD = build_safetensors(HEADER, DATA)


def parse(data: bytes) -> Layout:
    return parse_safetensors(BytesIO(data), len(data))


def refused(data: bytes, text: str) -> None:
    with pytest.raises(RefusedError, match=text) as caught:
        parse(data)
    assert caught.value.reason is Reason.FORMAT_INVALID
    assert caught.value.message.startswith("not a valid safetensors file: ")


def changed(**fields: object) -> bytes:
    return build_safetensors(HEADER | {"a": HEADER["a"] | fields}, DATA)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        pytest.param(b"", "the length of the header of 8 bytes at byte 0 passes the end of 0 bytes", id="empty"),
        pytest.param(GOOD[:20], "the header of .* passes the end of 20 bytes", id="cut"),
        pytest.param(b"\xff" * 8, f"{2**64 - 1} bytes, {MAX_HEADER_BYTES} are allowed", id="huge"),
        pytest.param((2**30).to_bytes(8, "little"), f"{2**30} bytes, {MAX_HEADER_BYTES} are allowed", id="oversized"),
        pytest.param(build_safetensors(b""), "not a JSON object", id="nothing"),
        pytest.param(build_safetensors(b"[]"), "not a JSON object", id="list"),
        pytest.param(build_safetensors(b" {}"), "not a JSON object", id="indented"),
        pytest.param(build_safetensors(b"{"), "not JSON", id="open"),
        pytest.param(build_safetensors(b'{"\xff":1}'), "not JSON in UTF-8", id="latin"),
        pytest.param(build_safetensors(b'{"a":' + b"[" * 100_000 + b"}"), "not JSON", id="deep"),
        pytest.param(build_safetensors(b'{"a":' + b"1" * 5000 + b"}"), "not JSON", id="long number"),
        pytest.param(build_safetensors(b'{"a":1,"a":1}'), "two entries of the header have one name", id="twice"),
        pytest.param(build_safetensors(b"{" * (2 * MAX_TENSORS + 1)), "more than 262144 tensors", id="many objects"),
        pytest.param(build_safetensors(b"[" * (4 * MAX_TENSORS + 1)), "more than 262144 tensors", id="many lists"),
        pytest.param(build_safetensors({"__metadata__": {"a": 1}}), "metadata is not a map from text", id="metadata"),
        pytest.param(build_safetensors({"__metadata__": "x"}), "metadata is not a map from text", id="metadata text"),
        pytest.param(build_safetensors({"a" * 513: 1}), "is longer than 512 bytes", id="long name"),
        pytest.param(build_safetensors({"a": 1}), 'tensor "a" has not exactly dtype, shape', id="no object"),
        pytest.param(changed(extra=1), 'tensor "a" has not exactly dtype', id="extra"),
        pytest.param(changed(dtype="F5"), 'tensor "a" has the dtype "F5", which is not known', id="dtype"),
        pytest.param(changed(dtype=["F32"]), "which is not known", id="dtype list"),
        pytest.param(changed(shape=[-1]), "not whole numbers within bounds", id="negative"),
        pytest.param(changed(shape=[1.0]), "not whole numbers within bounds", id="fraction"),
        pytest.param(changed(shape=[True]), "not whole numbers within bounds", id="true"),
        pytest.param(changed(shape=[2**63]), "not whole numbers within bounds", id="large"),
        pytest.param(changed(shape=[1] * 17), "not whole numbers within bounds", id="dimensions"),
        pytest.param(changed(shape=[2**62] * 16), 'tensor "a" needs', id="overflow"),
        pytest.param(changed(data_offsets=[0]), "not whole numbers within bounds", id="one offset"),
        pytest.param(changed(data_offsets=[4, 0]), 'tensor "a" needs 32 bits and has -32', id="backwards"),
        pytest.param(changed(data_offsets=[0, 8]), 'tensor "a" needs 32 bits and has 64', id="size"),
        pytest.param(changed(data_offsets=[2, 6]), "begins at byte .*, the one before ends", id="overlap"),
        pytest.param(GOOD + b"x", r"tensors end at byte \d+, the file at", id="rest"),
        pytest.param(GOOD[:-1], r"tensors end at byte \d+, the file at", id="short"),
    ],
)
def test_a_malformed_or_oversized_file_is_refused(data: bytes, text: str) -> None:
    refused(data, text)


def test_more_entries_than_tensors_are_allowed_are_refused() -> None:
    header = "{" + ",".join(f'"{place}":0' for place in range(MAX_TENSORS + 2)) + "}"
    refused(build_safetensors(header.encode()), "has 262146 entries, 262144 are allowed")


def test_the_layout_tells_names_types_and_places_ascending() -> None:
    layout = parse(GOOD)
    start = len(GOOD) - 16
    assert [(t.name, t.dtype, t.shape, t.offset, t.size) for t in layout.tensors] == [
        ("a", "F32", (), start, 4),
        ("b", "BF16", (2, 3), start + 4, 12),
        ("none", "F4", (0,), start + 16, 0),
    ]
    assert layout.boundaries() == (start, start + 4)
    assert parse(build_safetensors({}, pad=6)).tensors == ()


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_or_read_and_never_crash(data: bytes) -> None:
    for candidate in (data, build_safetensors(b"{" + data)):
        try:
            parse(candidate)
        except RefusedError:
            continue


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
def test_a_flipped_byte_is_refused_or_stays_within_the_file(place: int, mask: int) -> None:
    data = bytearray(GOOD)
    data[place] ^= mask
    try:
        layout = parse(bytes(data))
    except RefusedError:
        return
    assert all(0 <= t.offset <= t.offset + t.size <= len(data) for t in layout.tensors)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(["dtype", "shape", "data_offsets"]), JSON)
def test_any_value_in_any_field_is_refused_or_read(field: str, value: object) -> None:
    data = changed(**{field: value})
    try:
        layout = parse(data)
    except RefusedError:
        return
    assert json.loads(data[8 : len(data) - 16]) is not None
    assert layout.size == len(data)
