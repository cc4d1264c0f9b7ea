"""The shape of a small Llama and random 16-bit weights for it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

CONTROL_TOKENS = 3


@dataclass(frozen=True, slots=True)
class LlamaShape:
    """Sizes of a Llama; the defaults make a model of 280 kB that loads in a tenth of a second."""

    hidden: int = 64
    layers: int = 2
    feed_forward: int = 192
    heads: int = 2
    kv_heads: int = 1
    context: int = 2048

    @property
    def head_size(self) -> int:
        """Return the width of one attention head."""
        return self.hidden // self.heads


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor to be written: its part of the model, its shape (rows first) and 16-bit floats."""

    part: str
    shape: tuple[int, ...]
    content: bytes


def generate_tensors(shape: LlamaShape, *, vocabulary_size: int, seed: int) -> Iterator[Tensor]:
    """Yield the tensors of a random Llama, named ``embedding``, ``norm``, ``output`` and ``layer.N.PART``.

    The rows of the control tokens in the output are zero, so at temperature 0 the model never ends by itself: answers
    have the length that was asked for.
    """
    source = random.Random(seed)  # noqa: S311 - weights, not secrets
    yield Tensor("embedding", (vocabulary_size, shape.hidden), _noise(source, vocabulary_size * shape.hidden))
    for layer in range(shape.layers):
        for part, dimensions in _layer_parts(shape):
            count = dimensions[0] * (dimensions[1] if len(dimensions) == 2 else 1)
            content = _noise(source, count) if len(dimensions) == 2 else _ones(count)
            yield Tensor(f"layer.{layer}.{part}", dimensions, content)
    yield Tensor("norm", (shape.hidden,), _ones(shape.hidden))
    silent = bytes(2 * CONTROL_TOKENS * shape.hidden)
    spoken = _noise(source, (vocabulary_size - CONTROL_TOKENS) * shape.hidden)
    yield Tensor("output", (vocabulary_size, shape.hidden), silent + spoken)


def _layer_parts(shape: LlamaShape) -> tuple[tuple[str, tuple[int, ...]], ...]:
    narrow = shape.kv_heads * shape.head_size
    return (
        ("attention_norm", (shape.hidden,)),
        ("query", (shape.hidden, shape.hidden)),
        ("key", (narrow, shape.hidden)),
        ("value", (narrow, shape.hidden)),
        ("attention_output", (shape.hidden, shape.hidden)),
        ("feed_forward_norm", (shape.hidden,)),
        ("gate", (shape.feed_forward, shape.hidden)),
        ("up", (shape.feed_forward, shape.hidden)),
        ("down", (shape.hidden, shape.feed_forward)),
    )


def _noise(source: random.Random, count: int) -> bytes:
    """Return 16-bit floats of either sign between 1/128 and 1/32: random bytes whose exponent is bent to 8 or 9.

    A gigabyte takes seconds and needs no library.
    """
    content = bytearray(source.randbytes(2 * count))
    content[1::2] = content[1::2].translate(_SMALL)
    return bytes(content)


def _ones(count: int) -> bytes:
    return b"\x00\x3c" * count


# the high byte of a half float: sign, five bits of exponent, two of mantissa
_SMALL = bytes((byte & 0x80) | (8 + (byte >> 2 & 1)) << 2 | byte & 3 for byte in range(256))
