"""Write small model files, right ones and wrong ones."""

import json
import struct
from collections.abc import Sequence


def build_safetensors(header: object, data: bytes = b"", *, pad: int = 0) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode() + b" " * pad
    return len(text).to_bytes(8, "little") + text + data


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def entry(name: str, shape: Sequence[int], kind: int, offset: int) -> bytes:
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def build_gguf(
    keys: Sequence[bytes] = (),
    entries: Sequence[bytes] = (),
    data: bytes = b"",
    *,
    version: int = 3,
    alignment: int = 32,
    counts: tuple[int, int] | None = None,
) -> bytes:
    tensors, pairs = counts or (len(entries), len(keys))
    head = b"GGUF" + struct.pack("<IQQ", version, tensors, pairs) + b"".join(keys) + b"".join(entries)
    return head + bytes(-len(head) % alignment if entries else 0) + data


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def block(field: int, data: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(data)) + data


def initializer(name: str, dims: Sequence[int], kind: int, raw: bytes | None, *, packed: bool = False) -> bytes:
    shape = block(1, b"".join(map(varint, dims))) if packed else b"".join(number(1, dim) for dim in dims)
    return shape + number(2, kind) + block(8, name.encode()) + (b"" if raw is None else block(9, raw))


def node(operator: str, *attributes: bytes, domain: str | None = None) -> bytes:
    named = b"" if domain is None else block(7, domain.encode())
    return block(1, b"x") + block(4, operator.encode()) + b"".join(block(5, item) for item in attributes) + named


def build_onnx(*tensors: bytes, graph: bytes = b"") -> bytes:
    body = block(1, node("Add")) + b"".join(block(5, tensor) for tensor in tensors) + graph
    return number(1, 9) + block(2, b"maker") + block(7, body)
