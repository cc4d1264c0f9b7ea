"""People and places by a dictionary of words: what a `Detector` asks for names."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Final

from sekisho.redact import namewords
from sekisho.redact.announced import find_announced
from sekisho.redact.categories import Category
from sekisho.redact.labelled import find_labelled
from sekisho.redact.latin import LatinNames, find_latin
from sekisho.redact.people import find_people
from sekisho.redact.places import find_places
from sekisho.redact.spans import Span
from sekisho.redact.tables import tell_cells
from sekisho.redact.words import Lexicon

# How a name is read, in brackets behind it.
_READING: Final = re.compile(r" ?\(([ぁ-んァ-ヺー]{2,12}(?:[ ・][ぁ-んァ-ヺー]{1,12})?)\)")
_CLAUSE: Final = 24
_CLAUSE_BEGINS: Final = re.compile(r".*[。\n]", re.DOTALL)
_CLAUSE_ENDS: Final = re.compile(r"[。\n]")
_JAPANESE: Final = re.compile(r"[ぁ-ヿ一-鿿々〆㐀-䶿豈-﫿]")


@dataclass(frozen=True, slots=True)
class NameTagger:
    """Find names of people and places.

    Attributes:
        japanese: The dictionary that cuts Japanese text into words.
        latin: Lists of names in Latin letters.
    """

    japanese: Lexicon
    latin: LatinNames

    def tag(self, text: str) -> Iterator[Span]:
        """Yield people and places in folded text; they may overlap."""
        columns = (place for place in _find_in_columns(text) if self._may_be_name(text[slice(*place)]))
        for start, end in chain(find_labelled(text), find_latin(text, self.latin), columns):
            yield Span(start, end, Category.PERSON)
        if _JAPANESE.search(text) is None:
            return
        for start, end in _find_variants(text):
            # 﨑山 and 德永, which the dictionary has as 崎山 and 徳永; what it has in neither form stays odd in this.
            respelt = text[start:end].translate(namewords.VARIANTS)
            for first, last in find_people(self.japanese.split(respelt), self.japanese):
                yield Span(start + first, start + last, Category.PERSON)
        words = self.japanese.split(text)
        announced = find_announced(text, self._may_be_name, self.japanese.is_name)
        people = sorted({*announced, *find_people(words, self.japanese)})
        for start, end in people:
            yield Span(start, end, Category.PERSON)
            reading = _READING.match(text, end)
            if reading:
                yield Span(*reading.span(1), Category.PERSON)
        taken = {index for start, end in people for index in range(start, end)}
        for start, end in find_places(words):
            if start not in taken:
                yield Span(start, end, Category.PLACE)

    def _may_be_name(self, value: str) -> bool:
        whole = value.replace(" ", "").replace("・", "")
        return " " in value or self.japanese.is_name(whole) or not self.japanese.is_noun(whole)


def _find_variants(text: str) -> Iterator[tuple[int, int]]:
    """Yield what stands around signs of which dictionaries have another form, a clause at most, without overlaps."""
    done = 0
    for sign in namewords.VARIANT.finditer(text):
        at = sign.start()
        if at < done:
            continue
        before = _CLAUSE_BEGINS.search(text, max(done, at - _CLAUSE), at)
        behind = _CLAUSE_ENDS.search(text, at, at + _CLAUSE)
        begin = before.end() if before else max(done, at - _CLAUSE)
        done = behind.start() if behind else min(len(text), at + _CLAUSE)
        yield begin, done


def _find_in_columns(text: str) -> Iterator[tuple[int, int]]:
    """Yield names that stand in a column of names."""
    told = tell_cells(text, text.encode("utf-8", "replace"), people=True) if "\n" in text else None
    if told is not None:
        yield from filter(None, (told.find(start, end) for start, end in find_labelled(told.text)))
