"""Overlaps: nothing found stays uncovered, and the order of finding does not matter."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from sekisho.redact.categories import Category
from sekisho.redact.spans import Span, resolve

SPANS = st.lists(
    st.builds(lambda a, n, c: Span(a, a + n, c), st.integers(0, 30), st.integers(1, 9), st.sampled_from(Category)),
    max_size=8,
)


def test_a_tenants_own_wins_over_a_longer_one() -> None:
    assert resolve([Span(0, 9, Category.PHONE), Span(3, 5, Category.CUSTOM)]) == (Span(0, 9, Category.CUSTOM),)


def test_the_longer_wins_and_covers_what_the_shorter_had() -> None:
    assert resolve([Span(0, 4, Category.CARD), Span(3, 9, Category.PHONE)]) == (Span(0, 9, Category.PHONE),)


def test_of_equals_the_higher_rank_wins() -> None:
    assert resolve([Span(0, 4, Category.CARD), Span(0, 4, Category.JP_MY_NUMBER)]) == (
        Span(0, 4, Category.JP_MY_NUMBER),
    )


@given(SPANS, st.randoms())
def test_resolved_spans_cover_the_same_and_do_not_overlap(spans: list[Span], rng: object) -> None:
    resolved = resolve(spans)
    mixed = list(spans)
    rng.shuffle(mixed)  # type: ignore[attr-defined]
    assert resolve(mixed) == resolved
    assert all(one.end <= two.start for one, two in itertools.pairwise(resolved))
    assert {i for s in spans for i in range(s.start, s.end)} == {i for s in resolved for i in range(s.start, s.end)}


@given(SPANS, st.integers(2, 3))
def test_what_is_found_twice_counts_once(spans: list[Span], times: int) -> None:
    assert resolve(spans * times) == resolve(set(spans))
