import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.classify.jurisdiction import EU_MEMBERS, OUTSIDE_EU, covers, is_covered, meet

CODES = st.sampled_from(
    ["EU", "DE", "DE-BY", "FR", "FR-NC", "FR-75C", "NL", "NL-AW", "JP", "JP-13", "US", "US-CA", "GB"]
)


@pytest.mark.parametrize(
    ("rule", "site"),
    [("JP", "DE"), ("DE", "EU"), ("DE-BY", "DE"), ("US-CA", "US"), ("EU", "GB"), ("EU", "CH"), ("EU", "FR-NC"),
     ("FR", "FR-NC"),     ("EU", "NL-AW"), ("EU", "US-CA"), ("D", "DE"), ("JP", "EU"), ("EU", "EU-1")],
)  # fmt: skip
def test_a_rule_does_not_cover_what_may_lie_outside_it(rule: str, site: str) -> None:
    assert not covers(rule, site)


@pytest.mark.parametrize(
    ("rule", "site"),
    [
        ("JP", "JP"),
        ("DE", "DE-BY"),
        ("EU", "EU"),
        ("EU", "DE"),
        ("EU", "GR"),
        ("EU", "DE-BY"),
        ("FR", "FR-75C"),
        ("FR-NC", "FR-NC"),
    ],
)
def test_a_rule_covers_itself_and_its_parts(rule: str, site: str) -> None:
    assert covers(rule, site)


def test_the_union_has_27_states_and_no_territory_is_one_of_them() -> None:
    assert len(EU_MEMBERS) == 27
    assert {code.split("-")[0] for code in OUTSIDE_EU} <= EU_MEMBERS


def test_an_empty_rule_covers_nothing() -> None:
    assert not is_covered((), "JP")


def test_a_level_for_the_union_and_a_compartment_for_one_state_allow_that_state() -> None:
    assert meet(["JP", "EU"], ["DE", "GB"]) == {"DE"}
    assert meet(["JP"], ["EU"]) == set()


@settings(deadline=None)
@given(st.frozensets(CODES), st.frozensets(CODES), CODES)
def test_what_two_rules_meet_in_covers_exactly_what_both_cover(
    left: frozenset[str], right: frozenset[str], site: str
) -> None:
    both = is_covered(left, site) and is_covered(right, site)
    assert is_covered(meet(left, right), site) == both
