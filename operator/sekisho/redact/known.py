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


class _Spelt:
    """Values as one kind of text spells them; what finds many of them is compiled once, when it is first needed."""

    __slots__ = ("_odd", "_union", "values")

    def __init__(self, values: Mapping[str, Category]) -> None:
        self.values = values
        self._odd: tuple[str, ...] = ()
        self._union: Any = None

    def find(self, text: str) -> list[tuple[int, int]]:
        if len(self.values) <= FEW:
            return _find_few(text, self.values)
        if self._union is None:
            self._compile()
        places = _find_few(text, self._odd)
        for match in self._union.finditer(_SURROGATE.sub("\0", text)):
            if text[match.start() : match.end()] in self.values:
                places.append(match.span())
        return places

    def _compile(self) -> None:
        # RE2 reads UTF-8: what holds half a surrogate pair is looked for without it.
        self._odd = tuple(value for value in self.values if _SURROGATE.search(value))
        odd = frozenset(self._odd)
        options: Any = re2.Options()
        options.longest_match = True
        options.max_mem = 256 << 20
        self._union = re2.compile("|".join(re2.escape(value) for value in self.values if value not in odd), options)


class Known:
    """What is known of a request, to be looked for in all of its texts; secret.

    Args:
        values: With their categories; not to be changed.
    """

    __slots__ = ("_documents", "_texts")

    def __init__(self, values: Mapping[str, Category]) -> None:
        self._texts = _Spelt(values)
        self._documents: _Spelt | None = None

    def find(self, text: str, *, found: Iterable[Span] = (), in_json: bool = False) -> list[Span]:
        """Return where values stand again; not inside longer words or numbers, nor in the middle of JSON's escapes.

        What was detected as the same in the same place is not told again.

        Args:
            text: Where to look.
            found: What was detected there; what hangs on it is no part of a longer word, since it goes.
            in_json: Whether the text is that of a JSON document.
        """
        if not self._texts.values:
            return []
        spelt = self._read_documents() if in_json else self._texts
        places, values = spelt.find(text), spelt.values
        had = {(start, end): category for start, end, category in found}
        fresh = [place for place in places if had.get(place) is not values[text[place[0] : place[1]]]]
        if not fresh:
            return []
        again = []
        begins, ends = {start for start, _ in (*had, *places)}, {end for _, end in (*had, *places)}
        for start, end in fresh:
            hangs = (start not in ends and _join(text[start - 1 : start], text[start])) or (
                end not in begins and _join(text[end - 1], text[end : end + 1])
            )
            if not hangs and not (in_json and _is_escaped(text, start)):
                again.append(Span(start, end, values[text[start:end]]))
        return again

    def _read_documents(self) -> _Spelt:
        if self._documents is None:
            values = self._texts.values
            self._documents = _Spelt({json.dumps(value)[1:-1]: kind for value, kind in values.items()} | {**values})
        return self._documents


def _find_few(text: str, values: Iterable[str]) -> list[tuple[int, int]]:
    places = []
    for value in values:
        start = text.find(value)
        while start >= 0:
            end = start + len(value)
            places.append((start, end))
            start = text.find(value, end)
    return places


def _join(left: str, right: str) -> bool:
    return left.isascii() and left.isalnum() and right.isascii() and right.isalnum()


def _is_escaped(text: str, start: int) -> bool:
    before = text[max(0, start - 64) : start]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1
