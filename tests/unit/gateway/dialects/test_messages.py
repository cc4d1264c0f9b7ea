"""Anthropic's Messages are read strictly and become a chat."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.gateway.dialects.form import Asked, Endpoint, parse_request
from sekisho.gateway.dialects.messages import FIELDS
from sekisho.gateway.dialects.strict import BodyLimits, FieldError

ASKED = {"model": "legal/review", "max_tokens": 64, "messages": [{"role": "user", "content": "hello"}]}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
TOOL = {"name": "look", "description": "looks", "input_schema": {"type": "object"}}
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def demand_read_or_refused(read: Callable[..., Asked], name: str, value: Any) -> None:
    """Read a request in which a field holds a value; a refusal must name the field."""
    try:
        read(**{name: value}).render("served")
    except FieldError as refusal:
        param = refusal.param or name
    else:
        param = name
    assert param.startswith(name)


def read(**fields: Any) -> Asked:
    return parse_request(Endpoint.MESSAGES, json.dumps(ASKED | fields).encode(), BodyLimits())


def turns(*content: Any, role: str = "user") -> dict[str, Any]:
    return {"messages": [{"role": role, "content": list(content)}]}


@pytest.mark.parametrize(
    ("fields", "param", "said"),
    [
        ({"max_tokens": None}, "max_tokens", "max_tokens must say how long the answer may be"),
        ({"messages": []}, "messages", "at least one message"),
        ({"messages": ["x"]}, "messages[0]", "must be an object"),
        ({"messages": [{"role": "user", "content": "x"}] * 1025}, "messages", "at most 1024"),
        ({"messages": [{"role": "system", "content": "x"}]}, "messages[0].role", '"system"; known are assistant, user'),
        ({"messages": [{"role": "user", "content": "x", "name": "y"}]}, "messages[0].name", "not served"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content", "must be a list"),
        ({"messages": [{"role": "assistant"}]}, "messages[0].content", "must be a list"),
        ({"mcp_servers": []}, "mcp_servers", 'the field "mcp_servers" is not served by this gateway'),
        ({"container": "x"}, "container", "not served"),
        ({"temperature": 3}, "temperature", "must be a number from 0 to 2"),
        ({"stop_sequences": [7]}, "stop_sequences[0]", "must be a string"),
        ({"system": [{"type": "image"}]}, "system[0].type", '"image", which is not served'),
        ({"system": [{"type": "text", "text": 7}]}, "system[0].text", "must be a string"),
        ({"thinking": {"type": "secretly"}}, "thinking.type", "not served"),
        ({"thinking": {"type": "enabled", "x": 1}}, "thinking.x", "not served"),
        ({"output_config": {"x": 1}}, "output_config.x", "not served"),
        ({"output_config": {"effort": 7}}, "output_config.effort", "must be a string"),
        ({"output_config": {"format": {"type": "grammar"}}}, "output_config.format", "must be of type json_schema"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema", "must be an object"),
        ({"tools": [TOOL | {"strict": "x"}]}, "tools[0].strict", "must be a boolean"),
        ({"tools": [{"type": "bash_2025", "name": "bash"}]}, "tools[0].type", '"bash_2025", which is not served'),
        ({"tools": [TOOL | {"defer_loading": True}]}, "tools[0].defer_loading", "not served"),
        ({"tools": [{"name": "x"}]}, "tools[0].input_schema", "must be an object"),
        ({"tools": [TOOL | {"name": 7}]}, "tools[0].name", "must be a string"),
        ({"tool_choice": {"type": "maybe"}}, "tool_choice.type", "not served"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name", "must be a string"),
        (turns({"type": "document", "source": {}}), "messages[0].content[0].type", '"document", which is not served'),
        (turns({"type": "text", "text": "a", "citations": []}), "messages[0].content[0].citations", "not served"),
        (turns({"type": "tool_use"}), "messages[0].content[0].type", "not served"),
        (turns({"type": "tool_result"}), "messages[0].content[0].tool_use_id", "must be a string"),
        (turns({"type": "tool_result", "tool_use_id": "a", "content": [IMAGE]}),
         "messages[0].content[0].content[0].type", "not served"),
        (turns({"type": "image", "source": {"type": "url", "url": "http://169.254.169.254/"}}),
         "messages[0].content[0].source", "addresses are not fetched"),
        (turns({"type": "image"}), "messages[0].content[0].source", "must be an object"),
        (turns(IMAGE, role="assistant"), "messages[0].content[0].type", "not served"),
        (turns({"type": "redacted_thinking"}, role="assistant"), "messages[0].content[0].type", "not served"),
        (turns({"type": "tool_use", "id": "a", "name": "b", "input": "x"}, role="assistant"),
         "messages[0].content[0].input", "must be an object"),
    ],
    ids=range(37),
)  # fmt: skip
def test_what_is_not_known_is_refused_by_its_path(fields: dict[str, Any], param: str, said: str) -> None:
    with pytest.raises(FieldError) as refusal:
        read(**fields)
    assert refusal.value.param == param
    assert said in refusal.value.message
    assert "169.254" not in refusal.value.message


def test_a_number_that_json_does_not_know_is_refused_inside_a_tool_call() -> None:
    call = {"type": "tool_use", "id": "a", "name": "b", "input": {"x": 7}}
    body = json.dumps(ASKED | turns(call, role="assistant")).replace('"x": 7', '"x": 1e999').encode()
    with pytest.raises(FieldError, match="holds a number that JSON cannot carry"):
        parse_request(Endpoint.MESSAGES, body, BodyLimits())


@given(st.sampled_from(sorted(FIELDS)), JSON)
@settings(deadline=None, max_examples=80)
def test_whatever_stands_in_a_field_is_read_or_refused_by_its_name(name: str, value: Any) -> None:
    demand_read_or_refused(read, name, value)


def test_a_conversation_with_tools_becomes_a_chat() -> None:
    asked = read(
        system=[{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}},
                {"type": "text", "text": "be kind"}],
        stream=True, temperature=0.5, top_k=3, stop_sequences=["END"], metadata={"user_id": "alice"},
        tools=[TOOL], tool_choice={"type": "tool", "name": "look", "disable_parallel_tool_use": True},
        messages=[
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": ""}, {"type": "text", "text": "let me see"},
                {"type": "tool_use", "id": "t1", "name": "look", "input": {"x": "長"}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t1", "is_error": False,
                 "content": [{"type": "text", "text": "r"}]},
                {"type": "tool_result", "tool_use_id": "t2"}, {"type": "text", "text": "so?"}]},
        ],
    )  # fmt: skip
    assert (asked.model, asked.engine_path, asked.stream) == ("legal/review", "/v1/chat/completions", True)
    function = {"name": "look", "description": "looks", "parameters": {"type": "object"}}
    assert asked.body == {
        "messages": [
            {"role": "system", "content": "be brief\n\nbe kind"},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "assistant", "content": "let me see", "reasoning_content": "hm", "tool_calls": [
                {"id": "t1", "type": "function", "function": {"name": "look", "arguments": '{"x": "長"}'}}]},
            {"role": "tool", "tool_call_id": "t1", "content": "r"},
            {"role": "tool", "tool_call_id": "t2", "content": ""},
            {"role": "user", "content": "so?"},
        ],
        "max_tokens": 64, "temperature": 0.5, "top_k": 3, "stop": ["END"],
        "tools": [{"type": "function", "function": function}],
        "tool_choice": {"type": "function", "function": {"name": "look"}}, "parallel_tool_calls": False,
        "stream_options": {"include_usage": True},
    }  # fmt: skip


@pytest.mark.parametrize(("said", "meant"), [("auto", "auto"), ("any", "required"), ("none", "none")])
def test_choices_of_tools_are_spelt_as_engines_spell_them(said: str, meant: str) -> None:
    assert read(tools=[TOOL | {"strict": True}], tool_choice={"type": said}).body["tool_choice"] == meant


def test_a_wanted_shape_becomes_a_response_format() -> None:
    body = read(output_config={"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}}).body
    schema = {"name": "answer", "schema": {"type": "object"}, "strict": True}
    assert body["response_format"] == {"type": "json_schema", "json_schema": schema}
    assert body["reasoning_effort"] == "low"
    assert "stream_options" not in body


def test_images_are_counted_and_go_on_as_they_are() -> None:
    asked = read(thinking={"type": "disabled"}, **turns({"type": "text", "text": "what is it?"}, IMAGE, IMAGE))
    assert asked.images == 2
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    assert asked.body["messages"][0]["content"] == [{"type": "text", "text": "what is it?"}, part, part]
    assert read().images == 0


def test_what_a_user_says_before_and_between_results_keeps_its_place() -> None:
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "r"}
    said = {"type": "text", "text": "a"}
    assert read(**turns(said, result, said, result)).body["messages"] == [
        {"role": "user", "content": "a"},
        {"role": "tool", "tool_call_id": "t1", "content": "r"},
        {"role": "user", "content": "a"},
        {"role": "tool", "tool_call_id": "t1", "content": "r"},
    ]


def test_a_turn_without_words_and_a_tool_without_a_description_are_read() -> None:
    call = {"type": "tool_use", "id": "t1", "name": "look", "input": {}}
    body = read(tools=[{"name": "look", "input_schema": {}}], **turns(call, role="assistant")).body
    function = {"name": "look", "arguments": "{}"}
    assert body["messages"] == [
        {"role": "assistant", "content": None, "tool_calls": [{"id": "t1", "type": "function", "function": function}]}
    ]
    assert body["tools"] == [{"type": "function", "function": {"name": "look", "parameters": {}}}]
