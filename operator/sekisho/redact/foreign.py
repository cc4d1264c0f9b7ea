"""Foreign names in katakana: ジョン・F・ケネディ, スミス氏, and words that no dictionary has."""

# ruff: noqa: E501, SIM905 - a Japanese sign counts as two columns; lists of words read best as text

import re
from collections.abc import Sequence
from typing import Final

from sekisho.redact import namewords
from sekisho.redact.deeds import did, does
from sekisho.redact.neighbours import is_role, is_titled
from sekisho.redact.sounds import rate
from sekisho.redact.words import ENDS, LINKS, NAMES, NOUNS, REACH, Lexicon, Sort, Word, is_katakana, word_at

_INITIAL: Final = re.compile(r"[A-Z]\.?")
_QUOTES: Final = frozenset('「『“《"')
_APART: Final = _QUOTES | LINKS
# How families are called in many countries: イブラヒモビッチ, リンドクヴィスト.
_FAMILY: Final = re.compile(
    "(?:[ビヴ]ィ?ッチ|スキー|スカヤ|ツキー|フスキ|ソン|セン|シュタイン|スタイン|[ノコ]フ|ネン|ストローム|ク[ヴイ]ィ?スト"
    "|バウアー|マイヤー|ベルガー|ハイム|シビリ|チェンコ)$"
)
# What follows things rather than people: ドバイで, レゴランドなど, and the end of a sentence.
_OF_THINGS: Final = frozenset(["で", "にて", "など", "まで", "より", "だっ", "さ", "。", "」"])
# Behind what is said of things alone, or shown.
_OF_SIGNS: Final = frozenset("です でし な し だ た れ でき また ! ? & ) ] > / ~ + : ; , … ★ ☆ ♪ 】 〉".split())
_ACTS: Final = frozenset("はが")
_TOPICS: Final = frozenset("はがも")
_BESIDE: Final = frozenset("の に を から へ".split())
# How long a word is that nobody knows and may be a name; longer ones are made of others.
_LONGEST: Final = 7
# How an unknown word has to sound at least, in logarithms of odds: where it acts (は), beside what is done (を), elsewhere.
_AS_ACTOR: Final = -4.0
_AS_OTHER: Final = -1.5
_AT_LEAST: Final = -2.0
# How it sounds where nothing else is asked for; and where things are told of.
_LIKE_NAMES: Final = -0.5
_LIKE_NOTHING_ELSE: Final = 1.5


def begins_foreign(words: Sequence[Word], index: int) -> bool:
    """Tell whether a word of katakana stands there, or an initial before a dot and another part."""
    if is_katakana(words[index]):
        return True
    linked = word_at(words, index + 1).text in LINKS
    return linked and _is_initial(words[index]) and _is_part(word_at(words, index + 2))


def find_foreign(words: Sequence[Word], index: int, lexicon: Lexicon) -> tuple[int, int] | None:
    """Return the name that begins at a word of which `begins_foreign` holds; None where it is something else."""
    parts, end = _read_parts(words, index)
    if not any(is_katakana(part) for part in parts):
        return None
    if word_at(words, end).sort is Sort.NUMBER and word_at(words, end + 1).text == "世":
        return index, end + 2
    if word_at(words, index - 1).text in namewords.CLUBS:
        return None
    if any(word.text in LINKS for word in words[index:end]):
        return (index, end) if _is_told(words, index, end, parts) or _is_chain(parts, lexicon) else None
    if word_at(words, index - 1).text in LINKS and _is_part(word_at(words, index - 2)):
        return None
    if any(part.sort in NAMES for part in parts):
        if any(part.sort not in NAMES for part in parts) or _is_of_thing(words, index, end):
            return None
        while word_at(words, end).sort in NAMES:
            end += 1
        return index, end
    return (index, end) if _is_single(words, index, end, lexicon) else None


def _read_parts(words: Sequence[Word], index: int) -> tuple[list[Word], int]:
    parts: list[Word] = []
    end = index
    while len(parts) < REACH and _is_part(word_at(words, end)):
        parts.append(words[end])
        end += 1
        if word_at(words, end).text in LINKS and _is_part(word_at(words, end + 1)):
            end += 1
    return parts, end


def _is_part(word: Word) -> bool:
    return is_katakana(word) or _is_initial(word)


def _is_initial(word: Word) -> bool:
    return _INITIAL.fullmatch(word.text) is not None


def _is_told(words: Sequence[Word], index: int, end: int, parts: Sequence[Word]) -> bool:
    """Tell whether what somebody is touches a name of several parts: 哲学者セーレン・キェルケゴール, デ・ガスペリ首相."""
    role = word_at(words, index - 1).sort in NOUNS and is_role(words, index)
    if not role and word_at(words, end).text not in namewords.FIRM_TITLES:
        return False
    return not any(part.text in namewords.THINGS or part.text in namewords.LINKING for part in parts)


