"""Parse the header of a safetensors file: u64 length, JSON, then tensors without gap or overlap."""

import json
from math import prod
from typing import Any, BinaryIO, Final

from sekisho.errors import RefusedError
from sekisho.formats.cursor import Cursor
from sekisho.formats.layout import MAX_DIMENSIONS, MAX_NAME_BYTES, MAX_TENSORS, Layout, Tensor, refuse, show

KIND: Final = "safetensors"
MAX_HEADER_BYTES: Final = 32 * 1024 * 1024
_MAX_SIZE: Final = 2**63
_MOST_SIGNS: Final = {b"{": 2 * MAX_TENSORS, b"[": 4 * MAX_TENSORS, b":": 5 * MAX_TENSORS, b",": 10 * MAX_TENSORS}
_METADATA: Final = "__metadata__"
_BITS: Final = {
    **dict.fromkeys(("F4",), 4),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
}


def parse_safetensors(stream: BinaryIO, size: int) -> Layout:
    """Read the header of a file of `size` bytes.

    Args:
        stream: The file at its start; only the header is read, at most 32 MiB.
        size: Bytes of the whole file.

    Raises:
        RefusedError: Malformed, oversized, or tensors that do not cover the data exactly.
    """
    cursor = Cursor(stream, size, KIND)
    length = cursor.number(8, what="the length of the header")
    header = _parse_header(cursor.take(length, most=MAX_HEADER_BYTES, what="the header"))
    _check_metadata(header.pop(_METADATA, {}))
    tensors = sorted(
        (_read_tensor(name, entry, 8 + length) for name, entry in header.items()), key=lambda t: (t.offset, t.size)
    )
    end = 8 + length
    for tensor in tensors:
        if tensor.offset != end:
            raise refuse(
                KIND, f"tensor {show(tensor.name)} begins at byte {tensor.offset}, the one before ends at {end}"
            )
        end += tensor.size
    if end != size:
        raise refuse(KIND, f"tensors end at byte {end}, the file at {size}")
    return Layout(KIND, size, tuple(tensors))


def _parse_header(data: bytes) -> dict[str, Any]:
    # Counted before parsing: an object, a list or an item of Python is many times larger than its signs.
    if any(data.count(sign) > most for sign, most in _MOST_SIGNS.items()):
        raise refuse(KIND, f"the header has more than {MAX_TENSORS} tensors")
    try:
        header = json.loads(data.decode(), object_pairs_hook=_unique) if data[:1] == b"{" else None
    except RefusedError:
        raise
    except (ValueError, RecursionError) as error:
        raise refuse(KIND, "the header is not JSON in UTF-8") from error
    if not isinstance(header, dict):
        raise refuse(KIND, "the header is not a JSON object")
    if len(header) > MAX_TENSORS + 1:
        raise refuse(KIND, f"the header has {len(header)} entries, {MAX_TENSORS} are allowed")
    return header


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise refuse(KIND, "two entries of the header have one name")
    return result


def _check_metadata(metadata: object) -> None:
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise refuse(KIND, "its metadata is not a map from text to text")


def _read_tensor(name: str, entry: object, start: int) -> Tensor:
    if len(name.encode(errors="replace")) > MAX_NAME_BYTES:
        raise refuse(KIND, f"the name {show(name)} is longer than {MAX_NAME_BYTES} bytes")
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise refuse(KIND, f"tensor {show(name)} has not exactly dtype, shape and data_offsets")
    dtype, shape, offsets = entry["dtype"], entry["shape"], entry["data_offsets"]
    bits = _BITS.get(dtype) if isinstance(dtype, str) else None
    if bits is None:
        raise refuse(KIND, f"tensor {show(name)} has the dtype {show(str(dtype)[:64])}, which is not known")
    if not _are_sizes(shape, MAX_DIMENSIONS) or not _are_sizes(offsets, 2) or len(offsets) != 2:
        raise refuse(KIND, f"tensor {show(name)} has a shape or offsets that are not whole numbers within bounds")
    size = prod(shape) * bits
    if size != (offsets[1] - offsets[0]) * 8:
        raise refuse(KIND, f"tensor {show(name)} needs {size} bits and has {(offsets[1] - offsets[0]) * 8}")
    return Tensor(name, dtype, tuple(shape), start + offsets[0], size // 8)


def _are_sizes(values: object, most: int) -> bool:
    if not isinstance(values, list) or len(values) > most:
        return False
    return all(type(value) is int and 0 <= value < _MAX_SIZE for value in values)
