"""Requests are read strictly and written anew; refusals have the dialect's shape."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import Reason
from sekisho.gateway.dialects.chat import FIELDS, MESSAGE_FIELDS
from sekisho.gateway.dialects.engine import read_engine_message, read_usage
from sekisho.gateway.dialects.form import Asked, Endpoint, parse_request
from sekisho.gateway.dialects.refusals import http_status, render_error, spell_code
from sekisho.gateway.dialects.strict import BodyLimits, FieldError, parse_json
from tests.unit.gateway.house import build_chat

LIMITS = BodyLimits()
CALL = {"id": "x", "type": "function", "function": {"name": "look", "arguments": "{}"}}
PIXEL = "data:image/png;base64,AAAA"


def parse_chat(body: bytes, limits: BodyLimits) -> Asked:
    return parse_request(Endpoint.CHAT, body, limits)


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=4), JSON, max_size=4))
def test_what_json_says_is_read_as_it_says(value: dict[str, Any]) -> None:
    assert parse_json(json.dumps(value).encode(), LIMITS) == value


@given(st.binary(max_size=60))
def test_bytes_that_are_no_request_are_refused_and_nothing_else_happens(body: bytes) -> None:
    with pytest.raises(FieldError) as refusal:
        parse_chat(body, LIMITS)
    assert refusal.value.reason is Reason.REQUEST_INVALID


@given(st.sampled_from(sorted(FIELDS)), JSON)
def test_whatever_stands_in_a_field_is_read_or_refused_by_its_name(name: str, value: Any) -> None:
    body = json.dumps(build_chat() | {name: value}).encode()
    try:
        parse_chat(body, LIMITS).render("served")
    except FieldError as refusal:
        param = refusal.param or ""
    else:
        param = name
    assert param.startswith(name)


@given(st.sampled_from(sorted(MESSAGE_FIELDS)), JSON)
def test_whatever_stands_in_a_message_is_read_or_refused_by_its_path(name: str, value: Any) -> None:
    body = json.dumps(build_chat(messages=[{"role": "user", "content": "x"} | {name: value}])).encode()
    try:
        parse_chat(body, LIMITS).render("served")
    except FieldError as refusal:
        param = refusal.param or ""
    else:
        param = f"messages[0].{name}"
    assert param.startswith(f"messages[0].{name}")


def test_parts_of_text_and_fields_that_say_nothing_are_read() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    messages = [{"role": "user", "content": parts}, {"role": "assistant", "content": None, "tool_calls": [CALL]}]
    request = parse_chat(json.dumps(build_chat(messages=messages, temperature=None, user="alice")).encode(), LIMITS)
    assert request.body == {"messages": messages}
    assert (request.namespace, request.service, request.stream) == ("legal", "contract-review", False)


def test_images_that_stand_in_the_request_are_counted() -> None:
    content = [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}}]
    asked = parse_chat(json.dumps(build_chat(messages=[{"role": "user", "content": content}])).encode(), LIMITS)
    assert asked.images == 1
    assert asked.body["messages"][0]["content"] == content


def test_an_answer_is_read_when_a_client_sends_it_back() -> None:
    empty: dict[str, Any] = {"annotations": [], "audio": None, "function_call": None, "refusal": None}
    turn = {"role": "assistant", "content": "a", "reasoning_content": "hm", "tool_calls": []}
    asked = parse_chat(json.dumps(build_chat(messages=[turn | empty])).encode(), LIMITS)
    assert asked.body["messages"] == [turn | {"refusal": None}]


def test_a_body_nested_deeper_than_allowed_is_refused() -> None:
    deep: Any = "x"
    for _ in range(40):
        deep = [deep]
    with pytest.raises(FieldError, match="nested deeper than 32 levels"):
        parse_chat(json.dumps(build_chat(stop=deep)).encode(), LIMITS)


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_text_reaches_the_engine_unchanged(text: str) -> None:
    chat = build_chat(messages=[{"role": "user", "content": text}], temperature=0.5)
    request = parse_chat(json.dumps(chat).encode(), LIMITS)
    assert json.loads(request.render("served")) == chat | {"model": "served", "stream": False}


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([{"role": "root", "content": "x"}], "messages[0].role"),
        ([{"content": "x"}], "messages[0].role"),
        ([{"role": "user", "content": "x"}, "y"], "messages[1]"),
        ([{"role": "user", "content": 7}], "messages[0].content"),
        ([{"role": "user", "content": "x", "cache_control": {}}], "messages[0].cache_control"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://169.254.169.254/"}}]}],
         "messages[0].content[0].image_url"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}], "messages[0].content[0].image_url"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": PIXEL, "detail": "most"}}]}],
         "messages[0].content[0].image_url.detail"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": PIXEL, "x": 1}}]}],
         "messages[0].content[0].image_url.x"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:text/html;base64,AAAA"}}]}],
         "messages[0].content[0].image_url"),
        ([{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}], "messages[0].content[0].type"),
        ([{"role": "user", "content": [{"type": "text", "text": "a", "x": 1}]}], "messages[0].content[0].x"),
        ([{"role": "user", "content": ["a"]}], "messages[0].content[0]"),
        ([{"role": "assistant", "content": "x", "audio": {"id": "a"}}], "messages[0].audio"),
        ([{"role": "assistant", "reasoning_content": 7}], "messages[0].reasoning_content"),
        ([{"role": "user", "content": [{"type": "text", "text": 7}]}], "messages[0].content[0].text"),
        ([{"role": "user", "name": 7}], "messages[0].name"),
        ([{"role": "assistant", "tool_calls": {}}], "messages[0].tool_calls"),
        ([{"role": "user"}] * 1025, "messages"),
        ([], "messages"),
        (None, "messages"),
    ],
)  # fmt: skip
def test_a_message_that_holds_what_is_not_known_is_refused_by_its_path(messages: Any, param: str) -> None:
    with pytest.raises(FieldError) as refusal:
        parse_chat(json.dumps(build_chat(messages=messages)).encode(), LIMITS)
    assert refusal.value.param == param
    assert "169.254" not in refusal.value.message


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": 3}, "temperature"), ({"temperature": True}, "temperature"), ({"max_tokens": 0}, "max_tokens"),
        ({"stop": 7}, "stop"), ({"stream_options": {"x": 1}}, "stream_options.x"),
        ({"stream_options": {"include_usage": "x"}}, "stream_options.include_usage"), ({"store": True}, "store"),
        ({"seed": 2**64}, "seed"), ({"n": 0}, "n"), ({"logit_bias": []}, "logit_bias"), ({"tools": {}}, "tools"),
    ],
)  # fmt: skip
def test_a_field_outside_its_bounds_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(FieldError) as refusal:
        parse_chat(json.dumps(build_chat(**fields)).encode(), LIMITS)
    assert refusal.value.param == param
    assert param.rpartition(".")[2] in refusal.value.message


@pytest.mark.parametrize("name", [None, "review", "legal/", "legal/Review", "legal/review/x", "a" * 70 + "/x"])
def test_a_model_without_a_namespace_or_name_is_refused(name: Any) -> None:
    with pytest.raises(FieldError, match="it must be namespace/name of an InferenceService") as refusal:
        parse_chat(json.dumps(build_chat(model=name)).encode(), LIMITS)
    assert refusal.value.param == "model"


@pytest.mark.parametrize("text", ['"\\ud800"', "1e999"])
def test_what_cannot_be_carried_is_refused(text: str) -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": {"x": 0}}}
    body = json.dumps(build_chat(tools=[tool])).replace('"x": 0', f'"x": {text}').encode()
    with pytest.raises(FieldError, match="cannot carry"):
        parse_chat(body, LIMITS).render("served")


def test_more_keys_than_allowed_are_refused() -> None:
    with pytest.raises(FieldError, match="more than 3 keys"):
        parse_json(b'{"a":{"b":1},"c":1,"d":1}', BodyLimits(max_keys=3))


def test_every_refusal_has_the_shape_of_the_dialect() -> None:
    for reason in Reason:
        error = json.loads(render_error(Endpoint.CHAT, reason, "why"))["error"]
        assert error.keys() == {"message", "type", "param", "code"}
        assert error["code"] == spell_code(reason)
        assert error["code"].isascii()
        assert error["code"] == error["code"].lower()
        assert 400 <= http_status(reason) <= 504
    assert spell_code(Reason.CLASS_ABOVE_CEILING) == "class_above_ceiling"


def test_usage_is_read_where_it_is_told() -> None:
    usage = b'{"usage":{"prompt_tokens":3,"completion_tokens":4}}'
    assert read_usage([b"data: [DONE]", b"data: " + usage]) == {"prompt": 3, "completion": 4}
    assert read_usage([b'{"usage":{"prompt_tokens":3,"completion_tokens":null}}']) == {"prompt": 3}
    assert read_usage([b'{"usage":null}', b'"usage" {', b'{"usage":{"prompt_tokens":"3"}}', b"{}"]) == {}


@pytest.mark.parametrize("count", ["-1", "true", "1.5", '"3"', "9" * 4000, str((1 << 32) + 1)], ids=range(6))
def test_counts_of_which_one_cannot_be_a_count_are_not_believed(count: str) -> None:
    assert read_usage([f'{{"usage":{{"prompt_tokens":3,"completion_tokens":{count}}}}}'.encode()]) == {}
    most = b'{"usage":{"completion_tokens":4294967296}}'
    assert read_usage([most]) == {"completion": 1 << 32}


def test_words_of_an_engine_are_short_and_on_one_line() -> None:
    assert read_engine_message(json.dumps({"error": {"message": "a\nb" + "c" * 999}}).encode()) == "a b" + "c" * 509
    assert read_engine_message(b'{"message":"x"}') == "x"
    for body in (b"", b"[]", b'{"error":7}', b"[" * 9999):
        assert read_engine_message(body) == ""
    assert read_usage([b'"usage" {"a":', b'[{"usage":1}]']) == {}
