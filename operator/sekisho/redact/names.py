"""People and places by a dictionary of words: what a `Detector` asks for names."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Final

from sekisho.redact.categories import Category
from sekisho.redact.labelled import find_labelled
from sekisho.redact.latin import LatinNames, find_latin
from sekisho.redact.people import find_people
from sekisho.redact.places import find_places
from sekisho.redact.spans import Span
from sekisho.redact.words import Lexicon

# How a name is read, in brackets behind it.
_READING: Final = re.compile(r" ?\(([ぁ-んァ-ヺー]{2,12}(?:[ ・][ぁ-んァ-ヺー]{1,12})?)\)")
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
        for start, end in chain(find_labelled(text), find_latin(text, self.latin)):
            yield Span(start, end, Category.PERSON)
        if _JAPANESE.search(text) is None:
            return
        words = self.japanese.split(text)
        people = list(find_people(words, self.japanese))
        for start, end in people:
            yield Span(start, end, Category.PERSON)
            reading = _READING.match(text, end)
            if reading:
                yield Span(*reading.span(1), Category.PERSON)
        taken = {index for start, end in people for index in range(start, end)}
        for start, end in find_places(words):
            if start not in taken:
                yield Span(start, end, Category.PLACE)
