"""Words of Japanese text as a dictionary cuts them, and the dictionary that whoever runs this has to bring."""

import re
from collections.abc import Sequence
from enum import IntEnum, auto
from typing import Final, NamedTuple, Protocol


class Sort(IntEnum):
    """What a word is; a number, since sets of them are asked for every word."""

    SURNAME = auto()
    GIVEN = auto()
    NAME = auto()  # a person's, of either kind or none
    PLACE = auto()
    COUNTRY = auto()
    PROPER = auto()
    NOUN = auto()
    SUFFIX = auto()
    PREFIX = auto()
    NUMBER = auto()
    SIGN = auto()
    SPACE = auto()
    OTHER = auto()


NAMES: Final = frozenset({Sort.SURNAME, Sort.GIVEN, Sort.NAME})
NOUNS: Final = NAMES | {Sort.PLACE, Sort.COUNTRY, Sort.PROPER, Sort.NOUN, Sort.SUFFIX, Sort.NUMBER}
ENDS: Final = frozenset({Sort.SIGN, Sort.SPACE, Sort.OTHER})
# Between the parts of foreign names.
LINKS: Final = frozenset("・=゠･·")
_KANJI: Final = re.compile(r"[一-鿿々〆ヶ㐀-䶿豈-﫿]+")
_KATAKANA: Final = re.compile(r"[ァ-ヺー]+")


class Word(NamedTuple):
    """One word of a text; a tuple, since every word of a text becomes one.

    Attributes:
        start: Where it begins in the text.
        end: Where it ends, exclusive.
        text: How it is written; secret where the text is.
        sort: What it is.
        known: Whether the dictionary has it; otherwise its sort is a guess.
    """

    start: int
    end: int
    text: str
    sort: Sort
    known: bool = True


# How many words are looked at in one direction; so work stays linear in the text.
REACH: Final = 8
NOTHING: Final = Word(0, 0, "", Sort.SIGN)


class Lexicon(Protocol):
    """A dictionary of Japanese; the same in all threads."""

    def split(self, text: str) -> Sequence[Word]:
        """Cut a text of any length into words, without gaps, in time linear in it."""
        ...

    def is_name(self, text: str) -> bool:
        """Tell whether a word can be a person's name, whatever it is where it stands."""
        ...

    def is_surname(self, text: str) -> bool:
        """Tell whether a word can be the name of a family, whatever it is where it stands."""
        ...

    def is_noun(self, text: str) -> bool:
        """Tell whether a word can be a common noun."""
        ...


def word_at(words: Sequence[Word], index: int) -> Word:
    """Return a word, or an empty sign before the first and behind the last."""
    return words[index] if 0 <= index < len(words) else NOTHING


def is_kanji(word: Word) -> bool:
    """Tell whether a word is written in ideographs alone."""
    return _KANJI.fullmatch(word.text) is not None


def is_katakana(word: Word) -> bool:
    """Tell whether a word is written in katakana alone."""
    return "ァ" <= word.text[:1] <= "ー" and word.sort is not Sort.SIGN and _KATAKANA.fullmatch(word.text) is not None
