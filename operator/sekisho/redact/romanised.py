"""Addresses in Japan in Latin letters: 1-2-3 Nishi-Shinjuku, Shinjuku-ku, Tokyo."""

# ruff: noqa: E501 - a Japanese sign counts as two columns, and patterns read better unbroken

import re
from typing import Final

from sekisho.redact.categories import Category
from sekisho.redact.spans import Span

PREFECTURE: Final = (
    r"(?:Hokkaido|Aomori|Iwate|Miyagi|Akita|Yamagata|Fukushima|Ibaraki|Tochigi|Gunma|Saitama|Chiba|Tokyo|Kanagawa|Niigata|Toyama"
    r"|Ishikawa|Fukui|Yamanashi|Nagano|Gifu|Shizuoka|Aichi|Mie|Shiga|Kyoto|Osaka|Hyogo|Nara|Wakayama|Tottori|Shimane|Okayama"
    r"|Hiroshima|Yamaguchi|Tokushima|Kagawa|Ehime|Kochi|Fukuoka|Saga|Nagasaki|Kumamoto|Oita|Miyazaki|Kagoshima|Okinawa"
    r"|Yokohama|Nagoya|Sapporo|Kobe|Kawasaki|Sendai)\b(?:-(?:to|fu|ken|shi))?"
)
_NAME: Final = r"[A-Z][A-Za-z'-]{1,24}(?: (?:[A-Z]|\d{1,2}-[a-z])[A-Za-z0-9'-]{0,24}){0,3}"
# What stands behind the block: names with commas between, of which one says ward, city or prefecture.
_PARTS: Final = re.compile(rf"[0-9]{{1,5}}(?:-\d{{1,4}}){{1,3}}(?:,? {_NAME})?(?:, {_NAME}){{0,4}}")
_WARD: Final = re.compile(r"-(?:ku|shi|gun|cho|machi|mura)\b")
# Without a ward, a town stands before the city or the prefecture: 1-2-3 Umeda, Osaka, but not "3-1 Kawasaki".
_TOWN_AND_CITY: Final = re.compile(rf"[-0-9]+,? {_NAME}, (?:.*, )?{PREFECTURE}")
# A building or a room before, or the town: #201, Room 201, Sunrise Bldg. 5F, 512, Maison Aoba, Umeda.
_BEFORE: Final = re.compile(
    rf"(?<![\d-])(?:(?:(?:#|Room |Rm\.? |Apt\.? ?|Unit )?[A-Z]?\d{{1,5}}(?:F)?|{_NAME}(?: (?:Bldg|Building|Mansion|Heights|Tower|House)\.?)?(?: \d{{1,3}}F)?),? ){{1,3}}\Z"
)
_REACH: Final = 64


def find_romanised(text: str, start: int) -> Span | None:
    """Return the address whose block stands at `start`; None where no ward, city or prefecture follows."""
    parts = _PARTS.match(text, start)
    if parts is None or (_WARD.search(parts[0]) is None and _TOWN_AND_CITY.match(parts[0]) is None):
        return None
    end = parts.end()
    before = _BEFORE.search(text[max(0, start - _REACH) : start])
    return Span(start - (len(before[0]) if before else 0), end, Category.JP_ADDRESS)
