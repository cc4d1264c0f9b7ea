"""Short numbers that only a word before makes what they are: accounts, insurance, branches."""

import re
from collections.abc import Iterator
from typing import Final

from sekisho.redact import checks
from sekisho.redact.categories import Category
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
PATTERN: Final = "|".join(sorted(_WORDS, key=len, reverse=True))


def find_numbered(text: str, start: int, end: int) -> Iterator[Span]:
    """Yield the number that follows the word at `text[start:end]`."""
    category = _WORDS[text[start:end]]
    insured = _INSURED.match(text, end) if text[start:end] in {"保険証", "被保険者"} else None
    if insured is not None:
        yield from (Span(*insured.span(group), category) for group in (1, 2) if insured[group])
        return
    number = _FOLLOWING.match(text, end)
    if number is None:
        return
    digits = re.sub(r"\D", "", number[1])
    if _holds(text[start:end], category, digits):
        yield Span(*number.span(1), category)


def _holds(word: str, category: Category, digits: str) -> bool:
    if word in {"保険証", "被保険者"}:
        return False
    if word == "保険者番号":
        return len(digits) in {6, 8} and checks.is_luhn(digits)
    if category is Category.JP_POSTAL_CODE:
        return len(digits) == 7
    return (4 if category is Category.BANK_ACCOUNT else 2) <= len(digits) <= (14 if word == "ゆうちょ" else 8)
