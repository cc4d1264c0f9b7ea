"""What a policy asks of guards: a dictionary that is asked for is there."""

from typing import Any

import pytest

from sekisho.access.dictionaries import Dictionary
from sekisho.api.v1alpha1.classificationpolicy import ClassificationPolicySpec
from sekisho.errors import Reason, RefusedError, UnavailableError
from sekisho.gateway.guards import memory
from sekisho.gateway.guards.rulebook import Rulebook
from sekisho.redact.categories import Category
from sekisho.redact.spans import Span


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


TENANT = Dictionary("legal/team", ("Polaris",), ("MB-[0-9]{6}",))


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (Dictionary("legal/bad", patterns=("(?=x)",)), "pattern 0 is not of RE2's syntax"),
        (Dictionary("legal/bad", patterns=("x*",)), "pattern 0 matches the empty text"),
        (Dictionary("legal/bad", words=(" x ",)), "word 0 has 1 characters"),
    ],
)
def test_a_tenants_dictionary_that_cannot_be_compiled_refuses_and_names_its_policy(
    broken: Dictionary, says: str
) -> None:
    with pytest.raises(UnavailableError) as refusal:
        build_book().beside((TENANT, broken))
    assert refusal.value.reason is Reason.POLICY_INVALID
    assert refusal.value.message.startswith("AccessPolicy legal/bad: the dictionary is refused: ")
    assert says in refusal.value.message


def test_a_tenants_words_add_to_the_clusters_for_this_tenant_alone() -> None:
    book = build_book(detect=("custom",), words=["北辰計画"])
    beside, text = book.beside((TENANT,)), "北辰計画とPOLARISのMB-123456"
    assert [span.category for span in beside.find(text)] == [Category.CUSTOM] * 3
    assert len(beside.redactor(frozenset({"custom"})).inspect(text)) == 3
    assert len(book.find(text)) == len(book.redactor(frozenset({"custom"})).inspect(text)) == 1
    assert book.beside(()) is book
    assert book.beside((TENANT,)) is beside


def test_a_tenants_dictionary_is_enough_where_the_cluster_has_none() -> None:
    book = build_book().beside((TENANT,))
    assert len(book.redactor(frozenset({"custom"})).inspect("polaris")) == 1


def test_the_largest_dictionary_that_may_be_applied_is_taken_and_books_are_bounded() -> None:
    sign = chr(0x4E00)
    words = tuple(chr(0x4E00 + number) + sign * 63 for number in range(200))
    most = Dictionary("legal/most", words, tuple(f"[a-z]{{9}}{chr(97 + at)}" + "x" * 240 for at in range(16)))
    assert len(build_book().beside((most,)).find(f"{words[7]}。{words[199]}")) == 2
    book = build_book()
    for number in range(40):
        book.beside((Dictionary(f"legal/{number}", (f"word{number}",)),))
    assert len(book._tenants) == 32


class Counting:
    """Knows one name, and how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def tag(self, text: str) -> list[Span]:
        self.asked += 1
        at = text.find("太郎")
        return [Span(at, at + 2, Category.PERSON)] if at >= 0 else []


def test_a_turn_that_comes_again_is_looked_into_once_and_found_the_same() -> None:
    spec = {"unlabelled": "internal", "levels": [{"name": "internal", "detect": ["person"]}]}
    names = Counting()
    book = Rulebook(ClassificationPolicySpec.model_validate(spec), names)
    turn = "太郎 " + "word " * 40
    assert book.find(turn) == book.find(turn) == (Span(0, 2, Category.PERSON),)
    assert names.asked == 1
    assert book.find(f"{turn}!") == (Span(0, 2, Category.PERSON),)
    assert names.asked == 2
    book.find("short")
    book.find("short")
    assert names.asked == 4
    assert book.find("\ud800" * 200) == ()


def test_what_is_remembered_is_bounded_and_holds_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_MAX_KEPT", 10)
    book = build_book()
    texts = [f"taro{at}@example.co.jp " + "word " * 40 for at in range(25)]
    found = [book.find(text) for text in texts]
    assert len(book._seen) <= 10
    assert [book.find(text) for text in texts] == found
    assert "taro" not in repr(book._seen._kept)
    many = "taro@example.co.jp " * 100
    assert len(book.find(many)) == len(book.find(many)) == 100
    assert all(len(survey.spans) < 100 for survey, _ in book._seen._kept.values())
