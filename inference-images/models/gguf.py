"""Write a model as GGUF version 3 (ggml's docs/gguf.md): key-values, tensor table, aligned tensors."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

from models.tokens import CHAT_TEMPLATE, Vocabulary, build_vocabulary
from models.weights import CONTROL_TOKENS, LlamaShape, Tensor, generate_tensors

_ALIGNMENT = 32
_U32, _I32, _F32, _BOOL, _STRING, _ARRAY = 4, 5, 6, 7, 8, 9
_TYPE_F32, _TYPE_F16 = 0, 1
_NORMAL, _UNKNOWN, _CONTROL = 1, 2, 3
_PARTS = {
    "attention_norm": "attn_norm", "query": "attn_q", "key": "attn_k", "value": "attn_v",
    "attention_output": "attn_output", "feed_forward_norm": "ffn_norm", "gate": "ffn_gate", "up": "ffn_up",
    "down": "ffn_down", "embedding": "token_embd", "norm": "output_norm", "output": "output",
}  # fmt: skip


def write_gguf(path: Path, *, shape: LlamaShape, seed: int = 0) -> None:
    """Write a random Llama with a working tokenizer and chat template."""
    vocabulary = build_vocabulary()
    tensors = [_as_ggml(t) for t in generate_tensors(shape, vocabulary_size=len(vocabulary.tokens), seed=seed)]
    pairs = _describe(shape, vocabulary)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs)) + b"".join(pairs) + _table(tensors)
    with path.open("wb") as file:
        file.write(_padded(head))
        for tensor in tensors:
            file.write(_padded(tensor.content))


def _as_ggml(tensor: Tensor) -> Tensor:
    """Rename to llama.cpp's names; it wants norms in 32 bits."""
    *prefix, part = tensor.part.split(".")
    name = f"blk.{prefix[1]}.{_PARTS[part]}.weight" if prefix else f"{_PARTS[part]}.weight"
    content = struct.pack("<f", 1.0) * tensor.shape[0] if len(tensor.shape) == 1 else tensor.content
    return Tensor(name, tensor.shape, content)


def _table(tensors: Sequence[Tensor]) -> bytes:
    rows, offset = [], 0
    for tensor in tensors:
        kind = _TYPE_F32 if len(tensor.shape) == 1 else _TYPE_F16
        dimensions = struct.pack(f"<{len(tensor.shape)}Q", *reversed(tensor.shape))  # ggml counts the fastest first
        rows.append(
            _text(tensor.part) + struct.pack("<I", len(tensor.shape)) + dimensions + struct.pack("<IQ", kind, offset)
        )
        offset += len(_padded(tensor.content))
    return b"".join(rows)


def _describe(shape: LlamaShape, vocabulary: Vocabulary) -> list[bytes]:
    kinds = [_UNKNOWN, _CONTROL, _CONTROL] + [_NORMAL] * (len(vocabulary.tokens) - CONTROL_TOKENS)
    sizes = {
        "context_length": shape.context, "embedding_length": shape.hidden, "block_count": shape.layers,
        "feed_forward_length": shape.feed_forward, "attention.head_count": shape.heads,
        "attention.head_count_kv": shape.kv_heads, "rope.dimension_count": shape.head_size,
        "vocab_size": len(vocabulary.tokens),
    }  # fmt: skip
    ids = {"bos": 1, "eos": 2, "unknown": 0, "padding": 2}
    return [
        _pair("general.architecture", _STRING, _text("llama")),
        _pair("general.name", _STRING, _text("random-llama")),
        _pair("general.file_type", _U32, struct.pack("<I", _TYPE_F16)),
        *(_pair(f"llama.{name}", _U32, struct.pack("<I", size)) for name, size in sizes.items()),
        _pair("llama.attention.layer_norm_rms_epsilon", _F32, struct.pack("<f", 1e-5)),
        _pair("llama.rope.freq_base", _F32, struct.pack("<f", 10000.0)),
        _pair("tokenizer.ggml.model", _STRING, _text("gpt2")),
        _pair("tokenizer.ggml.pre", _STRING, _text("gpt-2")),
        _pair("tokenizer.ggml.tokens", _ARRAY, _texts(vocabulary.tokens)),
        _pair("tokenizer.ggml.token_type", _ARRAY, struct.pack(f"<IQ{len(kinds)}i", _I32, len(kinds), *kinds)),
        _pair("tokenizer.ggml.merges", _ARRAY, _texts([" ".join(merge) for merge in vocabulary.merges])),
        *(_pair(f"tokenizer.ggml.{name}_token_id", _U32, struct.pack("<I", number)) for name, number in ids.items()),
        _pair("tokenizer.ggml.add_bos_token", _BOOL, b"\x00"),
        _pair("tokenizer.chat_template", _STRING, _text(CHAT_TEMPLATE)),
    ]


def _pair(key: str, kind: int, value: bytes) -> bytes:
    return _text(key) + struct.pack("<I", kind) + value


def _text(text: str) -> bytes:
    encoded = text.encode()
    return struct.pack("<Q", len(encoded)) + encoded


def _texts(texts: Sequence[str]) -> bytes:
    return struct.pack("<IQ", _STRING, len(texts)) + b"".join(_text(text) for text in texts)


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % _ALIGNMENT)
