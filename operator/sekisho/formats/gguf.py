"""Parse the header of a GGUF file, versions 2 and 3, little-endian: keys and values, then where each tensor stands."""

from collections.abc import Callable
from math import prod
from typing import BinaryIO, Final

from sekisho.formats.cursor import Cursor
from sekisho.formats.layout import MAX_NAME_BYTES, MAX_TENSORS, Layout, Tensor, refuse, show

KIND: Final = "GGUF"
MAX_ENTRIES: Final = 65_536
MAX_TEXT_BYTES: Final = 4 * 1024 * 1024
MAX_TEXTS: Final = 2 * 1024 * 1024
_MAX_DIMENSIONS: Final = 4
_MAX_SIZE: Final = 2**63
_DEFAULT_ALIGNMENT: Final = 32
_MAX_ALIGNMENT: Final = 65_536
_UINT32, _STRING, _ARRAY = 4, 8, 9
_WIDTHS: Final = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
# ggml's types: name, elements a block, bytes a block.
_TYPES: Final = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    9: ("Q8_1", 32, 36),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    15: ("Q8_K", 256, 292),
    16: ("IQ2_XXS", 256, 66),
    17: ("IQ2_XS", 256, 74),
    18: ("IQ3_XXS", 256, 98),
    19: ("IQ1_S", 256, 50),
    20: ("IQ4_NL", 32, 18),
    21: ("IQ3_S", 256, 110),
    22: ("IQ2_S", 256, 82),
    23: ("IQ4_XS", 256, 136),
    24: ("I8", 1, 1),
    25: ("I16", 1, 2),
    26: ("I32", 1, 4),
    27: ("I64", 1, 8),
    28: ("F64", 1, 8),
    29: ("IQ1_M", 256, 56),
    30: ("BF16", 1, 2),
    34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66),
    39: ("MXFP4", 32, 17),
}


def parse_gguf(stream: BinaryIO, size: int) -> Layout:
    """Read the header of a file of `size` bytes.

    Args:
        stream: The file at its start, seekable; only the header is read, at most 33 MiB; lists are passed over.
        size: Bytes of the whole file.

    Raises:
        RefusedError: Malformed, oversized, a type that is not known, or tensors that do not cover the data in order.
    """
    cursor = Cursor(stream, size, KIND)
    count, keys = _read_counts(cursor)
    alignment = _read_alignment(cursor, keys)
    entries = [_read_entry(cursor) for _ in range(count)]
    if len({name for name, _, _, _ in entries}) != count:
        raise refuse(KIND, "two tensors have one name")
    return Layout("gguf", size, _place_tensors(entries, cursor.place, size=size, alignment=alignment))


def read_gguf_texts(stream: BinaryIO, size: int, *, wanted: Callable[[str], bool]) -> dict[str, str]:
    """Read the texts that stand under the keys that are `wanted`; values of other types are passed over.

    Raises:
        RefusedError: Malformed or oversized, or two wanted texts stand under one key.
    """
    cursor = Cursor(stream, size, KIND)
    _, keys = _read_counts(cursor)
    texts: dict[str, str] = {}
    for _ in range(keys):
        key = _read_text(cursor, MAX_NAME_BYTES)
        kind = cursor.number(4, what="the type of a value")
        if kind != _STRING or not wanted(key):
            _skip_value(cursor, kind)
        elif key in texts:
            raise refuse(KIND, f"two values stand under the key {show(key)}")
        else:
            texts[key] = _read_text(cursor, MAX_TEXT_BYTES)
    return texts


def _read_counts(cursor: Cursor) -> tuple[int, int]:
    if (magic := cursor.take(4, most=4, what="the magic")) != b"GGUF":
        raise refuse(KIND, f"it begins with {magic.hex()}, 47475546 is needed")
    if (version := cursor.number(4, what="the version")) not in (2, 3):
        raise refuse(KIND, f"its version is {version}, 2 or 3 in little-endian order is needed")
    return _read_count(cursor, "tensors", MAX_TENSORS), _read_count(cursor, "keys", MAX_ENTRIES)


def _read_count(cursor: Cursor, what: str, most: int) -> int:
    count = cursor.number(8, what=f"the number of {what}")
    if count > most:
        raise refuse(KIND, f"it has {count} {what}, {most} are allowed")
    return count


