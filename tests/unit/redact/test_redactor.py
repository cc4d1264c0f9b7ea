"""What the gateway holds: refused where it could not keep its word."""

from collections.abc import Iterator

import pytest

from sekisho.errors import Reason, RefusedError
from sekisho.redact.categories import Category, select
from sekisho.redact.custom import compile_custom
from sekisho.redact.placeholders import derive_key
from sekisho.redact.redactor import Redactor
from sekisho.redact.spans import Span

KEY = derive_key(bytes(32), tenant="a", conversation="b")


class Knows:
    """A tagger that knows one name and one place."""

    def tag(self, text: str) -> Iterator[Span]:
        for word, category in (("田中", Category.PERSON), ("大手町", Category.PLACE)):
            start = text.find(word)
            if start >= 0:
                yield Span(start, start + len(word), category)


def test_names_without_a_dictionary_are_refused() -> None:
    with pytest.raises(RefusedError) as refusal:
        Redactor(select(["person", "location"]))
    assert refusal.value.reason is Reason.POLICY_INVALID
    assert refusal.value.message == (
        "the policy asks for person and place, and no dictionary of names is loaded here; load one, or take the word "
        "out of the policy"
    )


def test_what_is_asked_for_is_found_and_nothing_else() -> None:
    redactor = Redactor(select(["person", "contact"]), compile_custom(["極秘"], []), Knows())
    text = "大手町の田中、０９０−１２３４−５６７８、極秘、203.0.113.9"
    found = [(text[span.start : span.end], span.category) for span in redactor.inspect(text)]
    assert found == [("田中", Category.PERSON), ("０９０−１２３４−５６７８", Category.PHONE), ("極秘", Category.CUSTOM)]


def test_names_are_not_looked_for_where_nobody_asks() -> None:
    assert Redactor(select(["contact"]), names=Knows()).inspect("田中") == ()


def test_offsets_of_names_are_those_of_the_text_before_folding() -> None:
    (span,) = Redactor(select(["person"]), names=Knows()).inspect("㈱の田中")
    assert (span.start, span.end) == (2, 4)


def test_a_session_masks_and_restores() -> None:
    session = Redactor(select(["person"]), names=Knows()).new_session(KEY)
    masked = session.redact("田中は田中")
    assert "田中" not in masked
    assert masked.startswith("[[PER-")
    assert session.restorer().feed(masked) == "田中は田中"


class Names:
    """A tagger that knows two names in full."""

    def tag(self, text: str) -> Iterator[Span]:
        for name in ("﨑山 みほ", "Rubija Liberšar", "Xu O"):
            start = text.find(name)
            if start >= 0:
                yield Span(start, start + len(name), Category.PERSON)


def test_a_part_of_a_name_that_the_request_gave_away_is_taken_out_as_well() -> None:
    session = Redactor(select(["person"]), names=Names()).new_session(KEY)
    texts = ["﨑山 みほ様とRubija Liberšar、Xu O", "﨑山の件、Rubijaより", "O, Xu and Rubijas"]
    masked = session.redact_all(texts)
    assert not any(part in text for part in ("﨑山", "みほ", "Liberšar") for text in masked)
    assert masked[2] == texts[2]
    restorer = session.restorer()
    assert [restorer.feed(text) for text in masked] == texts
