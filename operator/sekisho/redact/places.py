"""Places in Japanese text: what the dictionary knows as one, with what says of which kind it is."""

# ruff: noqa: E501, SIM905 - a Japanese sign counts as two columns; lists of words read best as text

from collections.abc import Iterator, Sequence
from typing import Final

from sekisho.redact import namewords
from sekisho.redact.words import NOUNS, REACH, Sort, Word, word_at

_KINDS: Final = frozenset(
    """都 道 府 県 市 区 町 村 郡 州 省 島 川 山 駅 湾 湖 岬 半島 地方 地区 山脈 海峡 諸島 平野 盆地 港 空港 海岸 通り""".split()
)
_PLACES: Final = frozenset({Sort.PLACE, Sort.COUNTRY})


def find_places(words: Sequence[Word]) -> Iterator[tuple[int, int]]:
    """Yield places, neighbouring ones as one; not those that are part of a firm's, a school's or an event's name."""
    index = 0
    while index < len(words):
        last = index
        while word_at(words, last).sort in _PLACES or (last > index and word_at(words, last).text in _KINDS):
            last += 1
        if last > index and not _is_part_of_other(words, index, last):
            yield words[index].start, words[last - 1].end
        index = max(last, index + 1)


def _is_part_of_other(words: Sequence[Word], first: int, last: int) -> bool:
    end = last
    while end - last < REACH and word_at(words, end).sort in NOUNS:
        end += 1
    firm = word_at(words, first - 1).text in namewords.FIRMS
    return firm or any(word.text.endswith(namewords.HEADS) for word in words[last:end])