def _read_alignment(cursor: Cursor, count: int) -> int:
    alignment = _DEFAULT_ALIGNMENT
    for _ in range(count):
        key = _read_text(cursor, MAX_NAME_BYTES)
        kind = cursor.number(4, what="the type of a value")
        if key != "general.alignment":
            _skip_value(cursor, kind)
            continue
        alignment = cursor.number(4, what="the alignment") if kind == _UINT32 else 0
        if not 8 <= alignment <= _MAX_ALIGNMENT or alignment & (alignment - 1):
            raise refuse(KIND, f"its alignment is {alignment}, a power of two from 8 to {_MAX_ALIGNMENT} is needed")
    return alignment


def _read_text(cursor: Cursor, most: int) -> str:
    length = cursor.number(8, what="the length of a text")
    try:
        return cursor.take(length, most=most, what="a text").decode()
    except UnicodeDecodeError as error:
        raise refuse(KIND, f"the text before byte {cursor.place} is not UTF-8") from error


def _skip_value(cursor: Cursor, kind: int) -> None:
    if kind == _STRING:
        _skip_text(cursor)
    elif kind == _ARRAY:
        _skip_array(cursor)
    else:
        cursor.skip(_width_of(cursor, kind), what="a value")


def _skip_array(cursor: Cursor) -> None:
    kind = cursor.number(4, what="the type of a list")
    count = cursor.number(8, what="the length of a list")
    if kind != _STRING:
        cursor.skip(_width_of(cursor, kind) * count, what="a list")
        return
    if count > MAX_TEXTS:
        raise refuse(KIND, f"a list has {count} texts, {MAX_TEXTS} are allowed")
    for _ in range(count):
        _skip_text(cursor)


def _skip_text(cursor: Cursor) -> None:
    length = cursor.number(8, what="the length of a text")
    if length > MAX_TEXT_BYTES:
        raise refuse(KIND, f"a text has {length} bytes, {MAX_TEXT_BYTES} are allowed")
    cursor.skip(length, what="a text")


def _width_of(cursor: Cursor, kind: int) -> int:
    if kind not in _WIDTHS:
        raise refuse(KIND, f"a value before byte {cursor.place} has the type {kind}, which is not known here")
    return _WIDTHS[kind]


def _read_entry(cursor: Cursor) -> tuple[str, int, tuple[int, ...], int]:
    name = _read_text(cursor, MAX_NAME_BYTES)
    dimensions = cursor.number(4, what="the number of dimensions")
    if dimensions > _MAX_DIMENSIONS:
        raise refuse(KIND, f"tensor {show(name)} has {dimensions} dimensions, {_MAX_DIMENSIONS} are allowed")
    shape = tuple(cursor.number(8, what="a dimension") for _ in range(dimensions))
    kind = cursor.number(4, what="the type of a tensor")
    return name, kind, shape, cursor.number(8, what="the offset of a tensor")


def _place_tensors(
    entries: list[tuple[str, int, tuple[int, ...], int]], header_end: int, *, size: int, alignment: int
) -> tuple[Tensor, ...]:
    start = end = _align(header_end, alignment) if entries else header_end
    tensors = []
    for name, kind, shape, offset in sorted(entries, key=lambda entry: entry[3]):
        dtype, length = _measure(name, kind, shape)
        if start + offset != _align(end - start, alignment) + start:
            needed = _align(end - start, alignment)
            raise refuse(KIND, f"tensor {show(name)} begins at {offset}, {needed} is the next aligned place")
        tensors.append(Tensor(name, dtype, shape, start + offset, length))
        end = start + offset + length
    if not end <= size < end + alignment:
        raise refuse(KIND, f"tensors end at byte {end}, the file at {size}; less than {alignment} may follow")
    return tuple(tensors)


def _measure(name: str, kind: int, shape: tuple[int, ...]) -> tuple[str, int]:
    if kind not in _TYPES:
        raise refuse(KIND, f"tensor {show(name)} has the type {kind}, which is not known")
    dtype, elements, length = _TYPES[kind]
    total = prod(shape)
    if not 0 < total < _MAX_SIZE or (shape[0] if shape else 1) % elements:
        raise refuse(KIND, f"tensor {show(name)} has a shape that no {dtype} can have: rows of {elements} elements")
    return dtype, total // elements * length


def _align(place: int, alignment: int) -> int:
    return -(-place // alignment) * alignment
