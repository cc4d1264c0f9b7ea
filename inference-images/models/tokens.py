"""A byte-level BPE vocabulary: any text can be written with it, and a few words are whole tokens."""

from __future__ import annotations

from dataclasses import dataclass

UNKNOWN, START, END = "<unk>", "<|im_start|>", "<|im_end|>"
CHAT_TEMPLATE = (
    "{% for m in messages %}{{'<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{'<|im_start|>assistant\n'}}{% endif %}"
)
_WORDS = (" the", " and", " of", " to", " in", " model", " answer", " is", " a", " gate", "ing", "tion", "er")


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Tokens in the order of their numbers (the first three are control tokens) and the merges that make words."""

    tokens: tuple[str, ...]
    merges: tuple[tuple[str, str], ...]


def build_vocabulary() -> Vocabulary:
    """Return the vocabulary; it is always the same."""
    letters = _byte_letters()
    tokens = [UNKNOWN, START, END, *letters.values()]
    merges: list[tuple[str, str]] = []
    for word in _WORDS:
        whole = ""
        for letter in (letters[byte] for byte in word.encode()):
            if whole and (whole, letter) not in merges:
                merges.append((whole, letter))
            whole += letter
            if whole not in tokens:
                tokens.append(whole)
    return Vocabulary(tokens=tuple(tokens), merges=tuple(merges))


def _byte_letters() -> dict[int, str]:
    """Return GPT-2's printable letter of each byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + n) for n, byte in enumerate(hidden)}
