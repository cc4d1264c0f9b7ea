"""People in Japanese text: names that the dictionary knows, and those that their neighbours give away."""

# ruff: noqa: SIM905 - a Japanese sign counts as two columns; lists of words read best as text

import re
from collections.abc import Iterator, Sequence
from typing import Final

from sekisho.redact import namewords
from sekisho.redact.deeds import did, does
from sekisho.redact.foreign import begins_foreign, find_foreign
from sekisho.redact.neighbours import ends, is_close, is_joined, is_listed, is_role, is_titled
from sekisho.redact.spaced import find_spaced
from sekisho.redact.words import ENDS, LINKS, NAMES, NOUNS, REACH, Lexicon, Sort, Word, is_kanji, word_at

_MAX_GIVEN: Final = 3
_GIVEN_SORTS: Final = NOUNS - {Sort.PLACE, Sort.COUNTRY, Sort.PROPER} | {Sort.PREFIX, Sort.OTHER}
_COMMON_SORTS: Final = frozenset({Sort.NOUN, Sort.NUMBER, Sort.PREFIX, Sort.PROPER})
_CALLED: Final = frozenset({"さん", "ちゃん", "くん"})
# 四十万氏: a place that nobody is named after, says the dictionary.
_CALLED_FORMALLY: Final = frozenset({"さん", "氏", "様", "先生", "君"})
_KANA_NAME: Final = re.compile("[ぁ-ゖ]{2,4}")
_MAX_PARTS: Final = 3
# 係 and 長, which the dictionary cuts.
_OFFICES: Final = frozenset("部課係店所院校園室班")
_HONOURS: Final = namewords.HONORIFICS | namewords.AT_WORK | _OFFICES
# Behind 編集長の松本, not behind 社長の大阪: で, へ, の.
_TOLD: Final = namewords.ACTING | {"に", "から", "、"}
_ACTS: Final = frozenset("はが")
_TOPICS: Final = frozenset("はがも")
_OPENINGS: Final = frozenset(["", "。", "「", "\n"])
_NOT_SPOKEN_TO: Final = frozenset({Sort.PLACE, Sort.COUNTRY, Sort.PROPER})
_AROUND: Final = frozenset("はがをにとのも、")
_LONE_SORTS: Final = frozenset({Sort.PLACE, Sort.NOUN, Sort.PROPER})
_MADE_SORTS: Final = NOUNS - NAMES - {Sort.NUMBER} | {Sort.PREFIX, Sort.OTHER}
_LONGEST_MADE: Final = 4
_BEFORE_MADE: Final = NOUNS | {Sort.PREFIX}
_PLACES_AND_OFFICES: Final = frozenset({Sort.PLACE, Sort.NOUN})
_MENS_ENDS: Final = frozenset("郎助")
_HOUSES: Final = frozenset("寺屋")
_SHORTEST_HOUSE: Final = 3
_PIECE_SORTS: Final = NOUNS - NAMES | {Sort.PREFIX}
_ONE_ACTS: Final = frozenset("はがもと")
# Emperors, and whom they gave which ranks.
_REIGNING: Final = frozenset("天皇 上皇 法皇 帝 王".split())
_RANKS: Final = frozenset("守 介 少輔 大輔 允".split())
# The ends of である, だった and 主人公・.
_SAID: Final = frozenset({"ある", "た", "・"})
# Behind the whole name of somebody; and with what names of shops and offices end that are called so as well.
_CALLED_WHOLE: Final = frozenset({"さん", "様", "氏", "君", "くん", "ちゃん", "選手", "容疑者", "被告"})
_DOORS: Final = frozenset("店庁署部課局室係所屋民")
_FORMED: Final = namewords.GIVEN_ENDS | frozenset("一二三")
_TAIL_SORTS: Final = frozenset({Sort.NOUN, Sort.SUFFIX, Sort.NUMBER})
_SURNAME_SORTS: Final = frozenset({Sort.NOUN, Sort.PLACE, Sort.COUNTRY, Sort.SUFFIX})


def find_people(words: Sequence[Word], lexicon: Lexicon) -> Iterator[tuple[int, int]]:
    """Yield where people stand in a text of these words, in its order, without overlaps."""
    index = 0
    texts = {word.text for word in words}
    spaces, cut = " " in texts, not _MENS_ENDS.isdisjoint(texts)
    while index < len(words):
        end = (find_spaced(words, index, lexicon) if spaces else None) or (_find_made(words, index) if cut else None)
        place = (index, end) if end else _find_at(words, index, lexicon)
        if place is None:
            index += 1
            continue
        first, last = place
        if not _is_part_of_other(words, first, last):
            yield words[first].start, words[last - 1].end
        index = max(index, last - 1) + 1


