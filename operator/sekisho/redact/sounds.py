"""How much a word in katakana that no dictionary has sounds like a person's name."""

from typing import Final

from sekisho.redact.soundtable import BIAS, WEIGHTS

# Weights are whole numbers of these to one.
STEPS: Final = 5
_LONGEST: Final = 3
_WEIGHTS: Final = {piece: weight for weight, pieces in WEIGHTS.items() for piece in pieces.split()}


def cut(word: str) -> set[str]:
    """Return the pieces of a word of up to three signs, its ends among them."""
    text = f"^{word}$"
    pieces = {text[at : at + size] for size in range(1, _LONGEST + 1) for at in range(len(text) + 1 - size)}
    return pieces - {"^", "$"}


def rate(word: str) -> float:
    """Return the logarithm of the odds that a word in katakana is a person's name: 0 where it is as likely as not."""
    return (BIAS + sum(_WEIGHTS.get(piece, 0) for piece in cut(word))) / STEPS
