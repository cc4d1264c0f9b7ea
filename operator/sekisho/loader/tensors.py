"""Tensors of sealed safetensors files: as views of the decrypted file, into given buffers, or window by window."""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.utils import Buffer

from sekisho.errors import Reason, RefusedError
from sekisho.formats.layout import Layout, Tensor, show
from sekisho.formats.safetensors import MAX_HEADER_BYTES, parse_safetensors
from sekisho.loader.mapping import Region
from sekisho.loader.opening import SealedModel, open_source, read_file
from sekisho.loader.reading import Part, Source, open_parts

_LENGTH_BYTES: Final = 8
WINDOW_BYTES: Final = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class TensorView:
    """A tensor whose bytes are in memory.

    Attributes:
        dtype: As safetensors spells it, "BF16".
        view: Its bytes, without a copy.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    view: memoryview


@dataclass(frozen=True, slots=True)
class LoadedFile:
    """A decrypted file and its tensors; releasing the region ends all of them."""

    region: Region
    tensors: Mapping[str, TensorView]


def load_tensors(model: SealedModel, path: str, *, threads: int | None = None) -> LoadedFile:
    """Decrypt a whole safetensors file and name its tensors, which are views of it.

    Raises:
        RefusedError: It does not open, or is no safetensors file; nothing stays in memory then.
    """
    region = read_file(model, path, threads=threads)
    try:
        layout = _parse(region.view[: _LENGTH_BYTES + MAX_HEADER_BYTES], region.size)
    except BaseException:
        region.release()
        raise
    view = region.view
    return LoadedFile(region, {tensor.name: _view_of(tensor, view, 0) for tensor in layout.tensors})


def read_layout(model: SealedModel, path: str) -> Layout:
    """Read the names, types and places of a file's tensors; no more of it is decrypted than its header's segments.

    Raises:
        RefusedError: These do not open, or it is no safetensors file.
    """
    with open_source(model, path) as source:
        return _read_layout(source)


def fill_tensors(
    model: SealedModel, path: str, destinations: Mapping[str, Buffer], *, threads: int | None = None
) -> None:
    """Decrypt chosen tensors straight into memory of the caller's; segments without any of them are not read.

    Args:
        model: The opened folder.
        path: A safetensors file of it.
        destinations: Contiguous writable memory by name of tensor, each exactly as large as its tensor.
        threads: As for `open_parts`.

    Raises:
        RefusedError: A tensor is not there, a destination has another size, or something does not open. All
            destinations are zeros in the last case, and untouched before.
    """
    with open_source(model, path) as source:
        known = {tensor.name: tensor for tensor in _read_layout(source).tensors}
        parts = [_part_of(name, dest, known, path) for name, dest in destinations.items()]
        parts.sort(key=lambda part: (part.start, part.end))
        open_parts(source, parts, threads=threads)


def stream_tensors(
    model: SealedModel, path: str, *, window_bytes: int = WINDOW_BYTES, threads: int | None = None
) -> Iterator[TensorView]:
    """Decrypt a file window by window and yield its tensors in the order of the file.

    A window is private memory of its own that holds whole tensors, one at least, and is never used twice: it lives as
    long as any of its views. Who lets go of each tensor when taking the next needs memory for two windows.

    Raises:
        RefusedError: A window does not open; of it nothing was yielded.
    """
    with open_source(model, path) as source:
        for tensors in _cut_windows(_read_layout(source).tensors, window_bytes):
            start, end = tensors[0].offset, tensors[-1].offset + tensors[-1].size
            region = Region(end - start)
            view = region.view
            open_parts(source, [Part(start, view)], threads=threads)
            yield from [_view_of(tensor, view, start) for tensor in tensors]


def _cut_windows(tensors: Sequence[Tensor], most: int) -> Iterator[list[Tensor]]:
    window: list[Tensor] = []
    for tensor in tensors:
        if window and tensor.offset + tensor.size - window[0].offset > most:
            yield window
            window = []
        window.append(tensor)
    if window:
        yield window


def _read_layout(source: Source) -> Layout:
    size = sum(segment.length for segment in source.segments)
    length = int.from_bytes(_read_head(source, min(size, _LENGTH_BYTES)), "little")
    return _parse(_read_head(source, min(size, _LENGTH_BYTES + min(length, MAX_HEADER_BYTES))), size)


def _read_head(source: Source, length: int) -> bytearray:
    head = bytearray(length)
    open_parts(source, [Part(0, memoryview(head))], threads=1)
    return head


def _parse(head: Buffer, size: int) -> Layout:
    return parse_safetensors(io.BytesIO(head), size)


def _part_of(name: str, dest: Buffer, known: Mapping[str, Tensor], path: str) -> Part:
    if (tensor := known.get(name)) is None:
        raise RefusedError(Reason.SOURCE_INVALID, f'"{path}" has no tensor {show(name)}')
    target = memoryview(dest).cast("B")
    if target.nbytes != tensor.size:
        raise RefusedError(
            Reason.SIZE_EXCEEDED,
            f"tensor {show(name)} has {tensor.size} bytes, its destination {target.nbytes}; both must be equal",
        )
    return Part(tensor.offset, target)


def _view_of(tensor: Tensor, view: memoryview, start: int) -> TensorView:
    begin = tensor.offset - start
    return TensorView(tensor.name, tensor.dtype, tensor.shape, view[begin : begin + tensor.size])
