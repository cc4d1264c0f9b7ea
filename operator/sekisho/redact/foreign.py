"""Foreign names in katakana: ジョン・F・ケネディ, スミス氏, and words that no dictionary has."""

import re
from collections.abc import Sequence
from typing import Final

from sekisho.redact import namewords
from sekisho.redact.neighbours import is_role, is_titled
from sekisho.redact.words import ENDS, LINKS, NAMES, NOUNS, REACH, Lexicon, Sort, Word, is_katakana, word_at

_INITIAL: Final = re.compile(r"[A-Z]\.?")
_QUOTES: Final = frozenset('「『“《"')
# How families are called in many countries: イブラヒモビッチ, リンドクヴィスト.
_FAMILY: Final = re.compile(
    "(?:[ビヴ]ィ?ッチ|スキー|スカヤ|ツキー|フスキ|ソン|セン|シュタイン|スタイン|[ノコ]フ|ネン|ストローム|ク[ヴイ]ィ?スト"
    "|バウアー|マイヤー|ベルガー|ハイム|シビリ|チェンコ)$"
)
# What follows things rather than people: ドバイで, レゴランドなど, and the end of a sentence.
_OF_THINGS: Final = frozenset(["で", "にて", "など", "まで", "より", "だっ", "さ", "。", "」"])
# How long a word is that nobody knows and may be a name; longer ones are made of others.
_LONGEST: Final = 7


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
    if any(word.text in LINKS for word in words[index:end]):
        return (index, end) if _is_chain(parts, lexicon) else None
    if word_at(words, index - 1).text in LINKS and _is_part(word_at(words, index - 2)):
        return None
    if any(part.sort in NAMES for part in parts):
        if any(part.sort not in NAMES for part in parts):
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
    places = [part for part in parts if part.sort is Sort.PLACE]
    return any(not part.known for part in parts) and all(part is last and lexicon.is_name(part.text) for part in places)


def _is_thing(part: Word, lexicon: Lexicon, *, named: bool, last: bool) -> bool:
    if part.text in namewords.LINKING or part.sort is Sort.COUNTRY:
        return True
    if part.text in namewords.THINGS:
        return not (named and last and part.text in namewords.NAMED_THINGS)
    return part.sort is Sort.PROPER and not (named and last) and not lexicon.is_name(part.text)


def _is_single(words: Sequence[Word], index: int, end: int, lexicon: Lexicon) -> bool:
    word = words[index]
    may_be = any(not part.known or lexicon.is_name(part.text) for part in words[index:end])
    if _is_called(words, index, end, may_be=may_be):
        return True
    behind = word_at(words, end)
    if end > index + 1 or not may_be or len(word.text) < 3 or behind.sort not in ENDS:
        return False
    if is_role(words, index) and word.sort is not Sort.PLACE:
        return True
    before = word_at(words, index - 1)
    if before.sort in NOUNS or before.text in _QUOTES or before.text in LINKS:
        return False
    if word.known:
        return word.sort in {Sort.PLACE, Sort.PROPER} and behind.text in namewords.ACTING
    return _is_unknown_name(word.text, behind.text, lexicon)


def _is_called(words: Sequence[Word], index: int, end: int, *, may_be: bool) -> bool:
    """Tell whether what stands behind or before makes a person of words that may be a name, or of any."""
    behind = word_at(words, end)
    if behind.text in namewords.HONORIFICS:
        return True
    # 酋長ソラノ, not 社長のソニー.
    if not may_be:
        alone = end == index + 1 and words[index].sort is Sort.PROPER and word_at(words, index - 1).text != "の"
        return alone and behind.sort in ENDS and is_role(words, index)
    if behind.text == "家" and behind.sort is Sort.SUFFIX:
        return True
    return is_titled(words, end) and not _is_kind(words, index, end)


def _is_unknown_name(text: str, behind: str, lexicon: Lexicon) -> bool:
    """Tell whether a word that no dictionary has looks like a family's name, or stands where people do."""
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
