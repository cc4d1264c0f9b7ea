"""Whose law a site is under, and which jurisdictions of a rule cover it.

A rule names countries (ISO 3166-1 alpha-2), parts of countries (ISO 3166-2) or "EU". A country covers its parts ("DE"
covers "DE-BY"), and "EU" covers a site that says "EU", the member states and their parts; but territories of member
states to which the Union's law does not extend are covered by their own code alone. Nothing else covers anything but
itself: a site that says only "EU" is not known to be in "DE", and a site that says "US" is not known to be in "US-CA".
"""

from collections.abc import Iterable
from typing import Final

EU: Final = "EU"

# Treaty on European Union, article 52(1), as in force since 1 February 2020 (27 states), by their ISO 3166-1 codes
# (Greece is GR there).
EU_MEMBERS: Final = frozenset(
    ("AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT", "LT", "LU", "LV",
     "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK")
)  # fmt: skip

# Treaty on the Functioning of the European Union, annex II (overseas countries and territories), as far as ISO 3166-2
# lists them as parts of a member state; and Clipperton, which no treaty names.
OUTSIDE_EU: Final = frozenset(
    ("FR-BL", "FR-CP", "FR-NC", "FR-PF", "FR-PM", "FR-TF", "FR-WF", "NL-AW", "NL-BQ1", "NL-BQ2", "NL-BQ3", "NL-CW",
     "NL-SX")
)  # fmt: skip


def covers(rule: str, jurisdiction: str) -> bool:
    """Tell whether what is under `jurisdiction` is certainly under `rule` as well."""
    if rule == jurisdiction or jurisdiction in OUTSIDE_EU:
        return rule == jurisdiction
    country = jurisdiction.split("-", 1)[0]
    return country in EU_MEMBERS if rule == EU else rule == country


def is_covered(rules: Iterable[str], jurisdiction: str) -> bool:
    """Tell whether any of the rule's jurisdictions covers one."""
    return any(covers(rule, jurisdiction) for rule in rules)


def meet(left: Iterable[str], right: Iterable[str]) -> frozenset[str]:
    """Return what both sides allow: every entry that the other side covers."""
    first, second = frozenset(left), frozenset(right)
    return frozenset(
        {item for item in first if is_covered(second, item)} | {item for item in second if is_covered(first, item)}
    )
