"""What a model file holds and where: the answer of every parser of this package."""

from dataclasses import dataclass
from typing import Final

from sekisho.errors import Reason, RefusedError

MAX_TENSORS: Final = 262_144
MAX_NAME_BYTES: Final = 512
MAX_READ_BYTES: Final = 33 * 1024 * 1024
MAX_DIMENSIONS: Final = 16
_MOST_TOLD: Final = 64


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor.

    Attributes:
        dtype: As its format spells it: "BF16", "Q4_K", "FLOAT16".
        offset: Where its bytes begin, counted from the start of the file.
        size: How many bytes it has.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Layout:
    """The tensors of one file.

    Attributes:
        format: "safetensors", "gguf" or "onnx".
        size: Bytes of the whole file.
        tensors: Ascending by offset.
        external: Relative paths of other files that hold tensors of this one (ONNX).
        domains: Whose operators it needs beside those its own functions define, "" being ONNX's own (ONNX).
    """

    format: str
    size: int
    tensors: tuple[Tensor, ...]
    external: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()

    def boundaries(self) -> tuple[int, ...]:
        """List the offsets where tensors begin or end, ascending, each once; where segments may be cut."""
        starts = {tensor.offset for tensor in self.tensors}
        ends = {tensor.offset + tensor.size for tensor in self.tensors}
        return tuple(sorted(offset for offset in starts | ends if 0 < offset < self.size))


def refuse(kind: str, text: str) -> RefusedError:
    """Say why a file is none of its format."""
    return RefusedError(Reason.FORMAT_INVALID, f"not a valid {kind} file: {text}")


def show(name: str) -> str:
    """Quote a name from a file so that it is short and printable."""
    return f'"{"".join(sign if sign.isprintable() else "?" for sign in name[:_MOST_TOLD])}"'
