"""Runs of digits: which groups of one make an identifier, by length, check digit, grouping and the words around."""

import re
from collections.abc import Callable
from itertools import dropwhile, pairwise
from typing import Final, NamedTuple

from sekisho.redact import checks, romanised
from sekisho.redact.addresses import PREFECTURE
from sekisho.redact.categories import Category
from sekisho.redact.context import Topic, is_counted, read_topic
from sekisho.redact.phones import is_phone
from sekisho.redact.spans import Span

_GROUP: Final = re.compile(r"\d+", re.ASCII)
# Underscores of a form or of Markdown are no part of a word: 旅券番号__TK1234567, _TK1234567_.
_LETTERS_BEFORE: Final = re.compile(r"(?:^|[^A-Za-z0-9_]|(?:^|[^A-Za-z0-9])_)([A-Za-z]{1,5})([-. ー]?)\Z")
_LETTERS: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_ALNUM: Final = _LETTERS | frozenset("0123456789")
_TOKEN_SIGNS: Final = _ALNUM | {"_"}
_AFTER_LETTERS: Final = frozenset("-. ー")
_HOLDS: Final = _TOKEN_SIGNS | {"-"}
_LETTERS_AFTER: Final = re.compile(r"[A-Za-z]{1,3}|_(?![_\s]|\Z)")
_EXTENSION: Final = re.compile(
    r"(?:,? ?(?:ext\.?|extension|x|内線) ?:?|#)\d{1,6}(?![A-Za-z0-9])", re.IGNORECASE | re.ASCII
)
_EXTENDS: Final = frozenset(", eExX内#")
_CARD_END: Final = re.compile(r"[ ー-]?[A-Za-z]{2}(?!_?[A-Za-z0-9])")
_GLUED: Final = frozenset({"tel", "fax", "phone", "no", "card", "zip", "ssn"})
_PLACE_AFTER: Final = re.compile(
    rf"[)\s]{{0,3}}[一-鿿々ぁ-んァ-ヶ]{{1,6}}[都道府県市区郡]|\s{{0,2}}{romanised.PREFECTURE}|,?\s?(?i:japan)\b"
)
_PREFECTURE_AFTER: Final = re.compile(rf"\s{{0,2}}(?:{PREFECTURE}) ?[一-鿿]")
_PLACE_BEFORE: Final = re.compile(rf"(?:{romanised.PREFECTURE}|-(?:ku|shi|gun|cho)),?\s?\Z")
_DATE: Final = re.compile(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])", re.ASCII)
# In what groups digits may stand that begin with neither a trunk prefix nor a country's, and that no word is about.
_PLAIN_SHAPES: Final = frozenset({
    (3, 3, 4), (1, 3, 3, 4), (4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 4, 4, 3), (4, 4, 4), (1,) * 12, (3, 2, 4),
    (3, 4),
})  # fmt: skip
# 03〜1234〜5678, 03の1234の5678; of two groups a word has to tell.
_SHORT_OF: Final = {(3, 4): Topic.POSTAL, (4, 6): Topic.PENSION}
_WHOLE: Final = frozenset(
    {
        (2, 4, 4),
        (3, 3, 4),
        (3, 4, 4),
        (4, 2, 4),
        (4, 3, 3),
        (5, 1, 4),
        (4, 3, 4),
        (7, 4),
        (7, 3),
        (6, 4),
        (4, 4, 4),
        (4, 4, 4, 4),
    }
)
# The letters of a country: DE89 3704 …, which is an IBAN, or none.
_OF_IBAN: Final = re.compile(r"(?:\A|[^A-Za-z0-9])[A-Za-z]{2}\Z")
_LICENCE: Final = 12
MIN_DIGITS: Final = 5
MAX_DIGITS: Final = 19
MAX_GROUPS: Final = 6


class Number(NamedTuple):
    """Some neighbouring groups of a run, and what stands around; a tuple, since thousands are made.

    Attributes:
        text: What they stand in.
        start: Where the first begins.
        end: Where the last ends.
        digits: All of them, ASCII.
        sizes: How many each group has.
        plus: Whether a plus stands before.
        topic: What the nearest word says.
    """

    text: str
    start: int
    end: int
    digits: str
    sizes: tuple[int, ...]
    plus: bool
    topic: Topic | None


