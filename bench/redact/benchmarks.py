"""F1: masking by one pass of RE2 against the standard library's `re`, pattern by pattern; the same rules behind."""

from collections.abc import Sequence

from bench.harness import Benchmark, Pair, Registry, WrongAnswerError, always
from bench.redact.plain import detect_in_turn, without_re2
from bench.redact.prompts import build_prompts
from sekisho.redact.categories import Category
from sekisho.redact.detect import Detector
from sekisho.redact.placeholders import derive_key, make_placeholder
from sekisho.redact.spans import Span

PROMPTS = 400
KEY = derive_key(bytes(range(32)), tenant="bench", conversation="bench")


def add_to(registry: Registry) -> None:
    """Register the benchmarks of redaction."""
    registry.register(
        Benchmark(
            id="F1",
            what=f"masking, MB/s over {PROMPTS} prompts of 1 to 4 KB",
            reference="stdlib re, the same patterns in turn",
            goal=10,
            direction="min",
            open=lambda: always(build_masking()),
        )
    )


def build_masking(*, count: int = PROMPTS) -> Pair:
    """Mask the same prompts by both; spans and masked texts must be the same."""
    prompts = build_prompts(11, count)
    size = sum(len(prompt.encode()) for prompt in prompts)
    detector = Detector(frozenset(Category))
    return Pair(
        reference=lambda: (size, _mask_plainly(prompts)),
        candidate=lambda: (size, [mask(prompt, detector.detect(prompt)) for prompt in prompts]),
        check=demand_same,
        notes=lambda: f"{size / count:.0f} bytes a prompt; a unit is a byte",
    )


def _mask_plainly(prompts: Sequence[str]) -> list[str]:
    with without_re2():
        return [mask(prompt, detect_in_turn(prompt)) for prompt in prompts]


def mask(text: str, spans: Sequence[Span]) -> str:
    """Put placeholders into the places of spans."""
    parts, taken = [], 0
    for span in spans:
        value = text[span.start : span.end]
        parts += [text[taken : span.start], make_placeholder(KEY, span.category, value)]
        taken = span.end
    return "".join([*parts, text[taken:]])


def demand_same(expected: object, found: object) -> None:
    """Refuse a run whose two sides masked differently, or not at all.

    Raises:
        WrongAnswerError: They did.
    """
    if expected != found:
        raise WrongAnswerError("the two passes mask differently")
    if not isinstance(found, list) or sum("[[" in text for text in found) < len(found) // 2:
        raise WrongAnswerError("hardly anything was masked")
