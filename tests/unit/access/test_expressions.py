"""Expressions in CEL: refused with their place when they cannot be computed, never a yes by accident."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.access.expressions import parse_expression
from sekisho.errors import Reason, RefusedError

FACTS: dict[str, Any] = {
    "claims": {"groups": ["legal", "all"], "email": "ann@example.test", "email_verified": True, "level": 3},
    "user": "oidc:corp:ann", "groups": ["legal"], "issuer": "corp", "model": "legal/chat",
}  # fmt: skip
BAD = {
    "nothing": ("", "it has 0 characters, 1 to 1024 are possible"),
    "too long": ("a" * 1025, "it has 1025 characters"),
    "half an expression": ("claims.x ==", "at 1:12: Syntax error"),
    "a name that nobody gave": ("clams.x == 1", "at 1:6: undeclared reference to 'clams.x'"),
    "the class, which no expression may see": ("class.level == 'public'", "class"),
    "text where true or false is wanted": ("user", "it comes to STRING, not to true or false"),
    "whatever a claim may be": ("claims.sub", "it comes to DYN, not to true or false"),
    "a number compared with text": ("user == 5", "no matching overload"),
    "members of the wrong type": ("groups.exists(g, g == 1)", "no matching overload"),
    "too deep": ("(" * 400 + "true" + ")" * 400, "recursion limit"),
}


@pytest.mark.parametrize(("text", "why"), BAD.values(), ids=BAD)
def test_what_cannot_be_computed_is_refused_where_it_is_written(text: str, why: str) -> None:
    with pytest.raises(RefusedError) as refused:
        parse_expression(text)
    assert refused.value.reason is Reason.INVALID_SPEC
    assert why in refused.value.message
    assert len(refused.value.message) < 600


NOT_TRUE = {
    "a missing claim": "claims.department == 'legal'",
    "a claim that is no list": "claims.email.exists(x, x == 'a')",
    "not of what is no truth": "!claims.email",
    "a claim that is false": "claims.email == 'bob@example.test'",
    "another group": "'hr' in groups",
    "work without end": "[1,2,3,4,5,6,7,8,9].all(a, [1,2,3,4,5,6,7,8,9].all(b, [1,2,3,4,5,6,7,8,9].all(c, "
    "[1,2,3,4,5,6,7,8,9].all(d, [1,2,3,4,5,6,7,8,9].all(e, a * b * c * d * e > 0)))))",
    "division by zero": "1 / (claims.level - 3) == 1",
}


@pytest.mark.parametrize("text", NOT_TRUE.values(), ids=NOT_TRUE)
def test_what_fails_or_is_not_true_denies(text: str) -> None:
    assert not parse_expression(text).is_true(FACTS)


TRUE = (
    "claims.groups.exists(g, g == 'legal')",
    "'legal' in groups && claims.email.endsWith('@example.test') && claims.email_verified == true",
    "issuer == 'corp' && model.startsWith('legal/')",
    "has(claims.level) && claims.level >= 2",
    "user.matches('^oidc:corp:[a-z]+$')",
)


@pytest.mark.parametrize("text", TRUE)
def test_what_is_true_lets_in(text: str) -> None:
    assert parse_expression(text).is_true(FACTS)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, max_examples=40)
@given(claims=st.dictionaries(st.sampled_from(["groups", "email", "x"]), JSON))
def test_no_claim_whatever_it_holds_makes_the_evaluation_fail_or_say_yes_by_itself(claims: dict[str, Any]) -> None:
    facts = {**FACTS, "claims": claims}
    for text in ("claims.groups.exists(g, g == 'legal')", "claims.x", "claims.email == 'ann@example.test'"):
        if text == "claims.x":
            continue
        wanted = "legal" in claims.get("groups", []) if isinstance(claims.get("groups"), list | dict) else False
        told = parse_expression(text).is_true(facts)
        assert told in {True, False}
        if text.startswith("claims.groups"):
            assert not told or wanted
        else:
            assert told == (claims.get("email") == "ann@example.test")


def test_a_bound_facts_map_is_needed_whole() -> None:
    assert not parse_expression("user == 'a'").is_true({})
    assert not parse_expression("user == 'a'").is_true({"user": object()})
