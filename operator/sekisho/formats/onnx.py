"""Parse where the tensors of an ONNX model stand: the protobuf wire format, walked without reading any weights.

Tensors stand in initializers, in attributes of nodes, in graphs that are such attributes (branches, bodies of loops),
in functions and in graphs for training, to any depth up to 32; each of these is walked. Of nodes only attributes and
domains are looked at: what operators do is not.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import BinaryIO, Final

from sekisho.formats.cursor import Cursor
from sekisho.formats.layout import MAX_DIMENSIONS, MAX_NAME_BYTES, MAX_TENSORS, Layout, Tensor, refuse, show
from sekisho.formats.protobuf import BYTES, VARINT, Wire

KIND: Final = "ONNX"
MAX_FILE_BYTES: Final = 2**31
MAX_PATH_BYTES: Final = 1024
MAX_DEPTH: Final = 32
# Which field of which message holds which message (onnx.proto).
_PARTS: Final[Mapping[str, Mapping[int, str]]] = {
    "Model": {7: "Graph", 8: "OperatorSetId", 20: "TrainingInfo", 25: "Function"},
    "TrainingInfo": {1: "Graph", 2: "Graph"},
    "Function": {7: "Node", 9: "OperatorSetId", 11: "Attribute"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "SparseTensor", 23: "SparseTensor"},
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "OperatorSetId": {},
}
# Where a message names the domain whose operators it uses, or defines.
_DOMAINS: Final = {"OperatorSetId": 1, "Node": 7, "Function": 10}
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
    """The walk through one file, with what was found."""

    wire: Wire
    graphs: int = 0
    tensors: list[Tensor] = field(default_factory=list)
    external: set[str] = field(default_factory=set)
    used: set[str] = field(default_factory=set)
    defined: set[str] = field(default_factory=set)


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
    walk = _Walk(Wire(Cursor(stream, size, KIND)))
    _walk_message(walk, "Model", size, depth=0)
    if walk.graphs != 1:
        raise refuse(KIND, f"it has {walk.graphs} graphs, 1 is needed")
    tensors = tuple(sorted(walk.tensors, key=lambda t: t.offset))
    return Layout("onnx", size, tensors, tuple(sorted(walk.external)), tuple(sorted(walk.used - walk.defined)))


def _walk_message(walk: _Walk, message: str, end: int, *, depth: int) -> None:
    """Walk a message up to `end`, and every message in it that may hold a tensor."""
    if depth > MAX_DEPTH:
        raise refuse(KIND, f"its parts lie more than {MAX_DEPTH} deep in each other at byte {walk.wire.cursor.place}")
    domain = ""
    for number, wire, value in walk.wire.fields(end):
        part = _PARTS[message].get(number) if wire == BYTES else None
        if (number, wire) == (_DOMAINS.get(message), BYTES):
            domain = walk.wire.text(value, most=MAX_NAME_BYTES)
        elif part is None:
            walk.wire.skip(wire, value)
        elif part == "Tensor":
            _walk_tensor(walk, walk.wire.cursor.place + value)
        else:
            walk.graphs += (message, part) == ("Model", "Graph")
            _walk_message(walk, part, walk.wire.cursor.place + value, depth=depth + 1)
    if message == "Function":
        walk.defined.add(domain)
    elif domain or message == "OperatorSetId":
        walk.used.add(domain)


@dataclass(slots=True)
class _Parts:
    name: str = ""
    kind: int = 0
    shape: list[int] = field(default_factory=list)
    offset: int = -1
    size: int = 0


def _walk_tensor(walk: _Walk, end: int) -> None:
    parts = _Parts()
    for number, wire, value in walk.wire.fields(end):
        if number == _DIMS:
            _read_dims(walk, parts.shape, wire=wire, value=value)
        elif (number, wire) == (_DTYPE, VARINT):
            parts.kind = value
        elif (number, wire) == (_NAME, BYTES):
            parts.name = walk.wire.text(value, most=MAX_NAME_BYTES)
        elif (number, wire) == (_EXTERNAL, BYTES):
            _walk_external(walk, walk.wire.cursor.place + value)
        else:
            if (number, wire) == (_RAW, BYTES):
                parts.offset, parts.size = walk.wire.cursor.place, value
            walk.wire.skip(wire, value)
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
    if len(walk.tensors) >= MAX_TENSORS:
        raise refuse(KIND, f"it has more than {MAX_TENSORS} tensors")
    walk.tensors.append(Tensor(parts.name, dtype, tuple(parts.shape), parts.offset, parts.size))


def _read_dims(walk: _Walk, shape: list[int], *, wire: int, value: int) -> None:
    if wire == BYTES:
        end = walk.wire.cursor.place + value
        while walk.wire.cursor.place < end and len(shape) <= MAX_DIMENSIONS:
            shape.append(walk.wire.varint())
        if walk.wire.cursor.place != end:
            raise refuse(KIND, f"a tensor has more than {MAX_DIMENSIONS} dimensions, or they pass byte {end}")
    else:
        shape.append(value)
    if len(shape) > MAX_DIMENSIONS or (shape[-1:] and shape[-1] >= 2**63):
        raise refuse(KIND, f"a tensor has more than {MAX_DIMENSIONS} dimensions, or a negative one")


def _walk_external(walk: _Walk, end: int) -> None:
    texts = {_KEY: "", _VALUE: ""}
    for number, wire, value in walk.wire.fields(end):
        if number in texts and wire == BYTES:
            texts[number] = walk.wire.text(value, most=MAX_PATH_BYTES)
        else:
            walk.wire.skip(wire, value)
    if texts[_KEY] != "location":
        return
    place = texts[_VALUE]
    if any(part in ("", ".", "..") for part in place.split("/")) or "\\" in place or place[1:2] == ":":
        raise refuse(KIND, f"a tensor stands in {show(place)}, which is not inside the model's folder")
    walk.external.add(place)