def _find_at(words: Sequence[Word], index: int, lexicon: Lexicon) -> tuple[int, int] | None:
    word = words[index]
    if begins_foreign(words, index):
        return find_foreign(words, index, lexicon)
    if word.sort in ENDS or word.text.isascii():
        return None
    if word.sort in NAMES:
        return _find_surname(words, index, lexicon), _find_end(words, index, lexicon)
    if word.sort is Sort.NOUN and _is_called_in_kana(words, index, lexicon):
        return index, index + 1
    honoured = _find_honoured(words, index, lexicon) if word.sort in _COMMON_SORTS else None
    if honoured is not None:
        return index, honoured
    if word.sort in _LONE_SORTS and is_kanji(word):
        end = _find_by_neighbours(words, index, lexicon) or _find_of_rank(words, index, lexicon)
        return (index, end) if end else None
    return None


def _is_called_in_kana(words: Sequence[Word], index: int, lexicon: Lexicon) -> bool:
    """Tell whether a name in hiragana that is a common word as well stands behind whose it is: 姉のゆりは."""
    text = words[index].text
    if _KANA_NAME.fullmatch(text) is None or text in namewords.NO_GIVEN or not is_close(words, index):
        return False
    return ends(words, index + 1) and lexicon.is_name(text)


def _find_honoured(words: Sequence[Word], index: int, lexicon: Lexicon) -> int | None:
    """Return where a name ends that is a common word or some, and has an honorific or a title behind: 九条教授."""
    for last in range(index + 1, index + 1 + _MAX_PARTS):
        behind = word_at(words, last)
        if behind.text in _HONOURS:
            return last if _is_honoured(words, index, last, lexicon) else None
        if behind.sort in ENDS:
            return None
    return None


def _is_honoured(words: Sequence[Word], index: int, last: int, lexicon: Lexicon) -> bool:
    title = words[last].text
    text = "".join(word.text for word in words[index:last])
    if last == index + 1 and title in namewords.FAMILIAR and lexicon.is_name(text):
        return True
    # 娘のあかりさん: what nobody has in a dictionary of names.
    if title in _CALLED and _KANA_NAME.fullmatch(text) and is_close(words, index):
        return True
    if text in namewords.NOBODIES or not all(map(is_kanji, words[index:last])):
        return False
    office = title in _OFFICES
    if office and word_at(words, last + 1).text != "長":
        return False
    if title not in namewords.HONORIFICS and _is_which(text, title):
        return False
    return word_at(words, index - 1).sort not in NOUNS and lexicon.is_name(text)


def _is_which(text: str, title: str) -> bool:
    """Tell whether what stands before a title says which one it is, rather than who: 前社長, 町会長, 西館長."""
    return text in namewords.NO_TITLED or (text in namewords.SIDES and title[0] in namewords.HOUSES)


def _find_by_neighbours(words: Sequence[Word], index: int, lexicon: Lexicon) -> int | None:
    """Return where a name ends that begins with a word which is none by itself."""
    word, following = words[index], word_at(words, index + 1)
    may_be = not word.known or lexicon.is_name(word.text)
    if word.sort is Sort.PLACE and following.text in _CALLED_FORMALLY and len(word.text) > 1:
        return index + 1
    if not may_be or (word.text in namewords.NOBODIES and following.text in namewords.HONORIFICS):
        return None
    sure = word.sort is Sort.PLACE or not word.known
    if is_titled(words, index + 1) and (sure or following.text in namewords.HONORIFICS):
        return index + 1
    before = word_at(words, index - 1)
    alone = before.sort not in NOUNS or before.text in namewords.TIMES
    role = is_role(words, index)
    end = _find_given(words, index + 1, lexicon)
    if end == index + 1 and sure:
        end = _find_given_in_kana(words, end, lexicon, role=role)
    if end > index + 1 and (alone or role) and (sure or word.text in namewords.ONE_SIGN):
        return end
    if role and ends(words, index + 1) and _is_said_behind_role(words, index, lexicon, sure=sure):
        return index + 1
    if len(word.text) < 4 and is_listed(words, index):
        return index + 1
    return index + 1 if _is_lone_name(words, index, lexicon, alone=alone) else None


def _is_lone_name(words: Sequence[Word], index: int, lexicon: Lexicon, *, alone: bool) -> bool:
    """Tell whether a word is a name by what it does: 孝宗は, 鹿島が."""
    word, before, behind = words[index], word_at(words, index - 1), word_at(words, index + 1).text
    # A proper name that is a person's as well, and no common word.
    if word.sort is Sort.PROPER and behind in _ACTS and len(word.text) > 1:
        return (alone or before.text in namewords.LATER) and not lexicon.is_noun(word.text)
    if len(word.text) != 2 or not alone:
        return False
    if _is_family(words, index, lexicon):
        return True
    # 川崎、来週は: spoken to, unless more places follow.
    if behind == "、" and before.text in _OPENINGS:
        return word.sort is Sort.PLACE and word_at(words, index + 2).sort not in _NOT_SPOKEN_TO
    return word.sort is Sort.PLACE and behind in namewords.ACTING and before.text not in LINKS


