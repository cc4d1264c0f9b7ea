"""Build models, right ones and wicked ones, and scan them; nothing wicked is ever loaded here."""

import io
import json
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO

from sekisho.scan.findings import Finding
from sekisho.scan.scanner import Report, scan_model
from tests.unit.formats.files import build_gguf, build_safetensors, entry, text


@dataclass(frozen=True)
class File:
    path: str
    data: bytes
    listed: int | None = None

    @property
    def size(self) -> int:
        return len(self.data) if self.listed is None else self.listed

    def open(self) -> BinaryIO:
        return io.BytesIO(self.data)


def scan(files: Mapping[str, bytes], *, licence: str | None = None) -> Report:
    return scan_model([File(path, data) for path, data in files.items()], licence=licence)


def scan_one(path: str, data: bytes) -> tuple[Finding, ...]:
    return scan({path: data}).findings


def lines_of(path: str, data: bytes) -> str:
    return "\n".join(scan({path: data}).lines())


def build_zip(members: Mapping[str, bytes], *, method: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, compress_type=method)
    return out.getvalue()


def build_npy(descr: str, data: bytes = b"", *, version: int = 1) -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': (1,), }}\n".encode()
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(header)) + header + data


def build_weights(size: int = 8) -> bytes:
    return build_safetensors({"a": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}, bytes(size))


def build_chat_gguf(template: str, *more: bytes) -> bytes:
    key = text("tokenizer.chat_template") + struct.pack("<I", 8) + text(template)
    return build_gguf((key, *more), (entry("a", (2,), 0, 0),), bytes(8))


# Pickles by hand: what Python's own pickler would not write is what matters.


def short(value: str) -> bytes:
    data = value.encode()
    return b"\x8c" + bytes([len(data)]) + data


def call(module: str, name: str, argument: str = "id") -> bytes:
    """REDUCE of a plain GLOBAL."""
    return b"c" + f"{module}\n{name}\n".encode() + b"(" + short(argument) + b"tR"


def stack_call(module: str, name: str) -> bytes:
    """REDUCE of a STACK_GLOBAL whose names went through the memo, with rubbish between."""
    return (
        short(name)
        + b"\x94"
        + b"0"
        + short(module)
        + b"\x94"
        + b"0"
        + b"h\x01"
        + b"h\x00"
        + b"\x93"
        + b"("
        + short("id")
        + b"tR"
    )


def framed(body: bytes, protocol: int = 4) -> bytes:
    return b"\x80" + bytes([protocol]) + body + b"."


def storage(kind: str = "FloatStorage", key: str = "0") -> bytes:
    """The persistent id by which PyTorch names the weights of a tensor."""
    return b"(" + short("storage") + b"ctorch\n" + kind.encode() + b"\n" + short(key) + short("cpu") + b"K\x02tQ"


def tensor(key: str = "0") -> bytes:
    rebuilt = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage(key=key) + b"K\x00K\x02\x85K\x01\x85\x89"
    return rebuilt + b"ccollections\nOrderedDict\n)R" + b"tR"


def state_dict() -> bytes:
    """What torch.save writes for {"weight": tensor, "bias": tensor}, protocol 2 in its opcodes."""
    items = b"(" + short("weight") + tensor("0") + short("bias") + tensor("1") + b"u"
    return b"\x80\x02ccollections\nOrderedDict\n)Rq\x00" + items + b"}" + short("_metadata") + b"}sb."


def torch_zip(**more: bytes) -> bytes:
    members = {
        "archive/data.pkl": state_dict(), "archive/byteorder": b"little", "archive/data/0": b"\x80\x02\xff\xff" * 2,
        "archive/data/1": bytes(8), "archive/version": b"3\n",
    }  # fmt: skip
    return build_zip(members | {f"archive/{name}": data for name, data in more.items()})


def torch_legacy() -> bytes:
    magic = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
    return magic + b"\x80\x02M\xe9\x03." + b"\x80\x02}." + state_dict() + b"\x80\x02]." + b"\xff\x00 weights \x80"


def as_json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
