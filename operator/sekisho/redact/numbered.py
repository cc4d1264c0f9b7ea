"""Short numbers that only a word before makes what they are: accounts, insurance, branches."""

# ruff: noqa: E501 - a Japanese sign counts as two columns

import re
from collections.abc import Iterator
from typing import Final

from sekisho.redact import checks
from sekisho.redact.categories import Category
from sekisho.redact.context import is_counted
from sekisho.redact.spans import Span

# Between a word and its number: a note, and some signs, tags and a line's end, or a word or two.
_NOTE: Final = r"(?:\s?\([^()\n]{1,14}\)|\s?※[^\d\s:]{1,6})?"
_SIGNS: Final = r"(?:\",\s{0,16}\"(?:(?:value|内容|値)\":)?|は\?\n[A-Z]\d{0,2}[:.]|<input[^<>\n]{0,160}value=|</?[a-z][^<>\n]{0,64}>|[ \t\"'|│:=.・>)(\]】」「『*~/_-]){0,40}"
# On the lines below the word no cells of a table.
_BELOW: Final = r"(?:</?[a-z][^<>\n]{0,64}>|[ \t\"':=.・>)(\]】」「『*~/_]){0,40}"
_FOLLOWING: Final = re.compile(
    rf"{_NOTE}(?:[^\d\nA-Za-z,;]{{0,8}}?|{_SIGNS}(?:\n{_BELOW}){{0,2}}|[ _-]?(?:number|no\.?|bango|(?:on file )?(?:is|as|from|to)(?: now)?|[ :\"'=])*)(\d(?:[ -]?\d){{1,13}})(?![\d-])",
    re.ASCII | re.IGNORECASE,
)
_WORDS: Final = {
    "保険者番号": Category.JP_HEALTH_INSURANCE,
    "被保険者番号": Category.JP_HEALTH_INSURANCE,
    "健保番号": Category.JP_HEALTH_INSURANCE,
    "被保険者証番号": Category.JP_HEALTH_INSURANCE,
    "保険証番号": Category.JP_HEALTH_INSURANCE,
    "保険証記号": Category.JP_HEALTH_INSURANCE,
    "被保険者証の番号": Category.JP_HEALTH_INSURANCE,
    "保険証の番号": Category.JP_HEALTH_INSURANCE,
    "保険証": Category.JP_HEALTH_INSURANCE,
    "被保険者": Category.JP_HEALTH_INSURANCE,
    "口座番号": Category.BANK_ACCOUNT,
    "ゆうちょ": Category.BANK_ACCOUNT,
    "普通預金": Category.BANK_ACCOUNT,
    "当座預金": Category.BANK_ACCOUNT,
    "〒": Category.JP_POSTAL_CODE,
}
# The symbol and the number of an insured person: 1234, 12-34, 7538・73, 千代田12.
_SYMBOL_OF: Final = r"((?:[ぁ-んァ-ヶ一-鿿]{1,4} ?)?\d{1,8}(?:[-・ー]\d{1,8})?)"
_BETWEEN: Final = r"(?:</?[a-z][^<>\n]{0,64}>|は|が|[ \t:=「『(\[\"'|│>)】」]){0,24}"
_INSURED: Final = re.compile(
    rf"(?!の?保険者番号)[^\d\n]{{0,8}}?(?:記号|番号){_BETWEEN}{_SYMBOL_OF}(?:[^\d\n]{{0,6}}\n?[^\d\n]{{0,8}}番号{_BETWEEN}(\d{{1,8}}))?(?!\d)",
    re.ASCII,
)
# 記号 1234 番号 567, 記号・番号:1234・567; what is numbered so is told by the words around.
_SYMBOL: Final = "記号"
_PAIR: Final = re.compile(
    rf"(?:(?:[-・、 /]|及び|と)?番号)?{_BETWEEN}\n?{_BETWEEN}{_SYMBOL_OF}(?:(?:[^\d\n。]{{0,4}}|[^\d\n。]{{0,4}}\n[^\d\n。]{{0,6}})番号{_BETWEEN}\n?{_BETWEEN}|[-・ /]{{1,3}})(\d{{1,8}})(?!\d)",
    re.ASCII,
)
_AROUND: Final = 80
_OF_INSURED: Final = re.compile("保険|健保|国保|共済|組合員|枝番")
_OF_BANK: Final = re.compile("ゆうちょ|郵便局|郵便貯金|口座|通帳|振込")
_INSURER: Final = r"insurer[ _]?(?:number|no\b|\#)|hoken(?:sh|sy|j)a[ _]?(?:bango|no\b)|保険者no"
_INSURED_PERSON: Final = (
    r"insured(?:[ _]?person)?(?:'s)?[ _]?(?:number|no\b|id\b)|health[ _]insurance[ _](?:number|no\b|id\b)|hihokens[hy]a[ _]?(?:bango|no\b)"
    r"|hokensho[ _]?(?:bango|no\b)"
)
# 保 険者番号: scans part words.
PATTERN: Final = f"{'|'.join(' ?'.join(word) for word in sorted((*_WORDS, _SYMBOL), key=len, reverse=True))}|(?i:{_INSURED_PERSON}|{_INSURER})"
_IS_INSURER: Final = re.compile(_INSURER, re.IGNORECASE)
# 5025(被保険者番号), turned round from the word; and </insured_number>.
_VALUE_BEFORE: Final = re.compile(r"[^\s\d()]{0,6}[(\[【「] ?(\d(?:[ -]?\d){1,11})(?![\d-])", re.ASCII)
_CLOSING: Final = frozenset(")】]」")
_CLOSING_TAG: Final = re.compile(r"</[A-Za-z_]{0,24}\Z")


