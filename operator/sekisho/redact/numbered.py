"""Short numbers that only a word before makes what they are: accounts, insurance, branches."""

# ruff: noqa: E501 - a Japanese sign counts as two columns

import re
from collections.abc import Iterator
from typing import Final

from sekisho.redact import checks
from sekisho.redact.categories import Category
from sekisho.redact.context import is_counted
from sekisho.redact.spans import Span

_FOLLOWING: Final = re.compile(r"[^\d\n]{0,8}?(\d(?:[ -]?\d){1,11})(?![\d-])", re.ASCII)
_WORDS: Final = {
    "保険者番号": Category.JP_HEALTH_INSURANCE,
    "被保険者番号": Category.JP_HEALTH_INSURANCE,
    "被保険者証番号": Category.JP_HEALTH_INSURANCE,
    "保険証番号": Category.JP_HEALTH_INSURANCE,
    "保険証記号": Category.JP_HEALTH_INSURANCE,
    "保険証": Category.JP_HEALTH_INSURANCE,
    "被保険者": Category.JP_HEALTH_INSURANCE,
    "口座番号": Category.BANK_ACCOUNT,
    "ゆうちょ": Category.BANK_ACCOUNT,
    "普通預金": Category.BANK_ACCOUNT,
    "当座預金": Category.BANK_ACCOUNT,
    "〒": Category.JP_POSTAL_CODE,
}
# The symbol and the number of an insured person.
_INSURED: Final = re.compile(
    r"[^\d\n]{0,8}?(?:記号|番号)[^\d\n]{0,8}?(\d{1,8}(?:-\d{1,8})?)(?:[^\d\n]{0,4}番号[^\d\n]{0,3}(\d{1,8}))?(?!\d)",
    re.ASCII,
)
# 記号 1234 番号 567, 記号・番号:1234・567; what is numbered so is told by the words around.
_SYMBOL: Final = "記号"
_PAIR: Final = re.compile(
    r"(?:(?:[・、 /]|及び|と)?番号)?[^\d\n]{0,4}\n?[^\d\n]{0,4}?(\d{2,8})(?:\D{0,4}番号[^\d\n]{0,4}|[-・ ]{1,3})(\d{1,8})(?!\d)",
    re.ASCII,
)
_AROUND: Final = 80
_OF_INSURED: Final = re.compile("保険|健保|国保|共済|組合員")
_OF_BANK: Final = re.compile("ゆうちょ|郵便局|郵便貯金|口座|通帳|振込")
PATTERN: Final = "|".join(sorted((*_WORDS, _SYMBOL), key=len, reverse=True))


def find_numbered(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield the number, or the pair of numbers, that follows the word at `text[start:end]`."""
    if text[start:end] == _SYMBOL:
        yield from _find_pair(text, start, end)
        return
    category = _WORDS[text[start:end]]
    insured = _INSURED.match(text, end) if text[start:end] in {"保険証", "被保険者"} else None
    if insured is not None:
        yield from (Span(*insured.span(group), category) for group in (1, 2) if insured[group])
        return
    number = _FOLLOWING.match(text, end)
    if number is None or (category is not Category.JP_POSTAL_CODE and is_counted(text, number.end())):
        return
    digits = re.sub(r"\D", "", number[1])
    if _holds(text[start:end], category, digits):
        yield Span(*number.span(1), category)


def _find_pair(text: str, start: int, end: int) -> Iterator[Span]:
    pair = _PAIR.match(text, end)
    if pair is None:
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
