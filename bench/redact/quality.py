"""How much is found, and how much of what is found is right: `python -m bench.redact.quality [folder of sets]`."""

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from bench.redact.made import Planted, make
from sekisho.redact.categories import Category
from sekisho.redact.detect import Detector

DETECTOR = Detector(frozenset(Category))
SEED = 20261129
# What the English set calls the categories of ours; it has more, which are not looked for.
ENGLISH = {
    "CREDIT_CARD": Category.CARD, "PHONE_NUMBER": Category.PHONE, "EMAIL_ADDRESS": Category.EMAIL,
    "IBAN_CODE": Category.IBAN, "IP_ADDRESS": Category.IP_ADDRESS, "US_SSN": Category.US_SSN,
}  # fmt: skip


def measure(texts: Iterable[tuple[str, list[tuple[int, int, Category]]]]) -> tuple[dict[str, Counter[str]], list[str]]:
    """Count by category: found (an item covered whole, by whatever name its place has), missed, false; and samples."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    samples = []
    for text, wanted in texts:
        spans = DETECTOR.detect(text)
        for start, end, category in wanted:
            hit = any(span.start <= start and end <= span.end and span.category is category for span in spans)
            counts[category]["found" if hit else "missed"] += 1
            if not hit:
                samples.append(f"missed {category}: {text[max(0, start - 20) : end + 10]!r}, found {len(spans)} others")
        for span in spans:
            if not any(start < span.end and span.start < end and span.category is kind for start, end, kind in wanted):
                counts[span.category]["false"] += 1
                samples.append(f"false {span.category}: {text[max(0, span.start - 20) : span.end + 10]!r}")
    return counts, samples


def show(title: str, counts: dict[str, Counter[str]]) -> None:
    """Print a table."""
    print(f"{title}\n{'category':22} {'recall':>7} {'precision':>9} {'found':>6} {'missed':>6} {'false':>6}")
    for name, row in [*sorted(counts.items()), ("all", sum(counts.values(), Counter()))]:
        found, missed, false = row["found"], row["missed"], row["false"]
        recall = found / (found + missed) if found + missed else float("nan")
        precision = found / (found + false) if found + false else float("nan")
        print(f"{name:22} {recall:7.3f} {precision:9.3f} {found:6} {missed:6} {false:6}")


def read_made(items: Iterable[Planted]) -> Iterable[tuple[str, list[tuple[int, int, Category]]]]:
    """Yield texts with what is wanted in them."""
    return ((item.text, [(item.start, item.end, item.category)] if item.category else []) for item in items)


def read_english(path: Path) -> Iterable[tuple[str, list[tuple[int, int, Category]]]]:
    """Yield the texts of presidio-research's set."""
    for item in json.loads(path.read_text("utf-8")):
        spans = ((s["start_position"], s["end_position"], ENGLISH.get(s["entity_type"])) for s in item["spans"])
        yield item["full_text"], [(start, end, kind) for start, end, kind in spans if kind]


def main(argv: list[str]) -> int:
    """Print tables and samples; sets that are not there are said to be missing."""
    folder = Path(argv[1]) if len(argv) > 1 else Path("../shared/datasets")
    sets = {"made, Japanese": read_made(make(SEED, 400))}
    english = folder / "pii_en_dev.json"
    if english.exists():
        sets["presidio-research, English"] = read_english(english)
    else:
        print(f"{english} is not there; the English set is not measured", file=sys.stderr)
    for title, texts in sets.items():
        counts, samples = measure(texts)
        show(title, counts)
        print("\n".join(samples[:25]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
