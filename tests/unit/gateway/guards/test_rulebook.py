"""What a policy asks of guards: a dictionary that is asked for is there."""

from typing import Any

import pytest

from sekisho.api.v1alpha1.classificationpolicy import ClassificationPolicySpec
from sekisho.errors import Reason, RefusedError
from sekisho.gateway.guards.rulebook import Rulebook
from sekisho.redact.categories import Category


def build_book(*, detect: tuple[str, ...] = (), **dictionary: Any) -> Rulebook:
    spec: dict[str, Any] = {"unlabelled": "internal", "levels": [{"name": "internal", "detect": list(detect)}]}
    if dictionary:
        spec["dictionary"] = dictionary
    return Rulebook(ClassificationPolicySpec.model_validate(spec))


@pytest.mark.parametrize("asked_by", ["redact", "detect"])
def test_custom_without_a_dictionary_is_refused(asked_by: str) -> None:
    with pytest.raises(RefusedError) as refusal:
        build_book(detect=("custom",) if asked_by == "detect" else ()).redactor(frozenset({"custom"}))
    assert refusal.value.reason is Reason.POLICY_INVALID
    assert "asks for custom, and its spec.dictionary holds no word and no pattern" in refusal.value.message


def test_a_pattern_that_cannot_be_compiled_is_refused() -> None:
    with pytest.raises(RefusedError) as refusal:
        build_book(patterns=["(?=x)"])
    assert refusal.value.reason is Reason.POLICY_INVALID
    assert "pattern 0 is not of RE2's syntax" in refusal.value.message


def test_words_and_patterns_of_the_organisation_are_custom() -> None:
    book = build_book(detect=("custom",), words=["北辰計画"], patterns=["MB-[0-9]{6}"])
    text = "北辰計画のMB-123456"
    assert [span.category for span in book.find(text)] == [Category.CUSTOM] * 2
    assert len(book.redactor(frozenset({"custom"})).inspect(text)) == 2
    assert book.redactor(frozenset({"phone"})).inspect(text) == ()