def _is_family(words: Sequence[Word], index: int, lexicon: Lexicon) -> bool:
    """Tell whether a surname that is another word as well is a person's: joined to one's, or of who does something."""
    word = words[index]
    acts = word.sort is Sort.NOUN and word_at(words, index + 1).text in _TOPICS
    told = is_joined(words, index) or (acts and (does(words, index + 2) or did(words, index)))
    if not told or word.sort is Sort.PROPER or word.text in namewords.ANYBODY or namewords.ROLE.search(word.text):
        return False
    return lexicon.is_surname(word.text)


def _find_of_rank(words: Sequence[Word], index: int, lexicon: Lexicon) -> int | None:
    """Return where a name ends that a court's rank follows: 昭和天皇, 池田讃岐守."""
    word, following = words[index], word_at(words, index + 1)
    if following.text in _REIGNING and len(word.text) == 2:
        before = word_at(words, index - 1)
        free = before.sort not in NOUNS or before.text in namewords.LATER
        return index + 1 if free and lexicon.is_name(word.text) and not lexicon.is_noun(word.text) else None
    ranked = following.sort in _PLACES_AND_OFFICES and word_at(words, index + 2).text in _RANKS
    return index + 1 if ranked and lexicon.is_surname(word.text) else None


def _find_made(words: Sequence[Word], index: int) -> int | None:
    """Return where a name ends that the dictionary cuts and that only men have: 豪助, 株之助, 勢地郎."""
    last = index + 1
    while last < index + _MAX_PARTS and word_at(words, last).text not in _MENS_ENDS:
        last += 1
    last += 1
    if word_at(words, last - 1).text not in _MENS_ENDS or word_at(words, last).text not in _AROUND:
        return None
    before, parts = word_at(words, index - 1), words[index:last]
    free = before.sort not in _BEFORE_MADE or before.text in namewords.LATER
    short = sum(len(part.text) for part in parts) <= _LONGEST_MADE
    return last if free and short and all(part.sort in _MADE_SORTS and is_kanji(part) for part in parts) else None


def _is_said_behind_role(words: Sequence[Word], index: int, lexicon: Lexicon, *, sure: bool) -> bool:
    """Tell whether a word is who that is what stands before it: 女優甲田は, 編集長の松本に, 隊長である山形が."""
    before, following = word_at(words, index - 1).text, word_at(words, index + 1).text
    if before == "の":
        text = words[index].text
        family = sure or (lexicon.is_surname(text) and text not in namewords.HAD)
        return not words[index].known or (family and following in _TOLD)
    return sure or before in _SAID


def _find_surname(words: Sequence[Word], index: int, lexicon: Lexicon) -> int:
    """Return where the surname begins that stands before a given name and is no name to the dictionary."""
    first, total = index, 0
    if words[index].sort is not Sort.GIVEN:
        return index
    while word_at(words, first - 1).sort in _SURNAME_SORTS and is_kanji(words[first - 1]):
        total += len(words[first - 1].text)
        if total > _MAX_GIVEN:
            break
        first -= 1
    text = "".join(word.text for word in words[first:index])
    odd = text in namewords.TITLES or namewords.ROLE.search(text) is not None
    if first == index or odd or (word_at(words, first - 1).sort in NOUNS and not is_role(words, first)):
        return index
    unknown = any(not word.known for word in words[first:index])
    alone = index - first == 1
    town = alone and words[first].sort is Sort.PLACE
    # 車吉章: a surname that is a common word as well, and nothing that people are to each other.
    short = alone and len(text) == 1 and text not in namewords.NO_SURNAME and ends(words, index + 1)
    return first if unknown or town or short or lexicon.is_name(text) or (len(text) == 2 == index - first) else index


def _find_given(words: Sequence[Word], index: int, lexicon: Lexicon) -> int:
    """Return where the given name ends that begins behind a surname and is no name to the dictionary; or `index`."""
    last = index
    while last - index < _MAX_GIVEN and word_at(words, last).sort in _GIVEN_SORTS and is_kanji(words[last]):
        if words[last].text in namewords.TITLES:
            break
        last += 1
    given = words[index:last]
    text = "".join(word.text for word in given)
    if not 0 < len(text) <= _MAX_GIVEN or not ends(words, last) or text.endswith(namewords.HEADS):
        return index
    if words[index - 1].sort is Sort.PLACE and text in namewords.NO_ENDS:
        return index
    unknown = any(not word.known and word.sort is not Sort.NUMBER for word in given)
    formed = len(text) > 1 and text[-1] in _FORMED and given[0].text != "第"
    called = word_at(words, last).text in _CALLED_WHOLE and text[-1] not in _DOORS
    return last if unknown or formed or called or lexicon.is_name(text) or (len(text) == 2 == len(given)) else index


