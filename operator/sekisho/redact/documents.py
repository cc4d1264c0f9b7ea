"""Texts that are JSON documents: their strings, and spans fitted to these so that a document stays one."""

import json
import re
from bisect import bisect_right
from collections.abc import Iterable
from typing import Final

from sekisho.errors import Reason, RefusedError
from sekisho.redact.spans import Span

STRINGS: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"')
_OPENINGS: Final = frozenset({"{", "["})
_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[-+.0-9A-Za-z]+')


def may_be_document(text: str) -> bool:
    """Tell whether a text begins as a JSON object or list does."""
    return text.lstrip()[:1] in _OPENINGS


def is_document(text: str) -> bool:
    """Tell whether a text is a JSON object or list, as the arguments and the results of tools are."""
    if not may_be_document(text):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def fit(document: str, spans: Iterable[Span]) -> list[tuple[Span, bool]]:
    """Cut spans to the strings that they touch, and widen them to the bare numbers that they touch.

    Args:
        document: JSON.
        spans: In order, without overlaps.

    Returns:
        Spans in order without overlaps, each with whether it is bare: its replacement needs quotes.

    Raises:
        RefusedError: `RequestInvalid`, the document is not JSON.
    """
    _demand_json(document)
    tokens = [(match.start(), match.end(), match[0][0] == '"') for match in _TOKEN.finditer(document)]
    starts = [token[0] for token in tokens]
    pieces: list[tuple[Span, bool]] = []
    for span in spans:
        for start, end, quoted in tokens[max(0, bisect_right(starts, span.start) - 1) : bisect_right(starts, span.end)]:
            low, high = (max(span.start, start + 1), min(span.end, end - 1)) if quoted else (start, end)
            fresh = not pieces or pieces[-1][0].end <= low
            if low < high and span.start < end and start < span.end and fresh:
                pieces.append((Span(low, high, span.category), not quoted))
    return pieces


def _demand_json(document: str) -> None:
    try:
        json.loads(document)
    except (ValueError, RecursionError) as error:
        raise RefusedError(
            Reason.REQUEST_INVALID,
            "the arguments of a tool call are not a JSON document, so what they hold cannot be looked into; send JSON",
        ) from error
