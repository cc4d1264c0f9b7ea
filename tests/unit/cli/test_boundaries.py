import json
from pathlib import Path

import pytest

from sekisho.cli.layout import list_plain_files
from sekisho.cli.pipeline import find_boundaries
from tests.unit.formats.files import build_gguf, build_onnx, build_safetensors, entry, initializer


def find(folder: Path, name: str, data: bytes) -> tuple[int, ...]:
    (folder / name).write_bytes(data)
    return find_boundaries(list_plain_files(folder / name)[0])


def test_a_malformed_header_yields_no_boundaries(tmp_path: Path) -> None:
    assert find(tmp_path, "a.safetensors", b"\xff" * 40) == ()
    assert find(tmp_path, "a.gguf", b"GGUF") == ()


def test_a_file_without_tensors_yields_no_boundaries(tmp_path: Path) -> None:
    assert find(tmp_path, "config.json", json.dumps({}).encode()) == ()


@pytest.mark.parametrize(
    ("name", "data", "tensors"),
    [
        ("a.safetensors", build_safetensors({"a": {"dtype": "U8", "shape": [9], "data_offsets": [0, 9]}}, bytes(9)), 1),
        ("a.gguf", build_gguf((), (entry("a", (2,), 0, 0), entry("b", (2,), 0, 32)), bytes(40)), 3),
        ("a.onnx", build_onnx(initializer("a", (2,), 1, bytes(8))), 1),
    ],
)
def test_tensors_of_every_format_are_cut_where_they_begin(tmp_path: Path, name: str, data: bytes, tensors: int) -> None:
    found = find(tmp_path, name, data)
    assert len(found) in {tensors, tensors + 1}
    assert all(0 < offset < len(data) for offset in found)
