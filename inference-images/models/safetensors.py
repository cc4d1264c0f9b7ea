"""Write a model as a Hugging Face folder: config, tokenizer and one safetensors file."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from models.tokens import CHAT_TEMPLATE, END, START, UNKNOWN, Vocabulary, build_vocabulary
from models.weights import LlamaShape, generate_tensors

_PARTS = {
    "attention_norm": "input_layernorm", "query": "self_attn.q_proj", "key": "self_attn.k_proj",
    "value": "self_attn.v_proj", "attention_output": "self_attn.o_proj",
    "feed_forward_norm": "post_attention_layernorm",
    "gate": "mlp.gate_proj", "up": "mlp.up_proj", "down": "mlp.down_proj",
}  # fmt: skip
_WHOLE = {"embedding": "model.embed_tokens.weight", "norm": "model.norm.weight", "output": "lm_head.weight"}


def write_folder(folder: Path, *, shape: LlamaShape, seed: int = 0) -> None:
    """Write a random Llama that vLLM and transformers load."""
    vocabulary = build_vocabulary()
    size = len(vocabulary.tokens)
    folder.mkdir(parents=True, exist_ok=True)
    _write_json(folder / "config.json", _config(shape, size))
    _write_json(folder / "generation_config.json", {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2})
    _write_json(folder / "tokenizer.json", _tokenizer(vocabulary))
    _write_json(folder / "tokenizer_config.json", _tokenizer_config(shape))
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    content = bytearray()
    for tensor in generate_tensors(shape, vocabulary_size=size, seed=seed):
        end = len(content) + len(tensor.content)
        header[_name(tensor.part)] = {"dtype": "F16", "shape": tensor.shape, "data_offsets": [len(content), end]}
        content += tensor.content
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + content)


def _name(part: str) -> str:
    if part in _WHOLE:
        return _WHOLE[part]
    _, layer, inner = part.split(".")
    return f"model.layers.{layer}.{_PARTS[inner]}.weight"


def _config(shape: LlamaShape, vocabulary_size: int) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
        "vocab_size": vocabulary_size, "hidden_size": shape.hidden, "intermediate_size": shape.feed_forward,
        "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads, "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_size, "max_position_embeddings": shape.context, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "tie_word_embeddings": False, "attention_bias": False, "mlp_bias": False,
        "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2, "torch_dtype": "float16",
    }  # fmt: skip


def _tokenizer(vocabulary: Vocabulary) -> dict[str, Any]:
    """Describe the vocabulary as the tokenizers library stores it."""
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0", "truncation": None, "padding": None, "normalizer": None, "post_processor": None,
        "added_tokens": [{"id": n, "content": t} | special for n, t in enumerate((UNKNOWN, START, END))],
        "pre_tokenizer": byte_level, "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": None, "unk_token": UNKNOWN, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
            "vocab": {token: number for number, token in enumerate(vocabulary.tokens)},
            "merges": [" ".join(merge) for merge in vocabulary.merges],
        },
    }  # fmt: skip


def _tokenizer_config(shape: LlamaShape) -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": shape.context, "unk_token": UNKNOWN,
        "bos_token": START, "eos_token": END, "pad_token": END, "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }  # fmt: skip


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1))
