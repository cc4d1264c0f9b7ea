"""Whatever a model file says of itself, reading it costs what its bytes allow, and it ends in a layout or a refusal."""

import struct
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.errors import Reason, RefusedError
from sekisho.formats.choose import PARSERS
from sekisho.formats.layout import MAX_TENSORS, Layout
from tests.unit.formats.files import (
    block,
    build_gguf,
    build_onnx,
    build_safetensors,
    entry,
    initializer,
    number,
    text,
    varint,
)
from tests.unit.fuzz import MIB, changed, measure_peak

GOOD = {
    ".safetensors": build_safetensors(
        {
            "__metadata__": {"format": "pt"},
            "a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
            "b": {"dtype": "U8", "shape": [3], "data_offsets": [16, 19]},
        },
        bytes(19),
    ),
    ".gguf": build_gguf(
        (
            text("general.name") + struct.pack("<I", 8) + text("tiny"),
            text("tokens") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("b"),
            text("scores") + struct.pack("<IIQ", 9, 6, 2) + bytes(8),
            text("layers") + struct.pack("<II", 4, 2),
        ),
        (entry("a", (32,), 0, 0), entry("b", (32, 2), 8, 128)),
        bytes(128 + 68),
    ),
    ".onnx": build_onnx(
        initializer("a", (2, 3), 1, bytes(24)),
        initializer("b", (3,), 22, b"\x01\x02", packed=True),
        initializer("c", (9,), 1, None) + block(13, block(1, b"location") + block(2, b"weights/a.bin") + number(3, 1)),
    ),
}
FAR = struct.pack("<Q", 2**63 - 1)


def read(suffix: str, data: bytes, *, size: int | None = None) -> tuple[object, int]:
    return measure_peak(lambda: PARSERS[suffix](BytesIO(data), len(data) if size is None else size))


@pytest.mark.slow
@settings(max_examples=150)
@given(st.data())
@pytest.mark.parametrize("suffix", GOOD)
def test_any_changes_end_in_a_layout_within_the_file_or_a_refusal(suffix: str, data: st.DataObject) -> None:
    file = data.draw(changed(GOOD[suffix]))
    found, peak = read(suffix, file)
    assert peak < MIB
    if isinstance(found, RefusedError):
        assert found.reason is Reason.FORMAT_INVALID
        assert len(found.message) < 1000
        return
    assert isinstance(found, Layout)
    assert all(0 <= t.offset <= t.offset + t.size <= len(file) for t in found.tensors)


@pytest.mark.parametrize(
    ("suffix", "data", "message"),
    [
        pytest.param(".safetensors", FAR, "33554432 are allowed", id="safetensors header"),
        pytest.param(".safetensors", struct.pack("<Q", 2**25), "passes the end", id="safetensors header of 32 MiB"),
        pytest.param(".gguf", build_gguf(counts=(2**63, 0)), "262144 are allowed", id="gguf tensors"),
        pytest.param(".gguf", build_gguf(counts=(MAX_TENSORS, 0)), "passes the end", id="no gguf tensors"),
        pytest.param(".gguf", build_gguf(counts=(0, 65_536)), "passes the end", id="no gguf keys"),
        pytest.param(".gguf", build_gguf((FAR,)), "512 are allowed", id="gguf key"),
        pytest.param(
            ".gguf", build_gguf((text("k") + struct.pack("<I", 8) + FAR,)), "4194304 are allowed", id="gguf text"
        ),
        pytest.param(
            ".gguf", build_gguf((text("k") + struct.pack("<II", 9, 4) + FAR,)), "passes the end", id="gguf list"
        ),
        pytest.param(
            ".gguf", build_gguf((text("k") + struct.pack("<II", 9, 8) + FAR,)), "2097152 are allowed", id="gguf texts"
        ),
        pytest.param(
            ".gguf", build_gguf((text("k") + struct.pack("<IIQ", 9, 8, 2**21),)), "passes the end", id="no gguf texts"
        ),
        pytest.param(".onnx", varint(7 << 3 | 2) + varint(2**62), "passes the end", id="onnx graph"),
        pytest.param(
            ".onnx", block(7, varint(5 << 3 | 2) + varint(2**40)), "passes the end", id="onnx tensor"
        ),
        pytest.param(
            ".onnx", build_onnx(initializer("a", (2**62,) * 16, 1, b"")), "needs", id="onnx dimensions"
        ),
    ],
)  # fmt: skip
def test_what_is_claimed_and_not_there_is_refused_and_costs_nothing(suffix: str, data: bytes, message: str) -> None:
    found, peak = read(suffix, data)
    assert isinstance(found, RefusedError)
    assert found.reason is Reason.FORMAT_INVALID
    assert message in found.message
    assert peak < MIB // 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suffix", "data"),
    [
        pytest.param(
            ".safetensors",
            build_safetensors(b'{"__metadata__":{' + b",".join(b'"%x":""' % i for i in range(100_000)) + b"}}"),
            id="metadata",
        ),
        pytest.param(
            ".safetensors", build_safetensors(b'{"a":{"shape":[' + '"あ",'.encode() * 100_000 + b"0]}}"), id="texts"
        ),
        pytest.param(".safetensors", build_safetensors(b'{"a":"' + b"a" * MIB + '😀"}'.encode()), id="wide"),
        pytest.param(
            ".gguf",
            build_gguf((), [entry(f"{i:x}", (8,), 0, 32 * i) for i in range(5000)], bytes(32 * 5000)),
            id="tensors",
        ),
        pytest.param(
            ".onnx", build_onnx(*(initializer(f"{i:x}", (1,), 2, b"a") for i in range(5000))), id="initializers"
        ),
    ],
)
def test_the_densest_headers_cost_a_bounded_multiple_of_their_bytes(suffix: str, data: bytes) -> None:
    assert read(suffix, data)[1] < 24 * len(data) + MIB


@pytest.mark.parametrize(("sign", "most"), [(b":", 5 * MAX_TENSORS), (b",", 10 * MAX_TENSORS)])
def test_a_header_of_more_values_than_tensors_could_have_is_refused_before_it_is_parsed(sign: bytes, most: int) -> None:
    data = build_safetensors(b'{"a":"' + sign * (most + 1) + b'"}')
    found, peak = read(".safetensors", data)
    assert isinstance(found, RefusedError)
    assert "the header has more than 262144 tensors" in found.message
    assert peak < 2 * len(data) + MIB
