"""What must not leave is out of every place of a request, and comes back in the answer, however that is cut."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.classify.rules import EffectiveRules
from sekisho.errors import Reason, RefusedError
from sekisho.gateway.dialects.answers import Channel
from sekisho.gateway.dialects.strict import FieldError
from sekisho.gateway.guards.answering import AnswerFilter
from sekisho.gateway.guards.masking import find_words, mask_body, name_conversation, name_tenant, open_redaction
from sekisho.gateway.guards.texts import Text, replace_texts, wants_json
from sekisho.redact.categories import BY_TAGGER, Category, Selection
from sekisho.redact.redactor import Redactor
from sekisho.redact.restore import Restorer
from sekisho.redact.session import Redaction
from tests.unit.gateway.guards.test_texts import BODY, plant, strings
from tests.unit.placement.build import RULES, replace

MASTER = bytes(range(32))
REDACTOR = Redactor(Selection(frozenset(Category) - BY_TAGGER))
MAIL = "taro@example.co.jp"
MY_NUMBER = "123456789018"
CONTENT, ARGUMENTS = Channel(0, "content"), Channel(0, "tool_arguments", 0)


def session(body: dict[str, Any]) -> Redaction:
    return open_redaction(REDACTOR, MASTER, tenant="t", body=body)


def mask(body: dict[str, Any]) -> tuple[dict[str, Any], Redaction]:
    redaction = session(body)
    return mask_body(body, redaction), redaction


def chat(*contents: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content} for content in contents]}


def rules(**changed: Any) -> EffectiveRules:
    return replace(RULES, **changed)


def test_a_class_that_may_leave_redacted_and_names_nothing_to_redact_does_not_leave() -> None:
    with pytest.raises(RefusedError, match="names nothing to redact") as refused:
        find_words(rules(burst="AfterRedaction"), "ManagedApi", frozenset({"email"}))
    assert refused.value.reason is Reason.POLICY_INVALID


def test_only_outside_of_closed_sites_does_the_class_say_what_is_redacted_and_a_profile_says_it_everywhere() -> None:
    some, profile = rules(burst="AfterRedaction", redact=frozenset({"email"})), frozenset({"card"})
    assert find_words(some, "Closed", frozenset()) == frozenset()
    assert find_words(some, "Closed", profile) == {"card"}
    for tier in ("OwnCloud", "ManagedApi", None):
        assert find_words(some, tier, profile) == {"card", "email"}
    assert find_words(rules(burst="Allowed"), "ManagedApi", frozenset()) == frozenset()


def test_a_part_that_is_no_text_cannot_be_redacted() -> None:
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    with pytest.raises(FieldError, match=r"messages\[0\]\.content\[0\] is no text") as refused:
        mask({"messages": [{"role": "user", "content": [part]}]})
    assert refused.value.param == "messages[0].content[0]"


def test_a_key_that_is_too_short_makes_no_placeholders() -> None:
    with pytest.raises(RefusedError) as refused:
        open_redaction(REDACTOR, b"short", tenant="t", body=chat("x"))
    assert refused.value.reason is Reason.KEY_UNSAFE


def test_wherever_an_item_stands_it_is_taken_out() -> None:
    for path in strings(BODY):
        if path not in {("model",), ("messages", 0, "role")} and path[-1] not in {"role", "type"}:
            body, _ = mask(plant(path))
            assert MAIL not in json.dumps(body), path
            assert "[[EML-" in json.dumps(body), path


@pytest.mark.parametrize("spelt", [
    f"私のメールは{MAIL}です", f"マイナンバー：{MY_NUMBER}", "個人番号１２３４５６７８９０１８",
    "個人番号 1234 5678 9018", "個人番号 1234-5678-9018",
    "電話は+81 90-1234-5678まで", '{"tel": "\\u0030\\u0039\\u0030-1234-5678"}', "cc 4111 1111 1111 1111",
], ids=range(8))  # fmt: skip
def test_in_whatever_form_an_item_is_written_it_is_taken_out_of_text_and_of_arguments(spelt: str) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": json.dumps({"note": spelt})}}
    body, redaction = mask(
        {"messages": [{"role": "user", "content": spelt}, {"role": "assistant", "tool_calls": [call]}]}
    )
    said = json.dumps(body, ensure_ascii=False)
    values = list(redaction.values.values())
    assert values
    assert not any(value in said for value in values)
    assert "9018" not in said
    assert "5678" not in said
    arguments = body["messages"][1]["tool_calls"][0]["function"]["arguments"]
    assert "[[" in json.loads(arguments)["note"]
    if "{" in spelt:
        assert json.loads(json.loads(arguments)["note"]) == json.loads(body["messages"][0]["content"])


def test_numbers_and_names_of_properties_in_arguments_are_taken_out_and_it_stays_json() -> None:
    arguments = json.dumps({"phone": 9012345678, MAIL: [MAIL, 4111111111111111]})
    call = {"function": {"name": "f", "arguments": arguments}}
    body, _ = mask({"messages": [{"role": "assistant", "tool_calls": [call]}]})
    said = body["messages"][0]["tool_calls"][0]["function"]["arguments"]
    assert "4111111111111111" not in said
    assert MAIL not in said
    json.loads(said)


def test_what_one_text_gives_away_is_taken_out_of_all() -> None:
    body, _ = mask(chat("口座番号 1234567", "1234567 をもう一度", '{"a": "1234567"}'))
    assert "1234567" not in json.dumps(body)


def test_a_bare_number_is_what_the_turn_before_asked_for() -> None:
    asking = [
        {"role": "assistant", "content": "口座番号を教えてください。"},
        {"role": "user", "content": "1234567"},
        {"role": "user", "content": [{"type": "text", "text": "again: 1234567"}]},
    ]
    body, redaction = mask({"messages": asking})
    assert "1234567" not in json.dumps(body)
    assert set(redaction.counts) == {Category.BANK_ACCOUNT}
    body, _ = mask({"messages": [{"role": "assistant", "content": "いくつありますか。"}, *asking[1:2]]})
    assert body["messages"][1]["content"] == "1234567"


def test_a_value_keeps_its_placeholder_over_turns_and_another_caller_or_conversation_has_another() -> None:
    first, _ = mask(chat(f"I am {MAIL}"))
    later, _ = mask(chat(f"I am {MAIL}", "and now?", f"write to {MAIL}"))
    assert later["messages"][0] == first["messages"][0]
    other, _ = mask(chat(f"Hello, {MAIL}"))
    assert first["messages"][0]["content"][5:] != other["messages"][0]["content"][7:]
    assert name_tenant("legal", "a") != name_tenant("legal", "b") != name_tenant("hr", "b")


def test_a_conversation_is_known_by_all_up_to_the_first_thing_its_user_said() -> None:
    turns = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "u"},
        {"role": "assistant", "content": "a"},
    ]
    assert name_conversation({"messages": turns}) == name_conversation({"messages": turns[:2]})
    assert name_conversation({"messages": turns[:1]}) != name_conversation({"messages": turns[:2]})
    assert name_conversation({"prompt": "a"}) != name_conversation({"prompt": "b"})
    assert name_conversation({"input": "\ud800"}) != name_conversation({"prompt": "\ud800"})


def pieces_of(text: str, cuts: list[int]) -> list[str]:
    edges = [0, *sorted({cut % (len(text) + 1) for cut in cuts}), len(text)]
    return [text[a:b] for a, b in pairwise(edges)]


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(0, 400), max_size=12), st.sampled_from(["content", "reasoning", "refusal", "tool_name"]))
def test_originals_come_back_however_the_answer_is_cut(cuts: list[int], kind: Any) -> None:
    said = f"お名前と{MAIL}、番号{MY_NUMBER}\n「090-1234-5678」"
    body, redaction = mask(chat(said))
    masked, back = body["messages"][0]["content"], AnswerFilter(redaction.values)
    assert MAIL not in masked
    channel = Channel(0, kind)
    told = "".join(back.feed(channel, piece) for piece in pieces_of(masked, cuts)) + back.finish(channel)
    assert told == said
    assert (back.tally.restored, back.tally.invented, back.tally.halves) == (3, 0, 0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 400), max_size=12))
def test_originals_come_back_into_arguments_as_json(cuts: list[int]) -> None:
    value = 'password: "a\\b1cdefgh9"'
    body, redaction = mask(chat(f"{value} and {MAIL}"))
    arguments = json.dumps({"note": body["messages"][0]["content"]}, ensure_ascii=False)
    back = AnswerFilter(redaction.values)
    told = "".join(back.feed(ARGUMENTS, piece) for piece in pieces_of(arguments, cuts)) + back.finish(ARGUMENTS)
    assert json.loads(told) == {"note": f"{value} and {MAIL}"}


def test_half_and_invented_placeholders_are_told_as_they_are_and_counted() -> None:
    _, redaction = mask(chat(MAIL))
    back = AnswerFilter(redaction.values)
    said = "[[EML-0000000000AA]] [[EML-12"
    assert back.feed(CONTENT, said) + back.finish(CONTENT) == said
    assert (back.tally.restored, back.tally.invented, back.tally.halves) == (0, 1, 1)


def test_each_text_of_an_answer_is_restored_by_itself_and_may_begin_again() -> None:
    body, redaction = mask(chat(MAIL))
    name = body["messages"][0]["content"]
    back = AnswerFilter(redaction.values)
    assert back.feed(CONTENT, name[:5]) == ""
    assert back.feed(Channel(1, "content"), name) == MAIL
    assert back.feed(CONTENT, name[5:]) == MAIL
    assert back.finish(CONTENT) + back.finish(CONTENT) == ""
    assert back.feed(CONTENT, f"{name}!") == f"{MAIL}!"
    assert back.tally.restored == 3
    assert MAIL not in repr(back)


def test_content_that_is_to_be_json_gets_its_originals_back_as_json() -> None:
    value = "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----"
    body, redaction = mask(chat(value) | {"response_format": {"type": "json_object"}})
    assert wants_json(body)
    assert not wants_json(chat("x"))
    masked = json.dumps({"key": body["messages"][0]["content"]})
    back = AnswerFilter(redaction.values, json_content=True)
    assert json.loads(back.feed(CONTENT, masked) + back.finish(CONTENT)) == {"key": value}
    thought = Channel(0, "reasoning")
    assert back.feed(thought, body["messages"][0]["content"]) + back.finish(thought) == value


_LEAF = st.sampled_from(
    ["", "x", MAIL, f"個人番号{MY_NUMBER}です", "電話 090-1234-5678", 'say "hi"\n', "[[EML-7Q0C2M9XK4BD]]", "{"]
)
_TREE = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | _LEAF,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_LEAF, inner, max_size=3),
    max_leaves=6,
)


def put_back(body: dict[str, Any], values: Any) -> dict[str, Any]:
    def restore(text: Text) -> str:
        restorer = Restorer(values, in_json=text.in_json)
        return restorer.feed(text.value) + restorer.finish()

    return replace_texts(body, restore)


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(_TREE, _TREE, _LEAF, st.booleans())
def test_any_body_loses_what_is_found_and_is_itself_once_originals_are_back(
    tree: Any, other: Any, leaf: str, nested: bool
) -> None:
    arguments = json.dumps({"deep": json.dumps(tree)} if nested else {"deep": tree}, ensure_ascii=False)
    call = {"id": leaf, "type": "function", "function": {"name": "f", "arguments": arguments}}
    body = {
        "messages": [{"role": "user", "content": leaf}, {"role": "assistant", "content": None, "tool_calls": [call]}],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": other}}}}],
        "stop": [leaf],
    }
    masked, redaction = mask(body)
    said = json.dumps(masked, ensure_ascii=False)
    assert not any(secret in said for secret in (MAIL, MY_NUMBER, "1234-5678"))
    assert put_back(masked, redaction.values) == body
