"""Sealed folders on disk and safetensors files, as the loader meets them."""

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

from sekisho.loader.opening import SealedModel, derive_keys, open_model
from sekisho.seal.facts import SEGMENT_BYTES
from sekisho.seal.segments import cut_segments
from tests.unit.seal.sealing import Sealed, seal

MODEL = "model.safetensors"
MIB = 1024 * 1024


def pattern(size: int, seed: int = 0) -> bytes:
    """Bytes in which no place looks like its neighbours."""
    block = bytes((seed + n * 7 + (n >> 8) * 13) % 256 for n in range(4093))
    return (block * (size // len(block) + 1))[:size]


def make_safetensors(tensors: Mapping[str, bytes], *, dtype: str = "U8") -> bytes:
    """Spell a file that holds tensors of one dimension in the order given."""
    header, content = {}, b""
    for name, data in tensors.items():
        header[name] = {"dtype": dtype, "shape": [len(data)], "data_offsets": [len(content), len(content) + len(data)]}
        content += data
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    return struct.pack("<Q", len(head)) + head + content


def cut(data: bytes, lengths: Sequence[int] = ()) -> tuple[bytes, ...]:
    """Cut a file into segments, by the writer's rule without boundaries unless told otherwise."""
    parts, start = [], 0
    for length in lengths or cut_segments(len(data)):
        parts.append(data[start : start + length])
        start += length
    assert start == len(data)
    assert max(map(len, parts)) <= SEGMENT_BYTES
    return tuple(parts)


def write(sealed: Sealed, folder: Path) -> Path:
    """Lay a sealed model down."""
    for name, data in sealed.blobs.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def lay_down(folder: Path, files: Mapping[str, tuple[bytes, ...]]) -> tuple[SealedModel, Sealed]:
    """Seal files given as their segments into a folder, and open it."""
    sealed = seal(files)
    write(sealed, folder)
    return open_model(folder, sealed.manifest, derive_keys(sealed.key, sealed.manifest)), sealed
