"""Places in Japanese text: what the dictionary knows as one, with what says of which kind it is."""

# ruff: noqa: E501, SIM905 - a Japanese sign counts as two columns; lists of words read best as text

from collections.abc import Iterator, Sequence
from typing import Final

from sekisho.redact import namewords
from sekisho.redact.words import LINKS, NAMES, NOUNS, REACH, Sort, Word, is_kanji, is_katakana, word_at

_KINDS: Final = frozenset(
    """都 道 府 県 市 区 町 村 郡 州 省 島 川 山 駅 湾 湖 岬 半島 地方 地区 山脈 海峡 諸島 平野 盆地 港 空港 海岸 通り 街 高原 渓谷 砂漠 環礁 大陸 王国 帝国 共和国 連邦""".split()
)
_TOWNS: Final = frozenset("県 市 区 町 村 郡".split())
_NUMBERED: Final = frozenset("丁目 番地 区 条".split())
# Before a place, and part of its name: 東ドイツ, 南関東.
_SIDES: Final = frozenset("東 西 南 北".split())
_PLACES: Final = frozenset({Sort.PLACE, Sort.COUNTRY})
# Behind the name of a country, a town or a region: where in it, or who and what comes from there. The whole is no other thing's name.
_BEHIND: Final = frozenset(
    """内 外 国内 市内 県内 都内 府内 道内 区内 町内 村内 州内 域内 国外 市外 県外 側 各地 全土 全域 全国 全県 全市 各国 諸国 周辺 近郊 近辺 付近 近海 沿岸 沿海 郊外 方面 地域 地方
    一帯 一円 中心 中心部 中央部 中部 北部 南部 東部 西部 北東部 北西部 南東部 南西部 北東 北西 南東 南西 北端 南端 東端 西端 北岸 南岸 東岸 西岸 上空 現地 本土 本島 市街 市街地 出身
    在住 在学 在勤 生まれ 育ち 人 系 籍 産 製 発 着 行 行き 経由 向け 旅行 訪問 滞在 駐在 赴任 出張 移住 転勤 転居 移転 留学 帰国 入国 出国 観光 遠征 上陸 到着 出発 開催 所在 本拠 在
    初 最大 最古 最高 最初 唯一 有数 随一 屈指 原産 原住民 住民 市民 国民 県民 都民 道民 府民 区民 町民 村民 社会 政府 当局 法人 同様 以外 移民 市場 公開 制作 製作 自体 以北 以南 以東 以西 全体""".split()
)
# Between two names of one thing.
_JOINTS: Final = LINKS | {"-", "&"}


def find_places(words: Sequence[Word]) -> Iterator[tuple[int, int]]:
    """Yield places, neighbouring ones as one; not those that are part of a firm's, a school's or an event's name."""
    index = 0
    while index < len(words):
        last = _find_end(words, index)
        if last > index and not _is_part_of_other(words, index, last):
            first = index - (word_at(words, index - 1).text in _SIDES)
            yield words[first].start, words[last - 1].end
        index = max(last, index + 1)


def _find_end(words: Sequence[Word], index: int) -> int:
    """Return where the place ends that begins with a word; `index` where none does."""
    last = index + 2 * _is_named_place(words, index)
    while word_at(words, last).sort in _PLACES or (last > index and word_at(words, last).text in _KINDS):
        last += 1
    if last > index and word_at(words, last).sort is Sort.NUMBER and word_at(words, last + 1).text in _NUMBERED:
        last += 2
    return last


def _is_named_place(words: Sequence[Word], index: int) -> bool:
    """Tell whether a word that is no place to the dictionary is made one by what follows it: カラヒー山, 小川町."""
    word, kind = words[index], word_at(words, index + 1).text
    if word.sort in NAMES and is_kanji(word):
        return kind in _TOWNS
    return is_katakana(word) and word.sort in NOUNS and word.sort not in _PLACES and kind in _KINDS


def _is_part_of_other(words: Sequence[Word], first: int, last: int) -> bool:
    end = last
    while end - last < REACH and word_at(words, end).sort in NOUNS:
        end += 1
    before, behind = word_at(words, first - 1), word_at(words, last)
    if before.text in namewords.FIRMS or any(word.text.endswith(namewords.HEADS) for word in words[last:end]):
        return True
    return _is_joined(words, first, last) or _is_named_behind(behind) or _is_named_before(before)


def _is_named_behind(behind: Word) -> bool:
    """Tell whether the word behind a place makes an event, a team, an institution or a work of both: 札幌オリンピック."""
    if behind.sort in {Sort.OTHER, Sort.PREFIX}:
        return is_kanji(behind)
    if behind.sort is Sort.SUFFIX or behind.text in _BEHIND or behind.sort in NAMES:
        return False
    return behind.sort in NOUNS


def _is_named_before(before: Word) -> bool:
    """Tell whether the word before a place is the beginning of a name that ends with it: FCバルセロナ."""
    return before.sort in {Sort.NOUN, Sort.PROPER} and (before.text.isascii() or is_katakana(before))


def _is_joined(words: Sequence[Word], first: int, last: int) -> bool:
    """Tell whether a dot joins a place to what is none: シカゴ・ブルズ."""
    for joint, other in ((first - 1, first - 2), (last, last + 1)):
        word = word_at(words, other)
        if (
            word_at(words, joint).text in _JOINTS
            and word.sort not in _PLACES
            and (is_katakana(word) or (word.text.isalpha() and word.text.isascii()))
        ):
            return True
    return False
