"""The reference of F1: the same rules, with the standard library's `re` wherever the product has RE2 or an index."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from sekisho.redact import context, detect, fold
from sekisho.redact.context import Topic
from sekisho.redact.spans import Span, resolve

_IN_TURN = [re.compile(pattern) for pattern in detect.CANDIDATES.values()]
_FOLDABLE = re.compile(re.sub(r"\\x\{(\w+)\}", lambda sign: rf"\u{int(sign[1], 16):04x}", fold.FOLDABLE))
_WORDS = sorted({**context.TOPIC_OF, context.POSTAL_MARK: Topic.POSTAL}.items(), key=lambda item: -len(item[0]))
_TOPICS = {word[::-1]: topic for word, topic in _WORDS}
# Read backwards, so that one search finds the nearest word.
_BACKWARDS = re.compile(
    "|".join(
        [
            *(rf"(?<![a-z0-9_]){re.escape(word)}(?![a-z0-9_])" if word.isascii() else word for word in _TOPICS),
            *(rf"(?<![a-z0-9_]){word[::-1]}" if word.isascii() else word[::-1] for word in sorted(context.GENERIC)),
        ]
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


def _read_last(text: str) -> Topic | None:
    low, at = text.lower(), 0
    turned = low[::-1]
    while match := _BACKWARDS.search(turned, at):
        at = match.start() + 1
        topic = _TOPICS.get(match[0]) or context.read_generic(low, len(low) - match.start())
        if topic is not None:
            return topic
    return None


@contextmanager
def without_re2() -> Iterator[None]:
    """Let the rules read by the standard library until the block ends."""
    with patch.object(context, "_read_last", _read_last), patch.object(fold, "_FOLDABLE", _InText()):
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
