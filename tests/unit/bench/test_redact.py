"""The benchmark of masking: a side that masks differently, or nothing, is an error."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pytest

from bench.catalogue import build_registry
from bench.harness import WrongAnswerError
from bench.redact.benchmarks import build_masking, demand_same
from bench.redact.made import KINDS, make
from bench.redact.plain import detect_in_turn, without_re2
from bench.redact.presidio import demand_same_items, mask_here
from bench.redact.quality import (
    ENGLISH,
    JAPANESE,
    Marked,
    measure,
    rates,
    read_english,
    read_japanese,
    read_made,
    show,
)
from sekisho.gateway.tagging import load_tagger
from sekisho.redact.categories import Category
from sekisho.redact.detect import Detector


def test_sides_that_mask_differently_or_nothing_are_wrong() -> None:
    with pytest.raises(WrongAnswerError, match="mask differently"):
        demand_same(["a"], ["b"])
    with pytest.raises(WrongAnswerError, match="hardly anything"):
        demand_same(["a", "b"], ["a", "b"])


def test_presidio_that_finds_other_items_or_none_is_wrong() -> None:
    with pytest.raises(WrongAnswerError, match="different items"):
        demand_same_items([[(0, 1, "US_SSN")]], [[]])
    with pytest.raises(WrongAnswerError, match="hardly anything"):
        demand_same_items([[], []], [[], []])


def test_presidios_entities_are_masked_here() -> None:
    found = mask_here(["write to jane.doe@example.com. my SSN is 536-90-4399."])
    assert [name for _, _, name in found[0]] == ["EMAIL_ADDRESS", "US_SSN"]
    demand_same_items(found, found)


def test_both_sides_mask_the_same() -> None:
    pair = build_masking(count=8)
    (size, expected), (other, found) = pair.reference(), pair.candidate()
    assert size == other
    pair.check(expected, found)


def test_both_sides_find_the_same_in_every_sentence_that_prompts_are_made_of() -> None:
    detector = Detector(frozenset(Category))
    texts = [planted.text for planted in make(11, 20)]
    with without_re2():
        expected = [detect_in_turn(text) for text in texts]
    assert [detector.detect(text) for text in texts] == expected
    assert sum(map(bool, expected)) > len(texts) // 2


def test_it_is_registered_with_its_goal() -> None:
    items = build_registry().choose(["F1", "F2"])
    assert [(item.goal, item.direction) for item in items] == [(10, "min"), (30, "min")]


def test_quality_counts_what_is_missed_and_what_is_false() -> None:
    items = make(3, 5)
    assert {item.category for item in items} == {None, *KINDS}
    texts = [Marked("nothing here", ((0, 7, "phone"),)), Marked("090-1234-5678", ((0, 13, "order"),))]
    result = measure(texts, {"phone": Category.PHONE})
    assert (result.counts["phone"]["missed"], result.counts["phone"]["false"]) == (1, 1)
    assert result.confused == {("phone", "order"): 1}
    assert len(result.samples) == 2


def test_rates_of_nothing_are_no_numbers() -> None:
    assert all(math.isnan(rate) for rate in rates(Counter()))
    assert rates(Counter(found=3, whole=2, missed=1, false=1)) == (0.75, 0.5, 0.75)


def test_a_table_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    show("title", measure([Marked("090-1234-5678", ())], {"phone": Category.PHONE}))
    assert "1 times phone where the set has -" in capsys.readouterr().out


def test_made_items_are_found_and_look_alikes_are_not() -> None:
    result = measure(read_made(make(5, 20)), {item.value: item for item in Category})
    for category, row in result.counts.items():
        _, whole, precision = rates(row)
        assert whole >= 0.99, (category, result.samples)
        assert precision >= 0.97, (category, result.samples)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "read", "words", "recall", "precision"),
    [("ner_ja_dev.json", read_japanese, JAPANESE, 0.90, 0.75), ("pii_en_dev.json", read_english, ENGLISH, 0.80, 0.75)],
)
def test_people_of_the_development_sets_are_found(
    name: str,
    read: Callable[[Path], Iterable[Marked]],
    words: Mapping[str, Category],
    recall: float,
    precision: float,
) -> None:
    path = Path(__file__).parents[4] / "shared/datasets" / name
    if not path.exists():
        pytest.skip(f"the set {name} is not beside the repository")
    detector = Detector(frozenset({Category.PERSON}), None, load_tagger())
    found, _, right = rates(measure(read(path), words, detector).counts["person"])
    assert found >= recall
    assert right >= precision
