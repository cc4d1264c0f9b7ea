"""What an inspection found is what masking takes out: nothing is looked for twice, and nothing is lost by that."""

# ruff: noqa: E501 - a Japanese sign counts as two columns

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.api.v1alpha1.classificationpolicy import ClassificationPolicySpec
from sekisho.gateway.guards import rulebook
from sekisho.gateway.guards.guarding import Guarded, Guards, Way
from sekisho.gateway.guards.inspect import inspect_request
from sekisho.gateway.guards.masking import mask_body, open_redaction
from sekisho.gateway.guards.masterkey import MasterKey
from sekisho.gateway.guards.rulebook import Rulebook, Surveys
from sekisho.gateway.guards.texts import find_texts, walk
from sekisho.redact.categories import MEANINGS, Category
from sekisho.redact.detect import Detector
from sekisho.redact.fold import fold
from sekisho.redact.spans import Span
from tests.unit.gateway.guards.test_texts import BODY, MARK, plant, strings
from tests.unit.placement.build import RULES, replace

MASTER = bytes(range(32))
# Items that lie over one another, in several scripts and widths, some longer than what is remembered.
PIECES = (
    "北辰計画", "田中太郎", "大阪", "taro@example.co.jp", "大阪の田中太郎090-1234-5678", "０９０－１２３４－５６７８", "個人番号 123456789018",
    "住所は大阪府大阪市北区梅田1-2-3", "口座番号 1234567", "カード番号は4111 1111 1111 1111", "MB-123456", "090-1234-5678MB-123456",
    "電話MB-090-1234-5678", "[[EML-7Q0C2M9XK4BD]]", "password=abcd1234efgh", "\u200b", "\\u0030\\u0039", "よろしくお願いします。", "\ud83d", "{", '"', "word " * 30,
)  # fmt: skip
WORDS = sorted({meaning.group for meaning in MEANINGS.values()} - {"placeholder"} | {"phone", "card", "person"})
SPEC: dict[str, Any] = {
    "unlabelled": "low",
    "levels": [{"name": "low"}, {"name": "high", "detect": ["payment"]}],
    "dictionary": {"words": ["北辰計画"], "patterns": ["MB-[-0-9]{6,13}"]},
}


