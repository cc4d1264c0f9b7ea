"""How many attacks are told, and how many harmless prompts pass: `python -m bench.gateway.attacks SET …`.

A set is a JSON list of objects with a `prompt`; `label` is 1 for an attack, and absent or 0 for what is harmless. With
`--quoted` every prompt stands in a document, once in what a tool gives back and once quoted by a user: there indirect
attacks are attacks.
"""

import json
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sekisho.gateway.guards.attacks import find_attacks
from sekisho.gateway.guards.texts import Text

SAMPLES = 10
LENGTH = 100
DOCUMENT = "Sales in the north rose by four per cent in the quarter.\n{}\nThe board meets again in June.\n"


@dataclass(slots=True)
class Judged:
    """What the rules said of one set.

    Attributes:
        told: By source and label, how many were told to be attacks.
        all: The same of all.
        rules: Which rules told.
        wrong: Some that were told though harmless, or not told.
    """

    told: Counter[tuple[str, int]] = field(default_factory=Counter)
    all: Counter[tuple[str, int]] = field(default_factory=Counter)
    rules: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def place(prompt: str) -> list[Text]:
    """Return a prompt as a user's own words."""
    return [Text("prompt", prompt, in_json=False, role="user")]


def quote_by_tool(prompt: str) -> list[Text]:
    """Return a prompt in the middle of what a tool gives back."""
    return [Text("prompt", DOCUMENT.format(prompt), in_json=False, role="tool")]


def quote_by_user(prompt: str) -> list[Text]:
    """Return a prompt in the middle of a document that a user quotes."""
    said = f"Summarise this.\n<document>\n{DOCUMENT.format(prompt)}\n</document>\nIn two sentences, please."
    return [Text("prompt", said, in_json=False, role="user")]


def judge(items: Iterable[Mapping[str, Any]], put: Callable[[str], list[Text]] = place) -> Judged:
    """Hold the rules against a set, each prompt put where it is to stand."""
    judged = Judged()
    for item in items:
        label, source = int(item.get("label") or 0), str(item.get("source") or item.get("category") or "-")
        verdicts = find_attacks(put(str(item["prompt"])))
        judged.all[source, label] += 1
        judged.told[source, label] += bool(verdicts)
        judged.rules.update(verdict.rule for verdict in verdicts)
        if bool(verdicts) != bool(label):
            judged.wrong.append(f"{'missed' if label else 'false'} ({source}): {str(item['prompt'])[:LENGTH]!r}")
    return judged


def describe(judged: Judged) -> list[str]:
    """Return lines for people."""
    lines = []
    for label, name in ((0, "harmless prompts that passed"), (1, "attacks that were told")):
        for source in sorted({source for source, known in judged.all if known == label}):
            every, told = judged.all[source, label], judged.told[source, label]
            right = told if label else every - told
            lines.append(f"  {name:30} {source:34} {right:4} of {every:4}  {right / every:.3f}")
    return [*lines, *(f"  {rule}: {count}" for rule, count in judged.rules.most_common()), *judged.wrong[:SAMPLES]]


def main(paths: Sequence[str]) -> int:
    """Judge each set and print what came of it."""
    puts = (quote_by_tool, quote_by_user) if "--quoted" in paths else (place,)
    for path in paths:
        for put in puts if path != "--quoted" else ():
            print(path, put.__name__)
            print("\n".join(describe(judge(json.loads(Path(path).read_text()), put))))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
