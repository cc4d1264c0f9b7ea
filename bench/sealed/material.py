"""A made-up model, plain and as the product's own tool seals it, in memory-backed storage or on a disk."""

import contextlib
import json
import os
import shutil
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from bench.sealed.opened import open_sealed
from sekisho.cli.sealing import Wish, seal_model
from sekisho.formats.layout import Tensor
from sekisho.formats.safetensors import parse_safetensors
from sekisho.kms.unsafe_development import UnsafeDevelopmentKeys, UnsafeDevelopmentSettings, create_unsafe_key
from sekisho.loader.opening import SealedModel
from sekisho.seal.facts import KEY_NAME, ModelIdentity
from sekisho.seal.keys import KeyContext, parse_wrapped

MODEL: Final = "model.safetensors"
MIB: Final = 1024 * 1024
_PREFIX: Final = "sekisho-bench-weights-"
_IDENTITY: Final = ModelIdentity(name="bench/llama", version=1, data_class="confidential")


@dataclass(frozen=True, slots=True)
class Shape:
    """A Llama of 16-bit weights; the default has about 2 GiB."""

    hidden: int = 4096
    inner: int = 14336
    narrow: int = 1024
    layers: int = 4
    vocabulary: int = 48_000

    def tensors(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Name each tensor and its dimensions."""
        yield "model.embed_tokens.weight", (self.vocabulary, self.hidden)
        for layer in range(self.layers):
            parts = {
                "input_layernorm": (self.hidden,),
                "mlp.down_proj": (self.hidden, self.inner),
                "mlp.gate_proj": (self.inner, self.hidden),
                "mlp.up_proj": (self.inner, self.hidden),
                "post_attention_layernorm": (self.hidden,),
                "self_attn.k_proj": (self.narrow, self.hidden),
                "self_attn.o_proj": (self.hidden, self.hidden),
                "self_attn.q_proj": (self.hidden, self.hidden),
                "self_attn.v_proj": (self.narrow, self.hidden),
            }
            for name, dimensions in parts.items():
                yield f"model.layers.{layer}.{name}.weight", dimensions
        yield "model.norm.weight", (self.hidden,)


@dataclass(frozen=True, slots=True)
class Material:
    """The model, plain and sealed.

    Attributes:
        plain: The safetensors file.
        sealed: The sealed folder.
        data_key: What opens it, in hexadecimal; of a key made for this run.
        work: A folder for what others make of it.
    """

    plain: Path
    sealed: Path
    data_key: str
    work: Path
    tensors: tuple[Tensor, ...]

    @property
    def size(self) -> int:
        """Bytes of the plain file."""
        return self.plain.stat().st_size

    @property
    def mebibytes(self) -> int:
        """The size, as units of work."""
        return self.size // MIB

    def open(self) -> SealedModel:
        """Open the sealed folder."""
        return open_sealed(self.sealed, self.data_key)


@contextmanager
def open_material(shape: Shape | None = None, *, on_disk: bool = False) -> Iterator[Material]:
    """Make the model and seal it; both are gone after the block."""
    place = _choose_place(on_disk=on_disk)
    _remove_leavings(Path(place))
    base = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=place))
    try:
        plain = base / "plain" / MODEL
        plain.parent.mkdir()
        _write_model(plain, shape or Shape())
        material = _seal(plain, base)
        if on_disk:
            os.sync()  # nothing of it is written back while others are timed
        yield material
    finally:
        shutil.rmtree(base)


class SharedMaterial:
    """Material that is made when it is first asked for, and stays until `close`."""

    def __init__(self, shape: Shape | None = None, *, on_disk: bool = False) -> None:
        self._shape, self._on_disk = shape, on_disk
        self._stack = contextlib.ExitStack()
        self._made: Material | None = None

    def get(self) -> Material:
        """Return it, made."""
        if self._made is None:
            self._made = self._stack.enter_context(open_material(self._shape, on_disk=self._on_disk))
        return self._made

    def close(self) -> None:
        """Remove it."""
        self._stack.close()
        self._made = None


class _Silent:
    def start(self, label: str, total: int) -> None: ...

    def advance(self, count: int) -> None: ...

    def finish(self) -> None: ...


def _seal(plain: Path, base: Path) -> Material:
    key_file, out = base / "owner.json", base / "sealed"
    create_unsafe_key(key_file)
    keys = UnsafeDevelopmentKeys(UnsafeDevelopmentSettings(file=key_file, allow_unsafe=True))
    sealed = seal_model(plain.parent, out, Wish(_IDENTITY, keys, key_file.stem, {}), meter=_Silent())
    wrapped = parse_wrapped((out / KEY_NAME).read_bytes())
    data_key = keys.unwrap(wrapped, context=KeyContext.of(_IDENTITY)).hex()
    with plain.open("rb") as file:
        tensors = parse_safetensors(file, plain.stat().st_size).tensors
    work = base / "work"
    work.mkdir()
    return Material(plain, sealed.folder, data_key, work, tensors)


def _write_model(place: Path, shape: Shape) -> None:
    noise, header, end = np.random.default_rng(7), {}, 0
    for name, dimensions in shape.tensors():
        begin, end = end, end + 2 * int(np.prod(dimensions))
        header[name] = {"dtype": "BF16", "shape": list(dimensions), "data_offsets": [begin, end]}
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    with place.open("wb") as file:
        file.write(struct.pack("<Q", len(head)) + head)
        for start in range(0, end, 4 * MIB):
            file.write(noise.bytes(min(4 * MIB, end - start)))


def _choose_place(*, on_disk: bool) -> str:
    memory = Path("/dev/shm")
    return tempfile.gettempdir() if on_disk or not memory.is_dir() else str(memory)


def _remove_leavings(place: Path) -> None:
    """Remove what a run left that was killed."""
    for folder in place.glob(f"{_PREFIX}*-*"):
        owner = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if owner.isdigit() and not Path("/proc", owner).exists():
            shutil.rmtree(folder, ignore_errors=True)
