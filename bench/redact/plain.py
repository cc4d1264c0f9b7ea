"""The reference of F1: the same rules, with the standard library's `re` wherever the product has RE2 or an index."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from sekisho.redact import context, detect, fold
from sekisho.redact.spans import Span, resolve

_IN_TURN = [re.compile(pattern, re.ASCII) for pattern in detect.CANDIDATES.values()]
_FOLDABLE = re.compile(re.sub(r"\\x\{(\w+)\}", lambda sign: rf"\u{int(sign[1], 16):04x}", fold.FOLDABLE))
# Read backwards, so that one search finds the nearest word.
_TURNED = sorted((word[::-1] for word in (*context.TOPIC_OF, context.POSTAL_MARK)), key=len, reverse=True)
_BACKWARDS = re.compile(
    "|".join(
        rf"(?<![a-z0-9_]){re.escape(word)}(?![a-z0-9_])" if word.isascii() else word
        for word in (*_TURNED, *(word[::-1] for word in sorted(context.GENERIC)))
    )
)


class _InText:
    """The standard library's pattern of what folds, with places in bytes as RE2 tells them."""

    def find(self, data: bytes) -> Iterator[tuple[int, int]]:
        text = data.decode()
        counted = place = 0
        for match in _FOLDABLE.finditer(text):
            start = place + len(text[counted : match.start()].encode())
            counted, place = match.end(), start + len(match[0].encode())
            yield start, place


@contextmanager
def without_re2() -> Iterator[None]:
    """Let the rules read by the standard library until the block ends."""
    with patch.object(context, "_NEAREST", _BACKWARDS), patch.object(fold, "_FOLDABLE", _InText()):
        yield


def detect_in_turn(text: str) -> tuple[Span, ...]:
    """Detect as the product does, each pattern by itself, over the whole text."""
    folded = fold.fold(text)
    spans = detect.judge(folded.text, _candidates(folded.text))
    return resolve(Span(*folded.span(span.start, span.end), span.category) for span in spans)


def _candidates(text: str) -> Iterator[tuple[int, int]]:
    found = sorted(
        (match.start(), order, match.end())
        for order, pattern in enumerate(_IN_TURN)
        for match in pattern.finditer(text)
    )
    done = 0
    for start, _, end in found:
        if start >= done:
            done = end
            yield start, end
