"""How much is found, and how much of what is found is right: `python -m bench.redact.quality [folder of sets]`."""

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.redact.made import Planted, make
from sekisho.errors import UnavailableError
from sekisho.gateway.tagging import load_tagger
from sekisho.redact.categories import BY_TAGGER, Category
from sekisho.redact.detect import Detector

STRUCTURED = Detector(frozenset(Category) - BY_TAGGER)
SEED = 20261129
SAMPLES = 25
# What the sets call the categories of ours; they have more, which are not looked for.
ENGLISH = {
    "CREDIT_CARD": Category.CARD, "PHONE_NUMBER": Category.PHONE, "EMAIL_ADDRESS": Category.EMAIL,
    "IBAN_CODE": Category.IBAN, "IP_ADDRESS": Category.IP_ADDRESS, "US_SSN": Category.US_SSN, "PERSON": Category.PERSON,
}  # fmt: skip
JAPANESE = {"人名": Category.PERSON, "地名": Category.PLACE}


@dataclass(frozen=True, slots=True)
class Marked:
    """A text, and what a set says stands in it: start, end, and its own word for it."""

    text: str
    items: tuple[tuple[int, int, str], ...]


@dataclass(slots=True)
class Result:
    """What was counted.

    Attributes:
        counts: By category: found (touched, by its name), whole (covered), missed, false.
        confused: By category and what the set calls what was taken for it ("-": nothing).
        samples: Some that were missed or false.
    """

    counts: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    confused: Counter[tuple[str, str]] = field(default_factory=Counter)
    samples: list[str] = field(default_factory=list)


def measure(texts: Iterable[Marked], names: Mapping[str, Category], detector: Detector = STRUCTURED) -> Result:
    """Count what is found of the categories that a set names."""
    result = Result()
    looked_for = set(names.values()) & detector.categories
    for marked in texts:
        wanted = [(start, end, names[word]) for start, end, word in marked.items if names.get(word) in looked_for]
        _count(result, marked, wanted, detector)
    return result


def _count(result: Result, marked: Marked, wanted: list[tuple[int, int, Category]], detector: Detector) -> None:
    text, spans = marked.text, detector.detect(marked.text)
    for start, end, category in wanted:
        touched = [s for s in spans if s.category is category and s.start < end and start < s.end]
        result.counts[category]["found" if touched else "missed"] += 1
        result.counts[category]["whole"] += any(s.start <= start and end <= s.end for s in touched)
        if not touched:
            result.samples.append(f"missed {category}: {text[max(0, start - 20) : end + 10]!r}")
    for span in spans:
        if any(start < span.end and span.start < end and span.category is kind for start, end, kind in wanted):
            continue
        others = [word for start, end, word in marked.items if start < span.end and span.start < end]
        result.counts[span.category]["false"] += 1
        result.confused[span.category, others[0] if others else "-"] += 1
        result.samples.append(f"false {span.category}: {text[max(0, span.start - 20) : span.end + 10]!r}")


def show(title: str, result: Result) -> None:
    """Print a table, what was confused, and samples from all over the set."""
    print(
        f"{title}\n{'category':22} {'recall':>7} {'whole':>7} {'precision':>9} {'found':>6} {'missed':>6} {'false':>6}"
    )
    for name, row in [*sorted(result.counts.items()), ("all", sum(result.counts.values(), Counter()))]:
        recall, whole, precision = rates(row)
        numbers = f"{row['found']:6} {row['missed']:6} {row['false']:6}"
        print(f"{name:22} {recall:7.3f} {whole:7.3f} {precision:9.3f} {numbers}")
    for (name, other), count in result.confused.most_common(10):
        print(f"  {count:4} times {name} where the set has {other}")
    step = max(1, len(result.samples) // SAMPLES)
    print("\n".join(f"  {sample}" for sample in result.samples[::step][:SAMPLES]))


def rates(row: Counter[str]) -> tuple[float, float, float]:
    """Return recall, recall of those covered whole, and precision; not a number where nothing was there."""
    found, missed, false = row["found"], row["missed"], row["false"]
    there, told = found + missed or float("nan"), found + false or float("nan")
    return found / there, row["whole"] / there, found / told


def read_made(items: Iterable[Planted]) -> Iterable[Marked]:
    """Yield made texts with what is planted in them."""
    return (
        Marked(item.text, ((item.start, item.end, item.category.value),) if item.category else ()) for item in items
    )


def read_english(path: Path) -> Iterable[Marked]:
    """Yield the texts of presidio-research's set."""
    for item in json.loads(path.read_text("utf-8")):
        spans = item["spans"]
        yield Marked(
            item["full_text"],
            tuple((span["start_position"], span["end_position"], span["entity_type"]) for span in spans),
        )


def read_japanese(path: Path) -> Iterable[Marked]:
    """Yield the texts of the set that was made from Wikipedia."""
    for item in json.loads(path.read_text("utf-8")):
        yield Marked(item["text"], tuple((*entity["span"], entity["type"]) for entity in item["entities"]))


def main(argv: list[str]) -> int:
    """Print tables and samples; sets and dictionaries that are not there are said to be missing."""
    folder = Path(argv[1]) if len(argv) > 1 else Path("../shared/datasets")
    show("made, Japanese", measure(read_made(make(SEED, 400)), {item.value: item for item in Category}))
    sets: dict[str, tuple[str, Callable[[Path], Iterable[Marked]], Mapping[str, Category]]] = {
        "pii_en_dev.json": ("presidio-research, English", read_english, ENGLISH),
        "ner_ja_dev.json": ("ner-wikipedia-dataset, Japanese", read_japanese, JAPANESE),
    }
    for name, (title, read, words) in sets.items():
        if not (folder / name).exists():
            print(f"{folder / name} is not there; {title} is not measured", file=sys.stderr)
            continue
        show(title, measure(read(folder / name), words, _build_detector(words)))
    return 0


def _build_detector(words: Mapping[str, Category]) -> Detector:
    try:
        return Detector(frozenset(words.values()), None, load_tagger())
    except UnavailableError as error:
        print(f"names are not measured: {error.message}", file=sys.stderr)
        return Detector(frozenset(words.values()) - BY_TAGGER)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
