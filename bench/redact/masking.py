"""What both sides of the benchmarks do with what they found."""

from collections.abc import Sequence

from sekisho.redact.placeholders import derive_key, make_placeholder
from sekisho.redact.spans import Span

KEY = derive_key(bytes(range(32)), tenant="bench", conversation="bench")


def mask(text: str, spans: Sequence[Span]) -> str:
    """Put placeholders into the places of spans."""
    parts, taken = [], 0
    for span in spans:
        value = text[span.start : span.end]
        parts += [text[taken : span.start], make_placeholder(KEY, span.category, value)]
        taken = span.end
    return "".join([*parts, text[taken:]])