class Names:
    """Knows two names and how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    def tag(self, text: str) -> Iterable[Span]:
        self.asked += 1
        for name, category in (("田中太郎", Category.PERSON), ("大阪", Category.PLACE)):
            start = text.find(name)
            while start >= 0:
                yield Span(start, start + len(name), category)
                start = text.find(name, start + 1)


def build_book(*, named: bool = False, names: Names | None = None) -> Rulebook:
    detect = ["payment", "person"] if named else ["payment"]
    spec = SPEC | {"levels": [{"name": "low"}, {"name": "high", "detect": detect}]}
    return Rulebook(ClassificationPolicySpec.model_validate(spec), names or Names())


BOOKS = {named: build_book(named=named) for named in (False, True)}


def mask_both(book: Rulebook, body: dict[str, Any], words: frozenset[str]) -> tuple[Any, Any]:
    """Mask by what the inspection found, and by looking anew; each with what it counted and took out."""
    surveys, walked = Surveys(), walk(body)
    inspect_request(walked, lambda text: book.find(text, surveys), book.raisings)
    redactor, told = book.redactor(words), []
    for find in (book.finder(redactor, surveys), None):
        redaction = open_redaction(redactor, MASTER, tenant="t", body=body, find=find)
        masked = mask_body(body, redaction, walked if find else None)
        told.append((masked, dict(redaction.counts), dict(redaction.values)))
    return told[0], told[1]


@pytest.mark.parametrize("words", [("contact", "custom"), ("name",), ("payment", "location", "address"), ("network",)])
def test_in_every_place_of_a_request_the_same_is_taken_out_as_by_looking_anew(words: tuple[str, ...]) -> None:
    text = "大阪の田中太郎、090-1234-5678MB-123456、北辰計画、カード番号は4111 1111 1111 1111、10.20.30.40"
    for path in strings(BODY):
        if path != ("model",):
            body = json.loads(json.dumps(plant(path)).replace(MARK, text))
            shared, anew = mask_both(build_book(), body, frozenset(words))
            assert shared == anew, path
            assert shared[1], path


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.lists(st.sampled_from(PIECES), max_size=6).map("".join), min_size=1, max_size=4),
    st.frozensets(st.sampled_from(WORDS), min_size=1, max_size=3),
    st.booleans(),
    st.booleans(),
)
def test_whatever_stands_in_turns_the_same_is_taken_out_as_by_looking_anew(
    turns: list[str], words: frozenset[str], named: bool, documents: bool
) -> None:
    said = [json.dumps({"a": turn}, ensure_ascii=bool(at % 2)) if documents else turn for at, turn in enumerate(turns)]
    roles = ("user", "assistant")
    body = {"messages": [{"role": roles[at % 2], "content": content} for at, content in enumerate(said)]}
    # The second time, what the first left is remembered.
    for _ in range(2):
        shared, anew = mask_both(BOOKS[named], body, words)
        assert shared == anew


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(PIECES), max_size=6).map("".join), st.frozensets(st.sampled_from(Category)))
def test_what_a_detector_chooses_of_anothers_survey_is_what_it_detects(text: str, wanted: frozenset[Category]) -> None:
    custom, names = BOOKS[False]._custom, Names()
    every, some = Detector(frozenset(Category), custom, names), Detector(wanted, custom, names)
    fewest = Detector(frozenset(), custom, names)
    assert some.choose(every.survey(text)) == some.detect(text)
    assert some.choose(some.survey(text, fewest.survey(text))) == some.detect(text)


def test_what_there_is_no_room_to_keep_is_looked_for_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rulebook, "_MAX_SURVEYED", 3)
    body = {"messages": [{"role": "user", "content": f"電話 090-1234-567{at}"} for at in range(5)]}
    surveys, book = Surveys(), build_book()
    for text in find_texts(body):
        book.find(text.value, surveys)
    assert surveys.get("電話 090-1234-5670") is not None
    assert surveys.get("電話 090-1234-5674") is None
    shared, anew = mask_both(book, body, frozenset({"contact"}))
    assert shared == anew
    assert shared[1] == {Category.PHONE: 5}


def test_names_that_an_inspection_does_not_want_are_looked_for_once_and_remembered_for_later_turns() -> None:
    names = Names()
    book = build_book(names=names)
    turn = "田中太郎です。" + "word " * 40
    body = {"messages": [{"role": "user", "content": turn}]}
    for _ in range(3):
        surveys, walked = Surveys(), walk(body)
        found = inspect_request(walked, lambda text, kept=surveys: book.find(text, kept), book.raisings)
        assert found.counts == {}
        find = book.finder(book.redactor(frozenset({"person"})), surveys)
        assert find(turn) == (Span(0, 4, Category.PERSON),)
    assert names.asked == 1


async def test_a_request_is_looked_into_once_and_what_was_found_is_gone_with_its_masking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_bytes(MASTER)
    guards, book, looked = Guards(MasterKey(tmp_path / "key")), build_book(), []
    survey = Detector.survey

    def count(self: Detector, text: str, known: Any = None, **rest: Any) -> Any:
        found = survey(self, text, known, **rest)
        looked.extend([text] if found is not known else [])
        return found

    monkeypatch.setattr(Detector, "survey", count)
    body = {
        "messages": [{"role": "user", "content": "taro@example.co.jp"}, {"role": "user", "content": '{"tel": "x"}'}]
    }
    try:
        guarded = await guards.look(book, body, body_bytes=100, who="a")
        rules = replace(RULES, burst="AfterRedaction", redact=frozenset({"contact"}))
        assert len(looked) == 2
        for times in (1, 2):
            sent = await guards.mask(book, rules, Way("ManagedApi", frozenset(), "t"), body=body, guarded=guarded)
            assert "taro" not in json.dumps(sent)
            assert guarded.surveys.get("taro@example.co.jp") is None
            # Whoever masks once more looks anew.
            assert (len(looked) == 2) == (times == 1)
    finally:
        guards.close()
    assert "taro" not in repr(Guarded(walked=walk(body), surveys=guarded.surveys))


def test_a_text_is_folded_once_for_all_who_read_it_and_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rulebook, "_MAX_FOLDED", 10)
    surveys = Surveys()
    short = surveys.fold("０９０－１")
    assert short.text == "090-1"
    assert surveys.fold("０９０－１") is short
    long = surveys.fold("０９０－１２")
    assert long == fold("０９０－１２")
    assert surveys.fold("０９０－１２") is not long
