"""RE2's own functions say what its wrapper for Python says."""

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from sekisho.redact.linear import Linear

PATTERNS = ["ab?", "[0-9]{2,}|[a-z]+x", "語|\\s", "a.c", "[^a]"]
TEXTS = st.text(st.sampled_from("abcxAB01 \n語é"), max_size=30)


@given(st.sampled_from(PATTERNS), TEXTS, st.booleans())
def test_matches_are_those_of_the_wrapper(pattern: str, text: str, any_case: bool) -> None:
    options, data = re2.Options(), text.encode()
    options.case_sensitive, options.dot_nl = not any_case, any_case
    expected = [match.span() for match in re2.compile(pattern.encode(), options).finditer(data)]
    linear = Linear(pattern, any_case=any_case)
    assert list(linear.find(data)) == expected
    assert linear.stands_in(data) == bool(expected)


def test_nothing_is_found_in_nothing() -> None:
    linear = Linear("a")
    assert list(linear.find(b"")) == []
    assert not linear.stands_in(b"")


def test_an_expression_that_matches_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="an expression that matches nothing is found everywhere"):
        Linear("a|b*")