def find_numbers(text: str, start: int, end: int) -> list[Span]:
    """Return what a run of digits and separators at `text[start:end]` holds; identifiers do not share groups."""
    before = text[start - 1 : start]
    follows = before in _LETTERS or (before in _AFTER_LETTERS and text[max(0, start - 2) : start - 1] in _LETTERS)
    lettered = _read_lettered(text, start, end) if follows and not _ends_word(text, start, before) else None
    if lettered is not None:
        return [lettered]
    run = text[start:end]
    if run.isdigit():
        return _find_alone(text, start, end, run)
    opened = run.rfind("(")
    if opened > 0 and ")" not in run[opened:] and text[end : end + 1] != ")":
        # 4111111111111111 (3回払い): what a bracket opens is another number.
        end, run = start + opened, run[:opened]
    if " " in run:
        return _find_parted(text, start, end)
    # Nothing parts the groups: they are one number together, or none.
    groups: list[str] = _GROUP.findall(run)
    digits = "".join(groups)
    if not MIN_DIGITS <= len(digits) <= MAX_DIGITS:
        return []
    begin, stop = start + run.find(groups[0]), start + run.rfind(groups[-1]) + len(groups[-1])
    if _may_hang(text, begin, stop) and (_hangs_before(text, begin) or _hangs_after(text, stop)):
        return []
    sizes, plus, topic = tuple(map(len, groups)), _has_plus(text, begin), read_topic(text, begin, stop)
    if ("の" in run or "〜" in run or "~" in run) and not _is_whole(sizes, digits, topic, plus=plus):
        return []
    if len(sizes) > 1 and sizes not in _PLAIN_SHAPES and _is_plain(topic, digits, plus=plus):
        return []
    category = _classify(Number(text, begin, stop, digits, sizes, plus, topic))
    return [] if category is None else [_cover(text, start, begin, stop, category)]


def _find_alone(text: str, start: int, end: int, digits: str) -> list[Span]:
    # Most runs are of digits alone.
    if not MIN_DIGITS <= end - start <= MAX_DIGITS:
        return []
    if _may_hang(text, start, end) and (_hangs_before(text, start) or _hangs_after(text, end)):
        return []
    if end - start == _LICENCE and _is_ordinal(text, start, end) and checks.is_drivers_licence(digits):
        return [Span(start, end, Category.JP_DRIVERS_LICENCE)]
    plus, topic = _has_plus(text, start), read_topic(text, start, end)
    category = _classify(Number(text, start, end, digits, (end - start,), plus, topic))
    return [] if category is None else [_cover(text, start, start, end, category)]


def _is_ordinal(text: str, start: int, end: int) -> bool:
    # 第301234567890号, as licences have it.
    return text[max(0, start - 2) : start].rstrip().endswith("第") and text[end : end + 2].lstrip().startswith("号")


def _ends_word(text: str, start: int, before: str) -> bool:
    # Three letters are a word, with which no number begins.
    last = start - 1 if before in _LETTERS else start - 2
    return text[last - 1 : last] in _LETTERS and text[last - 2 : last - 1] in _LETTERS


def _is_whole(sizes: tuple[int, ...], digits: str, topic: Topic | None, *, plus: bool) -> bool:
    """Tell whether groups that signs of ranges join are one number: 03〜1234〜5678, 100の0001, and not 1000〜2000."""
    if sizes in _SHORT_OF:
        return topic is _SHORT_OF[sizes]
    return sizes in _WHOLE and (plus or digits[0] == "0" or topic in {Topic.MY_NUMBER, Topic.CARD, Topic.LICENCE})


def _find_parted(text: str, start: int, end: int) -> list[Span]:
    groups = [match.span() for match in _GROUP.finditer(text, start, end)]
    # 17:00 03-1234-5678: a time before.
    if text[start - 1 : start] == ":" and groups[0][1] - groups[0][0] == 2 and text[start - 2 : start - 1].isdigit():
        groups = groups[1:]
    if _may_hang(text, groups[0][0], groups[-1][1]):
        groups = _take_free(text, groups)
    found: list[Span] = []
    first = 0
    while first < len(groups):
        last, category = _longest(text, groups, first=first)
        if category is not None:
            found.append(_cover(text, start, groups[first][0], groups[last][1], category))
        first = last + 1
    return found


