"""Parse where the tensors of an ONNX model stand: the protobuf wire format, walked without reading any weights.

ModelProto.graph (7) → GraphProto.initializer (5) → TensorProto: dims 1, data_type 2, name 8, raw_data 9,
external_data 13. ModelProto.opset_import (8) and functions (25): whose operators are needed. Nothing else is looked at.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import prod
from typing import BinaryIO, Final

from sekisho.formats.cursor import Cursor
from sekisho.formats.layout import MAX_DIMENSIONS, MAX_NAME_BYTES, Layout, Tensor, refuse, show

KIND: Final = "ONNX"
MAX_FILE_BYTES: Final = 2**31
MAX_FIELDS: Final = 512 * 1024
MAX_PATH_BYTES: Final = 1024
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_GRAPH, _INITIALIZER = 7, 5
# Where a part of the model names a domain: OperatorSetIdProto.domain, FunctionProto.domain.
_OPSET, _FUNCTION = 8, 25
_DOMAINS: Final = {_OPSET: 1, _FUNCTION: 10}
_DIMS, _DTYPE, _NAME, _RAW, _EXTERNAL = 1, 2, 8, 9, 13
_KEY, _VALUE = 1, 2
# TensorProto.DataType: name, bits an element; 0 where it cannot stand as raw data.
_TYPES: Final = {
    1: ("FLOAT", 32),
    2: ("UINT8", 8),
    3: ("INT8", 8),
    4: ("UINT16", 16),
    5: ("INT16", 16),
    6: ("INT32", 32),
    7: ("INT64", 64),
    8: ("STRING", 0),
    9: ("BOOL", 8),
    10: ("FLOAT16", 16),
    11: ("DOUBLE", 64),
    12: ("UINT32", 32),
    13: ("UINT64", 64),
    14: ("COMPLEX64", 64),
    15: ("COMPLEX128", 128),
    16: ("BFLOAT16", 16),
    17: ("FLOAT8E4M3FN", 8),
    18: ("FLOAT8E4M3FNUZ", 8),
    19: ("FLOAT8E5M2", 8),
    20: ("FLOAT8E5M2FNUZ", 8),
    21: ("UINT4", 4),
    22: ("INT4", 4),
    23: ("FLOAT4E2M1", 4),
    24: ("FLOAT8E8M0", 8),
}


@dataclass(slots=True)
class _Walk:
    """The walk through one file, with what was found and how many fields it may still pass."""

    cursor: Cursor
    fields_left: int = MAX_FIELDS
    tensors: list[Tensor] = field(default_factory=list)
    external: set[str] = field(default_factory=set)
    domains: dict[int, set[str]] = field(default_factory=lambda: {_OPSET: set(), _FUNCTION: set()})

    def fields(self, end: int) -> Iterator[tuple[int, int, int]]:
        """Yield (field, wire type, length or value) up to `end`; the caller consumes the bytes of a length."""
        while self.cursor.place < end:
            self.fields_left -= 1
            if self.fields_left < 0:
                raise refuse(KIND, f"it has more than {MAX_FIELDS} fields")
            tag = self.varint()
            number, wire = tag >> 3, tag & 7
            if number == 0:
                raise refuse(KIND, f"the field before byte {self.cursor.place} has the number 0")
            value = self._read_value(wire, end)
            yield number, wire, value
        if self.cursor.place != end:
            raise refuse(KIND, f"a part ends at byte {end}, its last field at {self.cursor.place}")

    def _read_value(self, wire: int, end: int) -> int:
        if wire == _VARINT:
            return self.varint()
        if wire == _BYTES:
            length = self.varint()
            if length > end - self.cursor.place:
                raise refuse(KIND, f"a field of {length} bytes at byte {self.cursor.place} passes the end at {end}")
            return length
        if wire not in (_FIXED32, _FIXED64):
            raise refuse(
                KIND, f"the field before byte {self.cursor.place} has the wire type {wire}, which is not known"
            )
        return self.cursor.number(4 if wire == _FIXED32 else 8, what="a number")

    def varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self.cursor.number(1, what="a number")
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & (2**64 - 1)
        raise refuse(KIND, f"the number before byte {self.cursor.place} has more than 10 bytes")

    def text(self, length: int, *, most: int) -> str:
        try:
            return self.cursor.take(length, most=most, what="a text").decode()
        except UnicodeDecodeError as error:
            raise refuse(KIND, f"the text before byte {self.cursor.place} is not UTF-8") from error

    def skip(self, wire: int, length: int) -> None:
        if wire == _BYTES:
            self.cursor.skip(length, what="a field")


def parse_onnx(stream: BinaryIO, size: int) -> Layout:
    """Find the tensors of a model of `size` bytes.

    Args:
        stream: The file at its start, seekable; weights are passed over, not read.
        size: Bytes of the whole file, at most 2 GiB as protobuf has it.

    Raises:
        RefusedError: Malformed, oversized, no graph, or data in a file outside the model's folder.
    """
    if size > MAX_FILE_BYTES:
        raise refuse(KIND, f"it has {size} bytes, {MAX_FILE_BYTES} are allowed")
    walk = _Walk(Cursor(stream, size, KIND))
    graphs = 0
    for number, wire, value in walk.fields(size):
        if (number, wire) == (_GRAPH, _BYTES):
            graphs += 1
            _walk_graph(walk, walk.cursor.place + value)
        elif number in _DOMAINS and wire == _BYTES:
            _walk_domain(walk, number, walk.cursor.place + value)
        else:
            walk.skip(wire, value)
    if graphs != 1:
        raise refuse(KIND, f"it has {graphs} graphs, 1 is needed")
    tensors = tuple(sorted(walk.tensors, key=lambda t: t.offset))
    domains = tuple(sorted(walk.domains[_OPSET] - walk.domains[_FUNCTION]))
    return Layout("onnx", size, tensors, tuple(sorted(walk.external)), domains)


def _walk_domain(walk: _Walk, part: int, end: int) -> None:
    domain = ""
    for number, wire, value in walk.fields(end):
        if number == _DOMAINS[part] and wire == _BYTES:
            domain = walk.text(value, most=MAX_NAME_BYTES)
        else:
            walk.skip(wire, value)
    walk.domains[part].add(domain)


def _walk_graph(walk: _Walk, end: int) -> None:
    for number, wire, value in walk.fields(end):
        if (number, wire) == (_INITIALIZER, _BYTES):
            _walk_tensor(walk, walk.cursor.place + value)
        else:
            walk.skip(wire, value)


@dataclass(slots=True)
class _Parts:
    name: str = ""
    kind: int = 0
    shape: list[int] = field(default_factory=list)
    offset: int = -1
    size: int = 0


def _walk_tensor(walk: _Walk, end: int) -> None:
    parts = _Parts()
    for number, wire, value in walk.fields(end):
        if number == _DIMS:
            _read_dims(walk, parts.shape, wire=wire, value=value)
        elif (number, wire) == (_DTYPE, _VARINT):
            parts.kind = value
        elif (number, wire) == (_NAME, _BYTES):
            parts.name = walk.text(value, most=MAX_NAME_BYTES)
        elif (number, wire) == (_EXTERNAL, _BYTES):
            _walk_external(walk, walk.cursor.place + value)
        else:
            if (number, wire) == (_RAW, _BYTES):
                parts.offset, parts.size = walk.cursor.place, value
            walk.skip(wire, value)
    _keep(walk, parts)


def _keep(walk: _Walk, parts: _Parts) -> None:
    if parts.kind not in _TYPES:
        raise refuse(KIND, f"tensor {show(parts.name)} has the type {parts.kind}, which is not known")
    if parts.offset < 0:
        return
    dtype, bits = _TYPES[parts.kind]
    needed = -(-prod(parts.shape) * bits // 8)
    if bits == 0 or needed != parts.size:
        raise refuse(KIND, f"tensor {show(parts.name)} of {dtype} needs {needed} bytes and has {parts.size}")
    walk.tensors.append(Tensor(parts.name, dtype, tuple(parts.shape), parts.offset, parts.size))


def _read_dims(walk: _Walk, shape: list[int], *, wire: int, value: int) -> None:
    if wire == _BYTES:
        end = walk.cursor.place + value
        while walk.cursor.place < end and len(shape) <= MAX_DIMENSIONS:
            shape.append(walk.varint())
        if walk.cursor.place != end:
            raise refuse(KIND, f"a tensor has more than {MAX_DIMENSIONS} dimensions, or they pass byte {end}")
    else:
        shape.append(value)
    if len(shape) > MAX_DIMENSIONS or (shape[-1:] and shape[-1] >= 2**63):
        raise refuse(KIND, f"a tensor has more than {MAX_DIMENSIONS} dimensions, or a negative one")


def _walk_external(walk: _Walk, end: int) -> None:
    texts = {_KEY: "", _VALUE: ""}
    for number, wire, value in walk.fields(end):
        if number in texts and wire == _BYTES:
            texts[number] = walk.text(value, most=MAX_PATH_BYTES)
        else:
            walk.skip(wire, value)
    if texts[_KEY] != "location":
        return
    place = texts[_VALUE]
    if any(part in ("", ".", "..") for part in place.split("/")) or "\\" in place or place[1:2] == ":":
        raise refuse(KIND, f"a tensor stands in {show(place)}, which is not inside the model's folder")
    walk.external.add(place)
