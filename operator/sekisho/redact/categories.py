"""What can be found, what policies call it, and what the laws call it."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from sekisho.errors import Reason, RefusedError


class Category(StrEnum):
    """Name a kind of item; the value is the word of `detect` and `redact` in policies."""

    JP_MY_NUMBER = "jp-my-number"
    JP_CORPORATE_NUMBER = "jp-corporate-number"
    JP_DRIVERS_LICENCE = "jp-drivers-licence"
    JP_PASSPORT = "jp-passport"
    JP_RESIDENCE_CARD = "jp-residence-card"
    JP_PENSION_NUMBER = "jp-pension-number"
    JP_HEALTH_INSURANCE = "jp-health-insurance"
    US_SSN = "us-ssn"
    BANK_ACCOUNT = "bank-account"
    CARD = "card"
    IBAN = "iban"
    PHONE = "phone"
    EMAIL = "email"
    JP_POSTAL_CODE = "jp-postal-code"
    JP_ADDRESS = "jp-address"
    IP_ADDRESS = "ip-address"
    PERSON = "person"
    PLACE = "place"
    SECRET_KEY = "secret-key"  # noqa: S105 - the name of a kind
    CUSTOM = "custom"
    PLACEHOLDER = "placeholder"

    # Enumerations hash their names by a function in Python; sets of these are asked for every find.
    __hash__ = str.__hash__


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a category stands for.

    Attributes:
        code: Three letters that stand in placeholders.
        group: The word of policies for it and its like.
        appi: What Japan's Act on the Protection of Personal Information (and the My Number Act) calls it.
        gdpr: What the General Data Protection Regulation calls it.
        rank: Who wins among spans of one length; the greater.
    """

    code: str
    group: str
    appi: str
    gdpr: str
    rank: int


_SPECIFIC: Final = "specific personal information (My Number Act Art. 2)"
_IDENTIFIER: Final = "individual identification code (APPI Art. 2(2))"
_RELATED: Final = "personal-related information (APPI Art. 2(7))"
_PERSONAL: Final = "personal information (APPI Art. 2(1))"
_NATIONAL: Final = "national identification number (GDPR Art. 87)"
_DATA: Final = "personal data (GDPR Art. 4(1))"
_ONLINE: Final = "online identifier (GDPR Art. 4(1), recital 30)"
_NONE: Final = "no personal data by itself"
_SAFETY: Final = "security control (APPI Art. 23)"

MEANINGS: Final = MappingProxyType(
    {
        Category.JP_MY_NUMBER: Meaning("MYN", "government-id", _SPECIFIC, _NATIONAL, 90),
        Category.JP_CORPORATE_NUMBER: Meaning("CRP", "organisation-id", _NONE, _NONE, 60),
        Category.JP_DRIVERS_LICENCE: Meaning("LIC", "government-id", _IDENTIFIER, _NATIONAL, 88),
        Category.JP_PASSPORT: Meaning("PSP", "government-id", _IDENTIFIER, _NATIONAL, 87),
        Category.JP_RESIDENCE_CARD: Meaning("RES", "government-id", _IDENTIFIER, _NATIONAL, 86),
        Category.JP_PENSION_NUMBER: Meaning("PEN", "government-id", _IDENTIFIER, _NATIONAL, 85),
        Category.JP_HEALTH_INSURANCE: Meaning("HIN", "government-id", _IDENTIFIER, _NATIONAL, 84),
        Category.US_SSN: Meaning("SSN", "government-id", _PERSONAL, _NATIONAL, 83),
        Category.BANK_ACCOUNT: Meaning("BNK", "payment", _PERSONAL, _DATA, 70),
        Category.CARD: Meaning("CRD", "payment", _PERSONAL, _DATA, 80),
        Category.IBAN: Meaning("IBN", "payment", _PERSONAL, _DATA, 82),
        Category.PHONE: Meaning("TEL", "contact", _PERSONAL, _DATA, 75),
        Category.EMAIL: Meaning("EML", "contact", _PERSONAL, _DATA, 76),
        Category.JP_POSTAL_CODE: Meaning("ZIP", "address", _PERSONAL, _DATA, 55),
        Category.JP_ADDRESS: Meaning("ADR", "address", _PERSONAL, _DATA, 65),
        Category.IP_ADDRESS: Meaning("IPA", "network", _RELATED, _ONLINE, 50),
        Category.PERSON: Meaning("PER", "name", _PERSONAL, _DATA, 45),
        Category.PLACE: Meaning("PLC", "location", _RELATED, "location data (GDPR Art. 4(1))", 40),
        Category.SECRET_KEY: Meaning("KEY", "secret", _SAFETY, "security of processing (GDPR Art. 32)", 95),
        Category.CUSTOM: Meaning("CUS", "custom", "as the tenant says", "as the tenant says", 98),
        Category.PLACEHOLDER: Meaning("LIT", "placeholder", _NONE, _NONE, 99),
    }
)  # fmt: skip

# What only a dictionary of names finds, which whoever runs this has to bring.
BY_TAGGER: Final = frozenset({Category.PERSON, Category.PLACE})


@dataclass(frozen=True, slots=True)
class Selection:
    """What a policy's words come to.

    Attributes:
        categories: What is looked for.
    """

    categories: frozenset[Category]

    @property
    def lacking(self) -> frozenset[Category]:
        """Return what is found only by a dictionary of names; where none is loaded, whoever asked must be refused."""
        return self.categories & BY_TAGGER


def select(words: Iterable[str]) -> Selection:
    """Resolve words of a policy, each a category or a group.

    Raises:
        RefusedError: `PolicyInvalid`, a word names nothing known.
    """
    wanted = frozenset(words)
    found = frozenset(item for item in Category if item.value in wanted or MEANINGS[item].group in wanted)
    known = {item.value for item in Category} | {item.group for item in MEANINGS.values()}
    unknown = sorted(wanted - known)
    if unknown:
        raise RefusedError(
            Reason.POLICY_INVALID,
            f"the policy names the category {unknown[0]!r} to be detected or redacted, and there is none of that name; "
            f"use some of {', '.join(sorted(known - {'placeholder'}))}",
        )
    return Selection(found)