def _cover(text: str, start: int, begin: int, end: int, category: Category) -> Span:
    """Return the span of a number in a run that begins at `start`, with its signs before and its extension behind."""
    if begin > start:
        signs = text[max(start, begin - 2) : begin]
        begin -= len(signs) - len(signs.rstrip("+("))
    if category is Category.PHONE and text[end : end + 1] in _EXTENDS:
        extension = _EXTENSION.match(text, end)
        end = extension.end() if extension else end
    return Span(begin, end, category)


def _may_hang(text: str, begin: int, end: int) -> bool:
    return text[begin - 1 : begin] in _HOLDS or text[end : end + 1] in _TOKEN_SIGNS


def _has_plus(text: str, begin: int) -> bool:
    return "+" in text[max(0, begin - 2) : begin]


def _is_plain(topic: Topic | None, digits: str, *, plus: bool) -> bool:
    # Where no word and no first sign tells anything, tables of numbers are passed over by the sizes of groups alone.
    return topic is None and not plus and digits[0] not in "08"


def _take_free(text: str, groups: list[tuple[int, int]]) -> list[tuple[int, int]]:
    # Groups that hang on letters belong to a longer token, such as a hash or a product's number.
    begin, end = groups[0][0], groups[-1][1]
    if _OF_IBAN.search(text[max(0, begin - 3) : begin]) and [b - a for a, b in groups[:2]] == [2, 4]:
        return list(dropwhile(lambda group: group[1] - group[0] == 4, groups[1:]))
    hangs_before, hangs_after = _hangs_before(text, begin), _hangs_after(text, end)
    if not hangs_before and not hangs_after:
        return groups
    loose = [index for index, (one, two) in enumerate(pairwise(groups), 1) if _is_loose(text[one[1] : two[0]])]
    high = (loose[-1] if loose else 0) if hangs_after else len(groups)
    low = (loose[0] if loose else high) if hangs_before else 0
    return groups[low:high]


def _hangs_before(text: str, begin: int) -> bool:
    sign = text[begin - 1 : begin]
    # 口座番号____1234567, and _1234567_.
    if sign == "_" and text[max(0, begin - 2) : begin - 1] not in _ALNUM:
        return False
    if sign not in _TOKEN_SIGNS and not (sign == "-" and text[max(0, begin - 2) : begin - 1] in _TOKEN_SIGNS):
        return False
    before = _LETTERS_BEFORE.search(text[max(0, begin - 7) : begin])
    return not (before and before[1].lower() in _GLUED)


def _hangs_after(text: str, end: int) -> bool:
    if text[end : end + 1] not in _TOKEN_SIGNS:
        return False
    after = _LETTERS_AFTER.match(text, end)
    return after is not None and after[0].lower() not in _GLUED and not _EXTENSION.match(text, end)


def _longest(text: str, groups: list[tuple[int, int]], *, first: int) -> tuple[int, Category | None]:
    ends = _list_ends(text, groups, first=first)
    if not ends:
        return first, None
    begin = groups[first][0]
    plus, topic = _has_plus(text, begin), read_topic(text, begin, groups[ends[-1]][1])
    plain = _is_plain(topic, text[begin], plus=plus)
    for last in reversed(ends):
        taken = groups[first : last + 1]
        sizes = tuple([b - a for a, b in taken])
        if plain and last > first and sizes not in _PLAIN_SHAPES:
            continue
        digits = "".join([text[a:b] for a, b in taken])
        category = _classify(Number(text, begin, groups[last][1], digits, sizes, plus, topic))
        if category is Category.JP_MY_NUMBER and topic is not Topic.MY_NUMBER and _is_part(groups, first, last):
            continue
        if category is not None:
            return last, category
    return first, None


def _is_part(groups: list[tuple[int, int]], first: int, last: int) -> bool:
    """Tell whether a group of four stands beside, as of a card's number."""
    beside = [*groups[max(0, first - 1) : first], *groups[last + 1 : last + 2]]
    return any(end - start == 4 for start, end in beside)


