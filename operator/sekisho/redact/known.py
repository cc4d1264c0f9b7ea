"""Values that a request gave away once, wherever else they stand in it."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import re2

from sekisho.redact.categories import Category
from sekisho.redact.spans import Span

# Up to so many, looking for each alone is faster than compiling them.
FEW: Final = 16
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")


def find_known(
    text: str, known: Mapping[str, Category], *, found: Iterable[Span] = (), in_json: bool = False
) -> Iterator[Span]:
    """Yield where known values stand again; not inside longer words or numbers, nor in the middle of JSON's escapes.

    What was detected as the same in the same place is not told again.

    Args:
        text: Where to look.
        known: What for.
        found: What was detected there; what hangs on it is no part of a longer word, since it goes.
        in_json: Whether the text is that of a JSON document.
    """
    if not known:
        return
    spelt = {json.dumps(value)[1:-1]: kind for value, kind in known.items()} if in_json else {}
    spelt |= known
    places = list(_find_few(text, spelt) if len(spelt) <= FEW else _find_many(text, spelt))
    had = {(span.start, span.end): span.category for span in found}
    fresh = [place for place in places if had.get(place) is not spelt[text[place[0] : place[1]]]]
    if not fresh:
        return
    begins, ends = {start for start, _ in (*had, *places)}, {end for _, end in (*had, *places)}
    for start, end in fresh:
        hangs = (start not in ends and _join(text[start - 1 : start], text[start])) or (
            end not in begins and _join(text[end - 1], text[end : end + 1])
        )
        if not hangs and not (in_json and _is_escaped(text, start)):
            yield Span(start, end, spelt[text[start:end]])


def _find_few(text: str, spelt: Mapping[str, Category]) -> Iterator[tuple[int, int]]:
    for value in spelt:
        start = text.find(value)
        while start >= 0:
            yield start, start + len(value)
            start = text.find(value, start + len(value))


def _find_many(text: str, spelt: Mapping[str, Category]) -> Iterator[tuple[int, int]]:
    # RE2 reads UTF-8: what holds half a surrogate pair is looked for without it.
    odd = {value: kind for value, kind in spelt.items() if _SURROGATE.search(value)}
    yield from _find_few(text, odd)
    options: Any = re2.Options()
    options.longest_match = True
    options.max_mem = 256 << 20
    union = re2.compile("|".join(re2.escape(value) for value in spelt if value not in odd), options)
    for match in union.finditer(_SURROGATE.sub("\0", text)):
        if text[match.start() : match.end()] in spelt:
            yield match.span()


def _join(left: str, right: str) -> bool:
    return left.isascii() and left.isalnum() and right.isascii() and right.isalnum()


def _is_escaped(text: str, start: int) -> bool:
    before = text[max(0, start - 64) : start]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1
