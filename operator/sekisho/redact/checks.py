"""Check digits; each function takes ASCII digits (or letters, where it says so) of a length that it checks."""

from operator import mul
from typing import Final

_ZERO: Final = ord("0")
# Twice each digit, and the digits of that added up.
_DOUBLED: Final = bytes.maketrans(b"0123456789", b"0246813579")
_CARD_LENGTHS: Final = {
    "3": frozenset({14, 16}), "4": frozenset({13, 16, 19}), "5": frozenset({16}), "2": frozenset({16}),
    "6": frozenset({16, 17, 18, 19}),
}  # fmt: skip
# The register of ISO 13616: countries, and how long their numbers are.
_IBAN_LENGTHS: Final = {
    part[:2]: int(part[2:])
    for part in [
        "AD24", "AE23", "AL28", "AT20", "AZ28", "BA20", "BE16", "BG22", "BH22", "BI27", "BR29", "BY28", "CH21",
        "CR22", "CY28", "CZ24", "DE22", "DJ27", "DK18", "DO28", "EE20", "EG29", "ES24", "FI18", "FK18", "FO18",
        "FR27", "GB22", "GE22", "GI23", "GL18", "GR27", "GT28", "HN28", "HR21", "HU28", "IE22", "IL23", "IQ23",
        "IS26", "IT27", "JO30", "KW30", "KZ20", "LB28", "LC32", "LI21", "LT20", "LU20", "LV21", "LY25", "MC27",
        "MD24", "ME22", "MK19", "MN20", "MR27", "MT31", "MU30", "NI28", "NL18", "NO15", "OM23", "PK24", "PL28",
        "PS29", "PT25", "QA29", "RO24", "RS22", "RU33", "SA24", "SC31", "SD18", "SE24", "SI19", "SK24", "SM27",
        "SO23", "ST25", "SV28", "TL23", "TN24", "TR26", "UA29", "VA22", "VG24", "XK20", "YE30",
    ]
}  # fmt: skip
_MY_NUMBER: Final = (6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2)
_LICENCE: Final = (5, 4, 3, 2, 7, 6, 5, 4, 3, 2)
_CORPORATE: Final = (2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1)
# Of the prefectural public safety commissions (Hokkaido has five).
_COMMISSIONS: Final = frozenset({
    10, 11, 12, 13, 14, *range(20, 26), 30, *range(40, 50), *range(50, 56), *range(60, 66), *range(70, 75),
    *range(80, 84), *range(90, 98),
})  # fmt: skip


def is_my_number(digits: str) -> bool:
    """Tell by the ordinance's formula: modulus 11 over the first eleven of twelve digits."""
    if len(digits) != 12:
        return False
    rest = _weigh(digits, _MY_NUMBER) % 11
    return int(digits[11]) == (0 if rest <= 1 else 11 - rest)


def is_corporate_number(digits: str) -> bool:
    """Tell by the ministerial formula: modulus 9, the check digit stands first of thirteen."""
    return len(digits) == 13 and int(digits[0]) == 9 - _weigh(digits[1:], _CORPORATE) % 9


def is_drivers_licence(digits: str) -> bool:
    """Tell by the commission that issued it and the eleventh of twelve digits, modulus 11.

    The formula is not published; where the remainder is 0, both digits that are described for it count.
    """
    if len(digits) != 12 or int(digits[:2]) not in _COMMISSIONS:
        return False
    rest = _weigh(digits, _LICENCE) % 11
    return int(digits[10]) in ((0, 1) if rest == 0 else ((11 - rest) % 10,))


def is_luhn(digits: str) -> bool:
    """Tell whether the Luhn sum holds: cards, and insurers' numbers of six or eight digits."""
    plain = digits.encode()
    return (sum(plain[-1::-2]) + sum(plain[-2::-2].translate(_DOUBLED)) - _ZERO * len(plain)) % 10 == 0


def is_card(digits: str) -> bool:
    """Tell by the issuer's range, its lengths, and the Luhn sum."""
    length = len(digits)
    if digits[:2] in {"50", "56", "57", "58"} or digits[:2] in {"63", "67"}:
        fits = 12 <= length <= 19
    else:
        fits = length in _CARD_LENGTHS.get(digits[0], ()) or (
            length == 15 and digits.startswith(("34", "37", "2131", "1800"))
        )
    return fits and len(set(digits)) > 1 and is_luhn(digits)


def is_iban(text: str) -> bool:
    """Tell by ISO 13616: upper-case letters and digits, as many as the country's have, modulus 97."""
    moved = text[4:] + text[:4]
    return len(text) == _IBAN_LENGTHS.get(text[:2], 0) and int("".join(str(int(sign, 36)) for sign in moved)) % 97 == 1


def _weigh(digits: str, weights: tuple[int, ...]) -> int:
    weighed: int = sum(map(mul, digits.encode(), weights))
    return weighed - _ZERO * sum(weights)