def _find_given_in_kana(words: Sequence[Word], index: int, lexicon: Lexicon, *, role: bool) -> int:
    """Return where the given name in hiragana ends that begins behind what may be a surname; or `index`."""
    text = word_at(words, index).text
    if _KANA_NAME.fullmatch(text) is None or not ends(words, index + 1):
        return index
    sure = role or word_at(words, index + 1).text in _CALLED_WHOLE
    return index + 1 if sure or lexicon.is_name(text) else index


def _find_end(words: Sequence[Word], index: int, lexicon: Lexicon) -> int:
    """Return where the name ends that begins with a word which the dictionary knows as one."""
    last = index
    while word_at(words, last).sort in NAMES:
        last += 1
    if words[last - 1].sort is Sort.SURNAME:
        return _find_given_behind(words, last, lexicon)
    following = word_at(words, last)
    # 西村 正 暘: a given name of which the dictionary has the beginning.
    tail = last - index > 1 and len(following.text) == 1 and is_kanji(following) and ends(words, last + 1)
    tail = tail and following.sort in _TAIL_SORTS and following.text not in namewords.TITLES
    return last + 1 if tail and not following.text.endswith(namewords.HEADS) else last


def _find_given_behind(words: Sequence[Word], last: int, lexicon: Lexicon) -> int:
    gap = word_at(words, last).sort is Sort.SPACE and len(words[last].text) == 1
    following = word_at(words, last + gap)
    if gap and following.sort in NAMES:
        return last + 2
    if following.sort is Sort.NOUN and not is_kanji(following) and lexicon.is_name(following.text):
        return last + gap + 1 if ends(words, last + gap + 1) else last
    end = _find_given(words, last + gap, lexicon)
    if end > last + gap:
        return end
    # 竹内煌, 森田ひなた: a common word, where nothing but the end of a name may stand.
    odd = following.text in namewords.GIVEN or (following.sort is Sort.NOUN and _KANA_NAME.fullmatch(following.text))
    return last + 1 if odd and not gap and ends(words, last + 1) else last


def _is_part_of_other(words: Sequence[Word], first: int, last: int) -> bool:
    """Tell whether a name is part of a firm's, a place's or a thing's."""
    following = word_at(words, last)
    if word_at(words, first - 1).text in namewords.FIRMS or (following.sort is Sort.NUMBER):
        return True
    word = words[first]
    if last - first == 1:
        return _is_lone_other(words, first) or _is_headed(words, last)
    if word.sort is Sort.SURNAME and words[last - 1].sort is Sort.GIVEN:
        return False
    return _is_headed(words, last)


def _is_lone_other(words: Sequence[Word], index: int) -> bool:
    """Tell whether a single word is no name, though the dictionary has it as one."""
    word, before, following = words[index], word_at(words, index - 1), word_at(words, index + 1)
    if following.text in namewords.TITLES:
        return False
    if len(word.text) == 1 and word.sort in {Sort.GIVEN, Sort.NAME}:
        acts = word.sort is Sort.GIVEN and word.text not in namewords.NO_ONE and following.text in _ONE_ACTS
        return not (acts and before.sort not in NOUNS | {Sort.PREFIX}) and not is_role(words, index)
    if word.text[-1] in _HOUSES and len(word.text) >= _SHORTEST_HOUSE:
        return word.text not in namewords.HOUSE_NAMES and not is_role(words, index)
    # れんあい: what is written in hiragana throughout is cut anywhere.
    return _is_hiragana(word) and any(near.sort in _PIECE_SORTS and _is_hiragana(near) for near in (before, following))


def _is_hiragana(word: Word) -> bool:
    return "ぁ" <= word.text[:1] <= "ゖ"


def _is_headed(words: Sequence[Word], last: int) -> bool:
    """Tell whether what follows a name makes a firm's, a place's or a thing's of it: 田中製薬, 田中町."""
    # 後白河院: a name that an emperor got behind it.
    if words[last - 1].sort is Sort.NAME and word_at(words, last).text == "院":
        return False
    end = last
    while end - last < REACH and word_at(words, end).sort in NOUNS and words[end].text not in namewords.TITLES:
        end += 1
    titled = word_at(words, end).text in namewords.TITLES or words[end - 1].text == "長"
    return not titled and any(word.text.endswith(namewords.HEADS) for word in words[last:end])
