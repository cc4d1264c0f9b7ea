"""What was found where, and who wins where two things overlap."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from sekisho.redact.categories import MEANINGS, Category

_SEVERAL: Final = 2


class Span(NamedTuple):
    """One find: `start` to `end` of a text, the end exclusive; a tuple, since thousands are made and sorted."""

    start: int
    end: int
    category: Category


def resolve(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Return spans in the order of the text, of which none overlaps another.

    What overlaps becomes one span, so that nothing found stays uncovered. It is named by its strongest part: a tenant's
    own first, then the longest, then the category of the higher rank.
    """
    ordered = sorted(spans)
    if len(ordered) < _SEVERAL:
        return tuple(ordered)
    chosen: list[Span] = []
    done = 0
    for span in ordered:
        if span[0] >= done:
            chosen.append(span)
            done = span[1]
            continue
        last = chosen.pop()
        strongest = max(last, span, key=_strength)
        done = max(done, span[1])
        chosen.append(Span(last.start, done, strongest.category))
    return tuple(chosen)


def _strength(span: Span) -> tuple[bool, int, int]:
    return span.category is Category.CUSTOM, span.end - span.start, MEANINGS[span.category].rank
