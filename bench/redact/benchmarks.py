"""F1 and F2: masking by one pass against the standard library's `re`, pattern by pattern, and against Presidio."""

from collections.abc import Sequence

from bench.harness import Benchmark, Pair, Registry, WrongAnswerError, always
from bench.redact.masking import mask
from bench.redact.plain import detect_in_turn, without_re2
from bench.redact.presidio import open_presidio
from bench.redact.prompts import build_prompts
from sekisho.redact.categories import Category
from sekisho.redact.detect import Detector

PROMPTS = 400


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
    registry.register(
        Benchmark(
            id="F2",
            what=f"masking, MB/s over {PROMPTS} English prompts, six entities",
            reference="Presidio's pattern engine, blank language",
            goal=30,
            direction="min",
            open=open_presidio,
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


def demand_same(expected: object, found: object) -> None:
    """Refuse a run whose two sides masked differently, or not at all.

    Raises:
        WrongAnswerError: They did.
    """
    if expected != found:
        raise WrongAnswerError("the two passes mask differently")
    if not isinstance(found, list) or sum("[[" in text for text in found) < len(found) // 2:
        raise WrongAnswerError("hardly anything was masked")
