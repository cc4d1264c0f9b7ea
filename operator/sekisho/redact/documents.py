"""Spans in the text of a JSON document, fitted to its strings so that it stays one."""

import json
import re
from bisect import bisect_right
from collections.abc import Iterable
from typing import Final

from sekisho.errors import Reason, RefusedError
from sekisho.redact.spans import Span

_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[-+.0-9A-Za-z]+')


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
