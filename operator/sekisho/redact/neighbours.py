"""What stands beside a name and tells that it is one."""

from collections.abc import Sequence

from sekisho.redact import namewords
from sekisho.redact.words import ENDS, NOUNS, Sort, Word, word_at


def is_role(words: Sequence[Word], index: int) -> bool:
    """Tell whether what people are stands before a word: 作家, 研究者, 社長の."""
    index -= word_at(words, index - 1).text == "の"
    before = word_at(words, index - 1)
    text = word_at(words, index - 2).text + before.text if before.sort is Sort.SUFFIX else before.text
    return before.sort in NOUNS and namewords.ROLE.search(text) is not None


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