def _list_ends(text: str, groups: list[tuple[int, int]], *, first: int) -> list[int]:
    if len(groups) == 1:
        return [0] if MIN_DIGITS <= groups[0][1] - groups[0][0] <= MAX_DIGITS else []
    if first and not _is_loose(text[groups[first - 1][1] : groups[first][0]]):
        return []
    ends, total = [], 0
    for last in range(first, len(groups)):
        total += groups[last][1] - groups[last][0]
        if total > MAX_DIGITS:
            break
        final = last + 1 == len(groups)
        # Many groups are digits set apart one by one: they count as a whole only, which also keeps the work linear.
        spaced = total == last + 1 - first and (first or not final) and last - first >= MAX_GROUPS
        if total >= MIN_DIGITS and not spaced and (final or _is_loose(text[groups[last][1] : groups[last + 1][0]])):
            ends.append(last)
    return ends


def _is_loose(separator: str) -> bool:
    return " " in separator and "-" not in separator and "ー" not in separator


def _classify(number: Number) -> Category | None:
    topic = number.topic
    if topic is not None:
        named = _BY_TOPIC.get(topic)
        counted = topic in _UNCHECKED and is_counted(number.text, number.start, number.end)
        if named is not None and not counted and named[1](number):
            return named[0]
        if topic is Topic.MY_NUMBER and checks.is_corporate_number(number.digits):
            # 個人番号又は法人番号
            return Category.JP_CORPORATE_NUMBER
        if topic is Topic.OTHER:
            return Category.PHONE if number.plus and _is_shaped_phone(number) else None
        # Written without gaps and with a check digit: one that is wrong there is no reason to call it something else.
        if topic in _CHECKED and (len(number.sizes) == 1 or number.sizes == (4, 4, 4)):
            return None
    return _read_shape(number)


def _read_shape(number: Number) -> Category | None:
    """Return what a number is without a word that settles it; what is surest goes first."""
    # Without a plus, what begins otherwise is one in three groups and more alone.
    if (number.plus or number.digits[0] in "08" or len(number.sizes) > 2) and _is_shaped_phone(number):
        return Category.PHONE
    length = len(number.digits)
    # Thirteen digits are a bar code rather than one of the few cards that were that short.
    if length > 13 and _is_shaped_card(number):
        return Category.CARD
    if length == 12 and _is_shaped_my_number(number):
        return Category.JP_MY_NUMBER
    if length == 9 and _is_shaped_ssn(number):
        return Category.US_SSN
    return Category.JP_POSTAL_CODE if length == 7 and _is_shaped_postal(number) else None


def _is_account(number: Number) -> bool:
    length = len(number.digits)
    if not 7 <= length <= 17 or len(number.sizes) > 4 or _DATE.fullmatch(number.digits):
        return False
    if _is_dotted(number):
        return False
    if length == 13 and number.digits[:2] in {"45", "49"}:
        return False
    # A moment, a card or a postal code beside the words for an account.
    return (
        not (length == 14 and _is_moment(number))
        and not (length > 13 and _is_shaped_card(number))
        and not (length == 7 and _is_shaped_postal(number))
    )


def _is_named_phone(number: Number) -> bool:
    # 20240102, and 2024-01-02 10:11.
    dated = number.sizes[:3] == (4, 2, 2) or (len(number.digits) == 8 and number.sizes[0] in {4, 8})
    if (dated and _DATE.match(number.digits)) or _is_dotted(number):
        return False
    if number.sizes == (3, 4) and _is_shaped_postal(number):
        return False
    return is_phone(number.digits, number.sizes, plus=number.plus, named=True)


def _is_dotted(number: Number) -> bool:
    # A decimal fraction or a version: 40.20372, 10.0.29250.1847.
    if number.plus or len(number.sizes) not in {2, 4} or "." not in number.text[number.start : number.end]:
        return False
    return not _read_between(number).strip(".")


def _is_shaped_phone(number: Number) -> bool:
    if len(number.sizes) == 2 and _is_dotted(number):
        return False
    return is_phone(number.digits, number.sizes, plus=number.plus, named=False)


def _is_shaped_card(number: Number) -> bool:
    grouped = number.sizes in {(4, 4, 4, 4), (4, 6, 5), (4, 6, 4), (4, 4, 4, 4, 3), (len(number.digits),)}
    return grouped and checks.is_card(number.digits)


