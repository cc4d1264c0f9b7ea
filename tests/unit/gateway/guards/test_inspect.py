"""What a request holds is told by category, count and place; the class is raised by what the policy names."""

from sekisho.api.v1alpha1.classificationpolicy import ClassificationPolicySpec
from sekisho.classify.lattice import DataClass
from sekisho.gateway.guards.inspect import Inspection, explain, inspect_request, read_raisings
from sekisho.gateway.guards.texts import walk
from sekisho.redact.categories import Category
from sekisho.redact.detect import Detector

POLICY = ClassificationPolicySpec.model_validate({
    "unlabelled": "internal",
    "levels": [{"name": "internal"}, {"name": "restricted", "detect": ["secret"]}],
    "compartments": [{"name": "my-number", "detect": ["jp-my-number"]}, {"name": "pay", "detect": ["payment"]}],
})  # fmt: skip
MY_NUMBER = "123456789018"
SECRET = "AKIAIOSFODNN7EXAMPLE"


def look(*contents: str) -> Inspection:
    body = {"messages": [{"role": "user", "content": content} for content in contents]}
    return inspect_request(walk(body), Detector(frozenset(Category)).detect, read_raisings(POLICY))


def test_harmless_text_raises_nothing() -> None:
    assert look("what is a class?") == Inspection()
    assert explain(()) is None


def test_an_item_adds_its_compartment_and_says_where_it_stands() -> None:
    found = look("hello", f"私のマイナンバーは{MY_NUMBER}です")
    (floor,) = found.floors
    assert floor.value == DataClass(0, "internal", frozenset({"my-number"}))
    assert floor.source == "detected jp-my-number (1 item at offset 9 of messages[1].content)"
    assert explain(found.floors) == (
        "the prompt was found to hold jp-my-number (1 item at offset 9 of messages[1].content)"
    )
    assert found.describe() == {"jp-my-number": 1}


def test_earlier_turns_count_as_the_last_does() -> None:
    assert look(f"マイナンバー {MY_NUMBER}", "thank you", "and now?").floors == look(f"マイナンバー {MY_NUMBER}").floors


def test_a_bare_number_is_what_the_turn_before_asked_for() -> None:
    found = look("口座番号を教えてください。", "はい、 1234567 です")
    assert found.counts == {Category.BANK_ACCOUNT: 1}
    assert found.floors[0].source == "detected bank-account (1 item at offset 4 of messages[1].content)"
    assert look("いくつありますか。", "はい、 1234567 です").counts == {}
    assert look("口座番号を教えてください。" + "。" * 60, "はい、 1234567 です").counts == {}
    assert look("mail taro@example.co.jp", "1 mail hanako@example.co.jp").counts == {Category.EMAIL: 2}


def test_an_item_of_a_levels_own_raises_to_that_level() -> None:
    (floor,) = look(f"key {SECRET}, again {SECRET}").floors
    assert floor.value == DataClass(1, "restricted")
    assert floor.source == "detected secret-key (2 items, the first at offset 4 of messages[0].content)"


def test_several_kinds_raise_together() -> None:
    found = look(f"マイナンバー {MY_NUMBER} カード 4111 1111 1111 1111 {SECRET}")
    assert [floor.value.level for floor in found.floors] == ["restricted", "internal", "internal"]
    assert found.counts == {Category.JP_MY_NUMBER: 1, Category.CARD: 1, Category.SECRET_KEY: 1}


def test_nothing_of_the_text_stands_in_what_is_told() -> None:
    told = repr(look(f"マイナンバー {MY_NUMBER}, {SECRET}"))
    assert MY_NUMBER not in told
    assert SECRET not in told


def test_text_that_looks_like_a_placeholder_is_no_find_and_many_finds_are_counted_but_not_all_placed() -> None:
    assert look("[[EML-7Q0C2M9XK4BD]]").counts == {}
    many = look(*["taro@example.co.jp " * 10] * 4)
    assert many.counts == {Category.EMAIL: 40}
    assert len(many.places) == 16