def find_numbered(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield the number, or the pair of numbers, that follows the word at `text[start:end]`."""
    word = text[start:end]
    word = word if word.isascii() else word.replace(" ", "")
    if word.endswith(_SYMBOL):
        yield from _find_pair(text, start, end)
    elif _CLOSING_TAG.search(text[max(0, start - 26) : start]) is None:
        if word not in _WORDS:
            word = "保険者番号" if _IS_INSURER.fullmatch(word) else "被保険者番号"
        before = (
            _VALUE_BEFORE.match(text[max(0, start - 32) : start][::-1]) if text[end : end + 1] in _CLOSING else None
        )
        if before is None:
            yield from _find_behind(text, word, end)
        elif _holds(word, _WORDS[word], re.sub(r"\D", "", before[1])[::-1]):
            yield Span(start - before.end(1), start - before.start(1), _WORDS[word])


def _find_behind(text: str, word: str, end: int) -> Iterator[Span]:
    """Yield what is numbered by a word that ends at `end`."""
    category = _WORDS[word]
    insured = _INSURED.match(text, end) if word in {"保険証", "被保険者"} else None
    if insured is not None:
        yield from (Span(*insured.span(group), category) for group in (1, 2) if insured[group])
        return
    # ゆうちょ銀行 記号 … is a pair.
    paired = word == "ゆうちょ" and _SYMBOL in text[end : end + 8]
    number = None if paired else _FOLLOWING.match(text, end)
    if number is None or (category is not Category.JP_POSTAL_CODE and is_counted(text, number.start(1), number.end())):
        return
    if _holds(word, category, re.sub(r"\D", "", number[1])):
        yield Span(*number.span(1), category)


def _find_pair(text: str, start: int, end: int) -> Iterator[Span]:
    pair = _PAIR.match(text, end)
    if pair is None:
        # 被保険者証の記号番号 12345678
        number = _FOLLOWING.match(text, end + 2) if text.startswith("番号", end) else None
        if number is not None and _OF_INSURED.search(text, max(0, start - 8), start):
            yield Span(*number.span(1), Category.JP_HEALTH_INSURANCE)
        return
    around = text[max(0, start - _AROUND) : pair.end() + _AROUND]
    # Symbols of Yucho accounts: 1, three digits, a zero.
    yucho = len(pair[1]) == 5 and pair[1][0] == "1" and pair[1][4] == "0" and len(pair[2]) >= 6
    if yucho or (_OF_BANK.search(around) and not _OF_INSURED.search(around)):
        category = Category.BANK_ACCOUNT
    elif _OF_INSURED.search(around):
        category = Category.JP_HEALTH_INSURANCE
    else:
        return
    yield from (Span(*pair.span(group), category) for group in (1, 2))


def _holds(word: str, category: Category, digits: str) -> bool:
    if word in {"保険証", "被保険者"}:
        return False
    if word == "保険者番号":
        return len(digits) in {6, 8} and checks.is_luhn(digits)
    if category is Category.JP_POSTAL_CODE:
        return len(digits) == 7
    return (4 if category is Category.BANK_ACCOUNT else 2) <= len(digits) <= (14 if word == "ゆうちょ" else 10)