def _is_chain(parts: Sequence[Word], lexicon: Lexicon) -> bool:
    first, last = parts[0], parts[-1]
    named = first.sort in NAMES
    if _is_initial(first):
        return not any(part.text in namewords.THINGS for part in parts)
    begin = first.text in namewords.GIVEN_THINGS
    if any(_is_thing(part, lexicon, named=named or begin, last=part is last) for part in parts[begin:]):
        return False
    # Teams: ブルドッグス, レイブンズ.
    if last.text.endswith("ズ") and last.sort not in NAMES and (last.known or not named):
        return False
    if first.sort is Sort.PLACE and not lexicon.is_name(first.text):
        return False
    if any(part.sort in NAMES for part in parts):
        return True
    if any(part.sort is Sort.PLACE and not (part is last and lexicon.is_name(part.text)) for part in parts):
        return False
    unknown = [part.text for part in parts if not part.known]
    sounding = [rate(text) for text in unknown if not text.isascii()]
    return bool(unknown) and (not sounding or max(sounding) >= _AT_LEAST)


def _is_thing(part: Word, lexicon: Lexicon, *, named: bool, last: bool) -> bool:
    if part.text in namewords.LINKING or part.sort is Sort.COUNTRY:
        return True
    if part.sort in NAMES and not last:
        return False
    if part.text in namewords.THINGS:
        return not (named and last and part.text in namewords.NAMED_THINGS)
    return part.sort is Sort.PROPER and not (named and last) and not lexicon.is_name(part.text)


def _is_of_thing(words: Sequence[Word], index: int, end: int) -> bool:
    """Tell whether what touches a name makes a firm's, a dynasty's or a language's of it: エアーアラン, ティムール朝."""
    before, behind = word_at(words, index - 1), word_at(words, end).text
    if behind in namewords.TITLES or is_titled(words, end):
        return False
    if before.text == "『" and behind == "』":
        return True
    if before.sort in NOUNS and is_katakana(before) and before.text not in namewords.FOREIGN_TITLES:
        return not is_role(words, index)
    return behind in namewords.OF_THINGS


def _is_single(words: Sequence[Word], index: int, end: int, lexicon: Lexicon) -> bool:
    word = words[index]
    may_be = any(not part.known or lexicon.is_name(part.text) for part in words[index:end])
    if _is_called(words, index, end, may_be=may_be):
        return True
    behind = word_at(words, end)
    if behind.sort not in ENDS or end > index + 1 or not may_be or len(word.text) < 3:
        return False
    if is_role(words, index) and (word.sort is not Sort.PLACE or behind.text in _TOPICS):
        return True
    if not _is_free(words, index) or word_at(words, index - 1).text == behind.text == "":
        return False
    if word.known:
        return behind.text in _TOPICS and _is_known_name(words, index)
    return _is_unknown_name(word.text, behind.text, lexicon)


def _is_known_name(words: Sequence[Word], index: int) -> bool:
    """Tell whether a place's, a firm's or a common word is the name of who acts: 謝罪したフォードは, チャーチルは…と述べ."""
    sort = words[index].sort
    if sort is Sort.NOUN:
        return did(words, index)
    return sort in {Sort.PLACE, Sort.PROPER} and (did(words, index) or does(words, index + 2))


def _is_free(words: Sequence[Word], index: int) -> bool:
    """Tell whether nothing before a word belongs to it; a day or a year may stand there."""
    before = word_at(words, index - 1)
    return (before.sort not in NOUNS or before.text in namewords.LATER) and before.text not in _APART


def _is_called(words: Sequence[Word], index: int, end: int, *, may_be: bool) -> bool:
    """Tell whether what stands behind or before makes a person of words that may be a name, or of any."""
    behind = word_at(words, end)
    if behind.text in namewords.RULERS and words[index].sort is Sort.PLACE:
        return False
    if behind.text in namewords.HONORIFICS:
        return words[index].text not in namewords.NOBODIES
    # 酋長ソラノ, not 社長のソニー.
    if not may_be:
        alone = end == index + 1 and words[index].sort is Sort.PROPER and word_at(words, index - 1).text != "の"
        return alone and behind.sort in ENDS and is_role(words, index)
    if behind.text == "家" and behind.sort is Sort.SUFFIX:
        return True
    return is_titled(words, end) and not _is_kind(words, index, end)


def _is_unknown_name(text: str, behind: str, lexicon: Lexicon) -> bool:
    """Tell whether a word that no dictionary has looks and sounds like a name, or stands where people do."""
    sound = rate(text)
    if behind in _OF_SIGNS:
        return sound > _LIKE_NOTHING_ELSE
    if sound < (_AS_ACTOR if behind in _ACTS else _AS_OTHER if behind in _BESIDE else _AT_LEAST):
        return False
    if sound > _LIKE_NAMES and behind not in _OF_THINGS:
        return True
    return _FAMILY.search(text) is not None or (behind not in _OF_THINGS and not _is_compound(text, lexicon))


def _is_kind(words: Sequence[Word], index: int, end: int) -> bool:
    """Tell whether common words say of what kind somebody is: サッカー選手, サービス部長, ハリウッド女優."""
    common = all(part.known and part.sort in {Sort.NOUN, Sort.PLACE} for part in words[index:end])
    return common and (words[index].sort is Sort.NOUN or words[end].text in namewords.KINDS)


def _is_compound(text: str, lexicon: Lexicon) -> bool:
    if len(text) > _LONGEST:
        return True
    tails = (text[cut:] for cut in range(1, len(text) - 3))
    heads = (text[:cut] for cut in range(4, len(text)))
    return any(map(lexicon.is_noun, tails)) or any(map(lexicon.is_noun, heads))
