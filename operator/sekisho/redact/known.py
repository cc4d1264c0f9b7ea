"""Values that a request gave away once, wherever else they stand in it."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import re2

from sekisho.redact.categories import Category
from sekisho.redact.spans import Span

# Up to so many, looking for each alone is faster than compiling them.
FEW: Final = 16
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")


def find_known(
    text: str, known: Mapping[str, Category], *, found: Iterable[Span] = (), in_json: bool = False
) -> list[Span]:
    """Return where known values stand again; not inside longer words or numbers, nor in the middle of JSON's escapes.

    What was detected as the same in the same place is not told again.

    Args:
        text: Where to look.
        known: What for.
        found: What was detected there; what hangs on it is no part of a longer word, since it goes.
        in_json: Whether the text is that of a JSON document.
    """
    if not known:
        return []
    spelt = known
    if in_json:
        spelt = {json.dumps(value)[1:-1]: kind for value, kind in known.items()} | {**known}
    places = _find_few(text, spelt) if len(spelt) <= FEW else _find_many(text, spelt)
    had = {(start, end): category for start, end, category in found}
    fresh = [place for place in places if had.get(place) is not spelt[text[place[0] : place[1]]]]
    if not fresh:
        return []
    again = []
    begins, ends = {start for start, _ in (*had, *places)}, {end for _, end in (*had, *places)}
    for start, end in fresh:
        hangs = (start not in ends and _join(text[start - 1 : start], text[start])) or (
            end not in begins and _join(text[end - 1], text[end : end + 1])
        )
        if not hangs and not (in_json and _is_escaped(text, start)):
            again.append(Span(start, end, spelt[text[start:end]]))
    return again


def _find_few(text: str, values: Iterable[str]) -> list[tuple[int, int]]:
    places = []
    for value in values:
        start = text.find(value)
        while start >= 0:
            end = start + len(value)
            places.append((start, end))
            start = text.find(value, end)
    return places


def _find_many(text: str, spelt: Mapping[str, Category]) -> list[tuple[int, int]]:
    # RE2 reads UTF-8: what holds half a surrogate pair is looked for without it.
    odd = dict.fromkeys(value for value in spelt if _SURROGATE.search(value))
    places = _find_few(text, odd)
    options: Any = re2.Options()
    options.longest_match = True
    options.max_mem = 256 << 20
    union = re2.compile("|".join(re2.escape(value) for value in spelt if value not in odd), options)
    for match in union.finditer(_SURROGATE.sub("\0", text)):
        if text[match.start() : match.end()] in spelt:
            places.append(match.span())
    return places


def _join(left: str, right: str) -> bool:
    return left.isascii() and left.isalnum() and right.isascii() and right.isalnum()


def _is_escaped(text: str, start: int) -> bool:
    before = text[max(0, start - 64) : start]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1
