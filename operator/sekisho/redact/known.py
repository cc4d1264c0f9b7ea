"""Values that a request gave away once, wherever else they stand in it."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import re2

from sekisho.redact.categories import Category
from sekisho.redact.spans import Span

# Up to so many, looking for each alone is faster than compiling them.
FEW: Final = 16
# Up to so many signs of all values they are compiled: an automaton of more takes seconds, and memory as it likes.
MOST_COMPILED: Final = 16_384
_HEAD: Final = 4
_MOST_LENGTHS: Final = 32
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")


class _Spelt:
    """Values as one kind of text spells them; what finds many of them is made once, when it is first needed."""

    __slots__ = ("_alone", "_index", "_is_large", "_union", "values")

    def __init__(self, values: Mapping[str, Category]) -> None:
        self.values = values
        # Looked for each by itself.
        self._alone: Sequence[str] = ()
        self._union: Any = None
        self._index: Mapping[str, Sequence[int]] | None = None
        self._is_large = sum(map(len, values)) > MOST_COMPILED

    def find(self, text: str) -> list[tuple[int, int]]:
        if len(self.values) <= FEW:
            return _find_few(text, self.values)
        return self._find_by_heads(text) if self._is_large else self._find_compiled(text)

    def _find_by_heads(self, text: str) -> list[tuple[int, int]]:
        """Look at each place for the longest value that begins there, by its first signs and its length."""
        if self._index is None:
            self._index, self._alone = _list_lengths(self.values)
        index, values, places, at = self._index, self.values, _find_few(text, self._alone), 0
        short = index.get("", ())
        while at < len(text):
            for length in (*index.get(text[at : at + _HEAD], ()), *short):
                piece = text[at : at + length]
                if piece in values:
                    places.append((at, at + len(piece)))
                    at += len(piece) - 1
                    break
            at += 1
        return places

    def _find_compiled(self, text: str) -> list[tuple[int, int]]:
        if self._union is None:
            self._compile()
        places = _find_few(text, self._alone)
        for match in self._union.finditer(_SURROGATE.sub("\0", text)):
            if text[match.start() : match.end()] in self.values:
                places.append(match.span())
        return places

    def _compile(self) -> None:
        # RE2 reads UTF-8: what holds half a surrogate pair is looked for without it.
        self._alone = odd = [value for value in self.values if _SURROGATE.search(value)]
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


def _list_lengths(values: Iterable[str]) -> tuple[Mapping[str, Sequence[int]], Sequence[str]]:
    """Return how long the values are that begin with some signs, the longest first; of shorter ones under nothing.

    And those of which too many lengths have one beginning: at each such place all would be tried.
    """
    by_head: dict[str, list[str]] = {}
    for value in values:
        by_head.setdefault(value[:_HEAD] if len(value) >= _HEAD else "", []).append(value)
    lengths = {head: sorted(set(map(len, found)), reverse=True) for head, found in by_head.items()}
    alone = [value for head, found in lengths.items() if len(found) > _MOST_LENGTHS for value in by_head[head]]
    return {head: found for head, found in lengths.items() if len(found) <= _MOST_LENGTHS}, alone


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