def _is_shaped_my_number(number: Number) -> bool:
    grouped = number.sizes in {(12,), (4, 4, 4), (1,) * 12}
    if grouped and len(number.sizes) == 3:
        # 1863-2369 (2021: pages and a year.
        between = _read_between(number)
        grouped = between[: len(between) // 2] * 2 == between
    return grouped and len(set(number.digits)) > 1 and not _is_moment(number) and checks.is_my_number(number.digits)


def _is_moment(number: Number) -> bool:
    # A date and a time without signs between: 202401311530.
    return bool(_DATE.match(number.digits)) and int(number.digits[8:10]) < 24 and int(number.digits[10:12]) < 60


def _is_shaped_ssn(number: Number) -> bool:
    area = number.digits[:3]
    return number.sizes == (3, 2, 4) and _read_between(number) == "--" and area not in {"000", "666"}


def _is_shaped_postal(number: Number) -> bool:
    text, start, end = number.text, number.start, number.end
    if number.sizes == (7,):
        return _PREFECTURE_AFTER.match(text, end, end + 8) is not None
    if number.sizes != (3, 4) or _read_between(number).strip() not in {"-", "ー"}:
        return False
    after = _PLACE_AFTER.match(text, end, end + 16)
    return after is not None or _PLACE_BEFORE.search(text[max(0, start - 20) : start]) is not None


def _read_between(number: Number) -> str:
    return _GROUP.sub("", number.text[number.start : number.end])


def _is_postal(number: Number) -> bool:
    return number.sizes in {(3, 4), (7,), (5, 4), (5,)}


# Of these a check digit tells that they are none.
_CHECKED: Final = frozenset({Topic.CORPORATE, Topic.LICENCE})
# Of these it does not, or one amount of ten passes.
_UNCHECKED: Final = frozenset({
    Topic.BANK, Topic.PHONE, Topic.PENSION, Topic.SSN, Topic.PASSPORT, Topic.POSTAL, Topic.INSURED, Topic.INSURANCE,
})  # fmt: skip
_Test = Callable[[Number], bool]
_BY_TOPIC: Final[dict[Topic, tuple[Category, _Test]]] = {
    Topic.MY_NUMBER: (Category.JP_MY_NUMBER, lambda n: checks.is_my_number(n.digits)),
    Topic.CORPORATE: (Category.JP_CORPORATE_NUMBER, lambda n: checks.is_corporate_number(n.digits)),
    Topic.LICENCE: (Category.JP_DRIVERS_LICENCE, lambda n: checks.is_drivers_licence(n.digits)),
    Topic.PENSION: (Category.JP_PENSION_NUMBER, lambda n: len(n.digits) == 10),
    Topic.INSURANCE: (Category.JP_HEALTH_INSURANCE, lambda n: len(n.digits) in {6, 8} and checks.is_luhn(n.digits)),
    Topic.INSURED: (Category.JP_HEALTH_INSURANCE, lambda n: 5 <= len(n.digits) <= 12),
    Topic.BANK: (Category.BANK_ACCOUNT, _is_account),
    Topic.PHONE: (Category.PHONE, _is_named_phone),
    Topic.POSTAL: (Category.JP_POSTAL_CODE, _is_postal),
    Topic.CARD: (Category.CARD, lambda n: checks.is_card(n.digits)),
    Topic.SSN: (Category.US_SSN, lambda n: len(n.digits) == 9),
    Topic.PASSPORT: (Category.JP_PASSPORT, lambda n: n.sizes == (9,)),
}


def _is_upper(text: str, begin: int, letters: str) -> bool:
    # In small letters behind a hyphen it is the end of a UUID: b6cd-ab03462744cf.
    return not letters.islower() or text[begin - 1 : begin] != "-"


def _read_lettered(text: str, start: int, end: int) -> Span | None:
    before = _LETTERS_BEFORE.search(text[max(0, start - 7) : start])
    if before is None or len(before[1]) > 2:
        return None
    begin = start - len(before[1]) - len(before[2])
    digits = "".join(_GROUP.findall(text, start, end))
    after = _CARD_END.match(text, end)
    if len(before[1]) == 2 and len(digits) == 8 and after and _is_upper(text, begin, before[1] + after[0]):
        return Span(begin, after.end(), Category.JP_RESIDENCE_CARD)
    if _LETTERS_AFTER.match(text, end):
        return None
    if before[1].upper() == "T" and checks.is_corporate_number(digits):
        return Span(begin, end, Category.JP_CORPORATE_NUMBER)
    if len(digits) in {7, 8} and not _DATE.fullmatch(digits) and read_topic(text, begin, end) is Topic.PASSPORT:
        return Span(begin, end, Category.JP_PASSPORT)
    return None
