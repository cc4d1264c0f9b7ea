"""What stands beside a name and tells that it is one."""

from collections.abc import Sequence
from typing import Final

from sekisho.redact import namewords
from sekisho.redact.words import ENDS, NAMES, NOUNS, REACH, Sort, Word, is_kanji, word_at

_JOINTS: Final = frozenset("とや・")
_SEPARATORS: Final = frozenset("、・と")
_COUNTERS: Final = frozenset({"人", "名", "氏"})
_AND_OTHERS: Final = frozenset({"ら", "たち", "両氏"})
_TIES: Final = frozenset("の・")
_COPULAS: Final = frozenset({"である", "だった"})


def is_role(words: Sequence[Word], index: int) -> bool:
    """Tell whether what people are stands before a word: 作家, 研究者, 社長の, 仲間・, 隊長である."""
    index = _find_tied(words, index)
    before = word_at(words, index - 1)
    text = word_at(words, index - 2).text + before.text if before.sort is Sort.SUFFIX else before.text
    return before.sort in NOUNS and namewords.ROLE.search(text) is not None


def _find_tied(words: Sequence[Word], index: int) -> int:
    """Return where what is tied to a word ends: behind 社長 in 社長の, 社長・ and 社長である."""
    before = word_at(words, index - 1).text
    if before in _TIES:
        return index - 1
    return index - 2 if word_at(words, index - 2).text + before in _COPULAS else index


def is_close(words: Sequence[Word], index: int) -> bool:
    """Tell whether it is said before a word whose it is: 娘の, 友達の."""
    near = word_at(words, index - 2).text in namewords.CLOSE and word_at(words, index - 1).text == "の"
    return near or is_role(words, index)


def is_titled(words: Sequence[Word], index: int) -> bool:
    """Tell whether a title stands at a place, which makes a person of what is before it."""
    word = word_at(words, index)
    return word.text in namewords.FIRM_TITLES or (word.sort is Sort.NOUN and word_at(words, index + 1).text == "長")


def ends(words: Sequence[Word], index: int) -> bool:
    """Tell whether a name that reaches to a word ends there."""
    word = word_at(words, index)
    return word.sort in ENDS or word.text in namewords.TITLES


def is_listed(words: Sequence[Word], index: int) -> bool:
    """Tell whether a word is one of several names: 島、池田、桝の3人, 安田と大野ら."""
    left = word_at(words, index - 1).text in _SEPARATORS and _is_surname(words, index - 2)
    right = word_at(words, index + 1).text in _SEPARATORS and _is_surname(words, index + 2)
    return (left and right) or ((left or right) and _is_counted(words, index + 1))


def is_joined(words: Sequence[Word], index: int) -> bool:
    """Tell whether a word is joined to somebody's name: 西尾と木村は, 木村や西尾は."""
    if word_at(words, index + 1).text in _JOINTS and _is_surname(words, index + 2):
        return word_at(words, index + 3).sort in ENDS | NAMES
    joined = word_at(words, index - 1).text in _JOINTS and _is_surname(words, index - 2)
    return joined and word_at(words, index + 1).sort in ENDS


def _is_surname(words: Sequence[Word], index: int) -> bool:
    word = word_at(words, index)
    return word.sort in NAMES and is_kanji(word)


def _is_counted(words: Sequence[Word], index: int) -> bool:
    """Tell whether a list of words that goes on at a place is one of people: ら, の3人."""
    last = index
    while last - index < REACH and word_at(words, last).text in _SEPARATORS:
        last += 2
    if word_at(words, last).text == "の" and word_at(words, last + 1).sort is Sort.NUMBER:
        return word_at(words, last + 2).text in _COUNTERS
    return word_at(words, last).text in _AND_OTHERS
