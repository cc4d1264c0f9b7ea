"""The benchmark of masking: a side that masks differently, or nothing, is an error."""

import pytest

from bench.catalogue import build_registry
from bench.harness import WrongAnswerError
from bench.redact.benchmarks import build_masking, demand_same
from bench.redact.made import KINDS, make
from bench.redact.quality import measure, read_made


def test_sides_that_mask_differently_or_nothing_are_wrong() -> None:
    with pytest.raises(WrongAnswerError, match="mask differently"):
        demand_same(["a"], ["b"])
    with pytest.raises(WrongAnswerError, match="hardly anything"):
        demand_same(["a", "b"], ["a", "b"])


def test_both_sides_mask_the_same() -> None:
    pair = build_masking(count=8)
    (size, expected), (other, found) = pair.reference(), pair.candidate()
    assert size == other
    pair.check(expected, found)


def test_it_is_registered_with_its_goal() -> None:
    (item,) = build_registry().choose(["F1"])
    assert (item.goal, item.direction) == (10, "min")


def test_quality_counts_what_is_missed_and_what_is_false() -> None:
    items = make(3, 5)
    assert {item.category for item in items} == {None, *KINDS}
    counts, samples = measure([("nothing here", [(0, 7, next(iter(KINDS)))]), ("090-1234-5678", [])])
    assert sum(row["missed"] for row in counts.values()) == 1
    assert sum(row["false"] for row in counts.values()) == 1
    assert len(samples) == 2


def test_made_items_are_found_and_look_alikes_are_not() -> None:
    counts, samples = measure(read_made(make(5, 20)))
    for category, row in counts.items():
        found, missed, false = row["found"], row["missed"], row["false"]
        assert found / (found + missed) >= 0.99, (category, samples)
        assert found / (found + false) >= 0.97, (category, samples)
