"""Telephone numbers: Japan's plan of numbers, the country prefix, and what is plausible elsewhere."""

from typing import Final

# How the ten or eleven digits of a Japanese number are written in groups.
_FIXED: Final = frozenset({
    (10,), (2, 4, 4), (3, 3, 4), (4, 2, 4), (5, 1, 4), (4, 3, 3), (4, 6), (3, 7), (2, 8), (6, 4), (4, 4, 2), (1,) * 10,
})  # fmt: skip
_MOBILE: Final = frozenset({(11,), (3, 4, 4), (4, 3, 4), (3, 8), (7, 4), (5, 3, 3), (1,) * 11})
# Prefixes that are dialled before Japan's own numbers, from most countries and from Japan.
_FROM_ABROAD: Final = ("0081", "01081")
_AMERICAN: Final = (3, 3, 4)


def is_phone(digits: str, sizes: tuple[int, ...], *, plus: bool, named: bool) -> bool:
    """Tell whether digits in such groups are a telephone number.

    Args:
        digits: All digits, without signs.
        sizes: How many each group has.
        plus: Whether a plus stands before the first.
        named: Whether a word before says that it is one.
    """
    if plus:
        return _is_abroad(digits) if not digits.startswith("81") else _is_japanese(_nationalise(digits[2:]))
    dialled = next((len(prefix) for prefix in _FROM_ABROAD if digits.startswith(prefix)), 0)
    if dialled and len(digits) >= dialled + 9:
        return _is_japanese(_nationalise(digits[dialled:]))
    if digits.startswith("81") and sizes[0] == 2 and len(sizes) > 2:
        return _is_japanese(_nationalise(digits[2:]))
    if _is_japanese(digits):
        grouped = sizes in (_FIXED if len(digits) == 10 else _MOBILE)
        return named or grouped or (len(sizes) > 2 and _is_european(digits, sizes))
    if digits.startswith("00") and len(sizes) > 1 and _is_country(digits[2:], sizes[0] - 2):
        return _is_abroad(digits[2:])
    if sizes == _AMERICAN or (sizes == (1, *_AMERICAN) and digits[0] == "1"):
        return digits[-10] in "23456789"
    if _is_european(digits, sizes):
        return True
    return named and 7 <= len(digits) <= 12


def _nationalise(rest: str) -> str:
    return rest if rest.startswith("0") else f"0{rest}"


def _is_country(rest: str, length: int) -> bool:
    # 0044 20 …, 00 44 …, 001-518-…: what stands with the prefix is the code of a country.
    return length in {0, 2, 3} or (length == 1 and rest[0] in "17")


def _is_european(digits: str, sizes: tuple[int, ...]) -> bool:
    # A trunk prefix, an area and groups: 024 971 50 30. Few other numbers begin with a zero and are grouped.
    if not 9 <= len(digits) <= 11 or digits[0] != "0" or digits[1] == "0" or len(sizes) < 2:
        return False
    return 2 <= sizes[0] <= 5 and all(2 <= size <= 7 for size in sizes)


def _is_abroad(digits: str) -> bool:
    return 8 <= len(digits) <= 15 and digits[0] != "0"


def _is_japanese(digits: str) -> bool:
    if len(digits) == 11:
        return digits[:3] in {"020", "050", "060", "070", "080", "090"}
    return len(digits) == 10 and digits[0] == "0" and digits[1] != "0"
