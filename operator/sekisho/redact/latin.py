"""Names in Latin letters: lists of names, and the titles, words and signs around them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sekisho.redact import latinwords

_LETTER: Final = "A-Za-zÀ-ÖØ-öø-ɏ"
_PART: Final = rf"[A-ZÀ-ÖØ-ÞĀ-ɏ][{_LETTER}]*(?:[’'-][{_LETTER}]{{2,}})*"
# Capitalised words with a space between, or the point of an initial or a title; particles only inside.
_RUN: Final = re.compile(
    rf"(?<![{_LETTER}\d_@#/.-]){_PART}(?:(?:(?<=\b[A-Z])\.? ?|(?<=\b[A-Z][a-z])\. |(?<=\b[A-Z][a-z][a-z])\. | )"
    rf"(?:(?:{latinwords.PARTICLES}) ){{0,2}}{_PART}){{0,5}}(?![{_LETTER}\d_@/]|[’']t\b)"
)
_WORD: Final = re.compile(_PART)
_BEFORE: Final = 40
_MAX_PARTS: Final = 4
_AND: Final = " and "


@dataclass(frozen=True, slots=True)
class LatinNames:
    """Lists of names, in lower case.

    Attributes:
        given: Names that parents give.
        family: Names that families have.
        common: Words that are no names where they stand alone or first: common words, countries, cities, languages.
    """

    given: frozenset[str]
    family: frozenset[str]
    common: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Part:
    start: int
    end: int
    text: str

    @property
    def low(self) -> str:
        return self.text.lower()


def find_latin(text: str, names: LatinNames) -> Iterator[tuple[int, int]]:
    """Yield names of people in folded text; those in lower case first, then the others in their order."""
    yield from _find_lower(text, names)
    for run in _RUN.finditer(text):
        parts = [_Part(*word.span(), word[0]) for word in _WORD.finditer(text, *run.span())]
        titles = 0
        while titles < len(parts) and parts[titles].low in latinwords.TITLES:
            titles += 1
        parts = parts[titles:]
        if parts:
            found = _judge(text, parts, names, titled=titles > 0)
            if found:
                yield found


def _find_lower(text: str, names: LatinNames) -> Iterator[tuple[int, int]]:
    """Yield names in lower case that are announced: my name is lena andersson."""
    if not any(words in text for words in latinwords.IN_LOWER):
        return
    for announced in latinwords.LOWER.finditer(text):
        low = announced[1].split()
        if any(word in names.given or word in names.family for word in low) and names.common.isdisjoint(low):
            yield announced.span(1)


def _judge(text: str, parts: list[_Part], names: LatinNames, *, titled: bool) -> tuple[int, int] | None:
    before = text[max(0, parts[0].start - _BEFORE) : parts[0].start]
    heads = [index for index, part in enumerate(parts) if part.low in latinwords.HEADS]
    if titled:
        parts = parts[: heads[0]] if heads and heads[0] else parts
        return parts[0].start, parts[-1].end
    if parts[0].low in latinwords.ARTICLES:
        parts = _drop_article(parts, names)
    if not parts or parts[0].low in latinwords.FIRST_OF_PLACES:
        return None
    parts = _drop_common(parts, names)
    if parts[0].low in latinwords.PRONOUNS:
        return None
    if heads or len(parts) > _MAX_PARTS:
        return None
    span = parts[0].start, parts[-1].end
    if all(_is_shouted(part) for part in parts):
        return span if _is_on_card(parts, names, before) else None
    if _is_address(text, *span, before):
        return None
    return span if _is_person(text, parts, names, before) else None


def _drop_article(parts: list[_Part], names: LatinNames) -> list[_Part]:
    """Return the name of somebody behind an article: The Jane Doe version; nothing where it is a family's."""
    whole = len(parts) > 2 and parts[1].low in names.given and parts[-1].low in names.family
    return parts[1:] if whole else []


def _drop_common(parts: list[_Part], names: LatinNames) -> list[_Part]:
    while len(parts) > 1 and parts[0].low in names.common and parts[0].low not in names.given:
        parts = parts[1:]
    return parts


def _is_person(text: str, parts: list[_Part], names: LatinNames, before: str) -> bool:
    fresh = [part.low not in names.common for part in parts]
    given = [part.low in names.given for part in parts]
    following = text[parts[-1].end : parts[-1].end + _BEFORE]
    if (fresh[0] or given[0]) and (latinwords.CUE.search(before) or latinwords.OF_PEOPLE.match(following)):
        return True
    if len(parts) == 1:
        listed = given[0] or parts[0].low in names.family
        return fresh[0] and len(parts[0].text) > 2 and (listed or _is_beside(text, parts[0], names))
    # An initial between two words.
    if any(len(part.text) == 1 for part in parts[1:-1]) and len(parts[0].text) > 1:
        return True
    if len(parts) == 2 and all(fresh) and all(latinwords.ROMANISED.fullmatch(part.low) for part in parts):
        return True
    if len(parts) == 2 and all(fresh) and any(latinwords.ACCENTED.search(part.text) for part in parts):
        return True
    if parts[0].low.endswith("ly") and not given[0]:
        return False
    return any(
        new and (is_given or part.low in names.family) for new, is_given, part in zip(fresh, given, parts, strict=True)
    )


def _is_beside(text: str, part: _Part, names: LatinNames) -> bool:
    """Tell whether "and" joins a word to the name of a family."""
    following = latinwords.AND_NEXT.match(text, part.end) if text.startswith(_AND, part.end) else None
    before = None
    if text.endswith(_AND, 0, part.start):
        before = latinwords.AND_BEFORE.search(text[max(0, part.start - _BEFORE) : part.start])
    low = [found[1].lower() for found in (before, following) if found]
    return any(word in names.family and word not in names.common for word in low)


def _is_address(text: str, start: int, end: int, before: str) -> bool:
    return latinwords.HOUSE_BEFORE.search(before) is not None or latinwords.HOUSE_AFTER.match(text, end) is not None


def _is_on_card(parts: list[_Part], names: LatinNames, before: str) -> bool:
    """Tell whether two words in capitals are a name as cards and passports have it: KENICHI MATSUMOTO."""
    if len(parts) != 2 or any(part.low in names.common for part in parts):
        return False
    if latinwords.HOLDER.search(before):
        return True
    return any(one.low in names.given and other.low in names.family for one, other in (parts, parts[::-1]))


def _is_shouted(part: _Part) -> bool:
    return len(part.text) > 1 and part.text.isupper()
