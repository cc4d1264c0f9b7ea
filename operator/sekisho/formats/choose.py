"""Choose the parser of a file by its name."""

from collections.abc import Callable, Mapping
from typing import BinaryIO, Final

from sekisho.formats.gguf import parse_gguf
from sekisho.formats.layout import Layout
from sekisho.formats.onnx import parse_onnx
from sekisho.formats.safetensors import parse_safetensors

PARSERS: Final[Mapping[str, Callable[[BinaryIO, int], Layout]]] = {
    ".safetensors": parse_safetensors,
    ".gguf": parse_gguf,
    ".onnx": parse_onnx,
}


def parse_layout(path: str, stream: BinaryIO, *, size: int) -> Layout | None:
    """Read the header of the file at `path`; None where its name belongs to no format with tensors.

    Raises:
        RefusedError: The name promises a format, and the file is not of it.
    """
    for suffix, parse in PARSERS.items():
        if path.lower().endswith(suffix):
            return parse(stream, size)
    return None
