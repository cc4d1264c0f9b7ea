"""Names of which a space tells where the surname ends: 川崎 隆, 秋山 月, ハヤシ ユイ, さとう たろう."""

import re
from collections.abc import Sequence
from typing import Final

from sekisho.redact import namewords
from sekisho.redact.neighbours import ends
from sekisho.redact.words import ENDS, NAMES, Lexicon, Sort, Word, word_at

_KANJI: Final = re.compile(r"[一-鿿々〆㐀-䶿豈-﫿]{1,4}")
_HIRAGANA: Final = re.compile("[ぁ-ゖー]{2,6}")
_KATAKANA: Final = re.compile("[ァ-ヺー]{2,7}")
_MAX_WORDS: Final = 3
_MAX_GIVEN: Final = 3
_FIRST_SORTS: Final = NAMES | {Sort.PLACE, Sort.PROPER, Sort.NOUN, Sort.NUMBER, Sort.PREFIX}


def find_spaced(words: Sequence[Word], index: int, lexicon: Lexicon) -> int | None:
    """Return where the name ends that begins with a word; None where no surname, one space and a given name stand."""
    if words[index].sort not in _FIRST_SORTS or word_at(words, index - 1).sort not in ENDS:
        return None
    space = _find_space(words, index)
    if space is None:
        return None
    last = _find_last(words, space + 1)
    if last is None:
        return None
    family, given = words[index:space], words[space + 1 : last]
    return last if _is_name(family, given, lexicon) else None


def _find_space(words: Sequence[Word], index: int) -> int | None:
    for at in range(index + 1, index + 1 + _MAX_WORDS):
        word = word_at(words, at)
        if word.sort is Sort.SPACE:
            return at if word.text == " " else None
        if word.sort in ENDS:
            return None
    return None


def _find_last(words: Sequence[Word], first: int) -> int | None:
    """Return where up to three words end behind which nothing belongs to them."""
    for last in range(first + 1, first + 1 + _MAX_WORDS):
        if words[last - 1 : last] == [] or word_at(words, last - 1).sort in {Sort.SIGN, Sort.SPACE}:
            return None
        if ends(words, last):
            return last
    return None


def _is_name(family: Sequence[Word], given: Sequence[Word], lexicon: Lexicon) -> bool:
    surname, name = "".join(word.text for word in family), "".join(word.text for word in given)
    if name in namewords.TITLES or namewords.ROLE.fullmatch(name):
        return False
    if name.endswith(namewords.HEADS) and name not in namewords.GIVEN:
        return False
    sure = family[0].sort in NAMES or lexicon.is_name(surname)
    named = all(word.sort in NAMES for word in given) or lexicon.is_name(name)
    for script in (_HIRAGANA, _KATAKANA):
        if script.fullmatch(surname):
            return sure and script.fullmatch(name) is not None and (named or script is _HIRAGANA)
    if not _KANJI.fullmatch(surname):
        return False
    if _HIRAGANA.fullmatch(name) or _KATAKANA.fullmatch(name):
        return sure and (named or given[0].sort is Sort.NOUN)
    if len(name) > _MAX_GIVEN or not _KANJI.fullmatch(name):
        return False
    may_be = sure or (len(surname) > 1 and len(family) == 1 and family[0].sort in {Sort.PLACE, Sort.PROPER})
    return (may_be and named) or (sure and is_given(name))


def is_given(text: str) -> bool:
    """Tell whether ideographs behind a surname look like a name that parents give, though no dictionary has it."""
    return text in namewords.GIVEN if len(text) == 1 else text[-1] in namewords.GIVEN_ENDS
