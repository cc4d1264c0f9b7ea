"""The table of how names in katakana sound, from SudachiDict: `python -m bench.redact.sounds` writes it anew.

What the dictionary has as a person's name is set against what it has as a common noun, a place or another name, by
pieces of up to three signs. The same dictionary gives the same table; 20 s of one core, nothing of it at run time.
"""

import math
import random
import re
import struct
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from importlib.resources import files
from itertools import chain
from pathlib import Path

from sekisho.redact.sounds import STEPS, cut

TABLE = Path(__file__).parents[2] / "operator/sekisho/redact/soundtable.py"
WORD = re.compile("[ァ-ヺー]{3,12}")
# A piece that fewer words have tells nothing.
LEAST = 20
ROUNDS = 6
RATE = 0.3
DECAY = 0.002
SEED = 2
WIDTH = 140


def list_katakana(path: Path) -> Iterator[str]:
    """Yield the words of katakana that a dictionary of SudachiDict's format of 2026 has as keys."""
    with path.open("rb") as file:
        offset, size = _find_section(file.read(4096), b"TrieIndex")
        file.seek(offset)
        units = struct.unpack(f"<{size // 4}I", file.read(size))
    waiting = [(0, b"")]
    while waiting:
        node, key = waiting.pop()
        unit = units[node]
        base = node ^ ((unit >> 10) << ((unit & 512) >> 6))
        if unit >> 8 & 1 and len(key) % 3 == 0 and WORD.fullmatch(key.decode()):
            yield key.decode()
        for byte in ((0xE3,), (0x82, 0x83), range(0x80, 0xC0))[len(key) % 3]:
            child = base ^ byte
            if child < len(units) and units[child] & 0x800000FF == byte:
                waiting.append((child, key + bytes([byte])))


def _find_section(head: bytes, name: bytes) -> tuple[int, int]:
    at = head.index(bytes([len(name)]) + name) + 1 + len(name)
    numbers: list[int] = []
    while len(numbers) < 2:
        number = shift = 0
        while True:
            byte = head[at]
            at += 1
            number |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        numbers.append(number)
    return numbers[0], numbers[1]


def sort_words(words: Iterable[str], parts: Mapping[str, set[tuple[str, ...]]]) -> list[tuple[str, bool]]:
    """Return nouns and whether they are people's names; words that are both say nothing and are left out."""
    chosen = []
    for word in sorted(words):
        nouns = [part for part in parts[word] if part[0] == "名詞" and part[1] != "数詞"]
        people = {part[2] == "人名" for part in nouns}
        if len(people) == 1:
            chosen.append((word, people.pop()))
    return chosen


def train(words: list[tuple[str, bool]], least: int = LEAST) -> tuple[float, dict[str, float]]:
    """Return a bias and a weight for each piece: logistic regression, with a rate of its own for each."""
    cuts = [cut(word) for word, _ in words]
    counts = Counter(chain.from_iterable(cuts))
    pieces = [piece for piece, count in counts.items() if count >= least]
    places = {piece: at for at, piece in enumerate(pieces)}
    weights, squares = [0.0] * len(pieces), [1e-6] * len(pieces)
    examples = [
        ([places[piece] for piece in sorted(places.keys() & own)], name)
        for own, (_, name) in zip(cuts, words, strict=True)
    ]
    bias, order = 0.0, random.Random(SEED)  # noqa: S311 - the same order each time
    weigh, exp, sqrt = weights.__getitem__, math.exp, math.sqrt
    for _ in range(ROUNDS):
        order.shuffle(examples)
        for own, name in examples:
            total = bias + sum(map(weigh, own))
            wrong = 1 / (1 + exp(-max(-30.0, min(30.0, total)))) - name
            bias -= 0.01 * wrong
            for at in own:
                weight = weights[at]
                slope = wrong + DECAY * weight
                squares[at] = square = squares[at] + slope * slope
                weights[at] = weight - RATE * slope / sqrt(square)
    return bias, dict(zip(pieces, weights, strict=True))


def write(bias: float, weights: Mapping[str, float], source: str) -> str:
    """Return the module that holds the table, in steps; what comes to none is left out."""
    steps: dict[int, list[str]] = defaultdict(list)
    for piece, weight in sorted(weights.items()):
        steps[round(weight * STEPS)].append(piece)
    lines = [
        f'"""How pieces of katakana weigh for a person\'s name; by bench.redact.sounds from {source} (Apache-2.0)."""',
        "",
        "# ruff: noqa: E501 - generated",
        "",
        "from typing import Final",
        "",
        f"BIAS: Final = {round(bias * STEPS)}",
        "WEIGHTS: Final = {",
    ]
    for step in sorted(set(steps) - {0}):
        rows: list[str] = []
        for piece in steps[step]:
            if not rows or len(rows[-1]) + len(piece) >= WIDTH:
                rows.append(piece)
            else:
                rows[-1] += f" {piece}"
        body = "\n".join(rows)
        lines.append(f'    {step}: """{body}""",' if len(rows) > 1 else f'    {step}: "{body}",')
    return "\n".join([*lines, "}", ""])


def main() -> int:
    """Write the table into the source."""
    from sudachipy import Dictionary  # noqa: PLC0415 - installed with the gateway alone

    path = Path(str(files("sudachidict_core") / "resources" / "system.dic"))
    dictionary = Dictionary(dict=str(path))
    words = set(list_katakana(path))
    parts = {word: {tuple(item.part_of_speech()) for item in dictionary.lookup(word)} for word in words}
    chosen = sort_words(words, parts)
    bias, weights = train(chosen)
    TABLE.write_text(write(bias, weights, f"SudachiDict core {version('sudachidict-core')}"), "utf-8")
    print(f"{len(chosen)} words, {sum(name for _, name in chosen)} of them names")
    return 0


if __name__ == "__main__":
    sys.exit(main())
