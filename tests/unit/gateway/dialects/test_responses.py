"""Responses are read strictly and become a chat; nothing of them is kept."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.gateway.dialects.form import Asked, Endpoint, parse_request
from sekisho.gateway.dialects.responses import FIELDS
from sekisho.gateway.dialects.strict import BodyLimits, FieldError
from tests.unit.gateway.dialects.test_messages import JSON, demand_read_or_refused

ASKED = {"model": "legal/review", "input": "hello"}
PIXEL = "data:image/png;base64,AAAA"
TOOL = {"type": "function", "name": "look", "description": "looks", "parameters": {"type": "object"}, "strict": True}
CALL = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "c1",
    "name": "look",
    "arguments": "{}",
    "status": "completed",
}


def read(**fields: Any) -> Asked:
    return parse_request(Endpoint.RESPONSES, json.dumps(ASKED | fields).encode(), BodyLimits())


def item(**fields: Any) -> dict[str, Any]:
    return {"input": [fields]}


def part(**fields: Any) -> dict[str, Any]:
    return item(role="user", content=[fields])


@pytest.mark.parametrize(
    ("fields", "param", "said"),
    [
        ({"input": None}, "input", "must be a list"),
        ({"input": []}, "input", "at least one message"),
        ({"input": ["x"]}, "input[0]", "must be an object"),
        ({"input": [{"role": "user", "content": "x"}] * 1025}, "input", "at most 1024"),
        ({"store": True}, "store", "store must be false: this gateway keeps no answers"),
        ({"background": True}, "background", "background must be false"),
        ({"previous_response_id": "resp_1"}, "previous_response_id", "send the earlier turns in input"),
        ({"conversation": {"id": "x"}}, "conversation", "keeps no answers"),
        ({"prompt": {"id": "x"}}, "prompt", 'the field "prompt" is not served by this gateway'),
        ({"truncation": "auto"}, "truncation", "truncation must be disabled"),
        ({"include": ["file_search_call.results"]}, "include[0]", "not served"),
        ({"include": [7]}, "include[0]", "not served"),
        ({"max_tool_calls": 2}, "max_tool_calls", "not served"),
        ({"stream_options": {"x": 1}}, "stream_options.x", "not served"),
        ({"stream_options": {"include_obfuscation": True}}, "stream_options.include_obfuscation", "not padded"),
        ({"reasoning": {"effort": 7}}, "reasoning.effort", "must be a string"),
        ({"reasoning": {"x": 7}}, "reasoning.x", "not served"),
        ({"text": {"x": 7}}, "text.x", "not served"),
        ({"text": {"verbosity": "low"}}, "text.verbosity", "must be medium"),
        ({"text": {"format": "x"}}, "text.format", "must be an object"),
        ({"text": {"format": {"type": "grammar"}}}, "text.format.type", '"grammar", which is not served'),
        ({"text": {"format": {"type": "text", "x": 1}}}, "text.format.x", "not served"),
        ({"text": {"format": {"type": "json_schema", "schema": "x"}}}, "text.format.schema", "must be an object"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type", '"web_search", which is not served'),
        ({"tools": [TOOL | {"defer_loading": True}]}, "tools[0].defer_loading", "not served"),
        ({"tools": [TOOL | {"parameters": "x"}]}, "tools[0].parameters", "must be an object"),
        ({"tools": [TOOL | {"description": 7}]}, "tools[0].description", "must be a string"),
        ({"tools": [TOOL | {"strict": {"text": "x"}}]}, "tools[0].strict", "must be a boolean"),
        ({"tools": [{"type": "function"}]}, "tools[0].name", "must be a string"),
        ({"tool_choice": "maybe"}, "tool_choice", 'is "maybe"; known are auto, none, required'),
        ({"tool_choice": {"type": "mcp"}}, "tool_choice.type", "not served"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.name", "must be a string"),
        (item(type="web_search_call"), "input[0].type", '"web_search_call", which is not served'),
        (item(type="item_reference", id="x"), "input[0].type", "not served"),
        (item(type=7), "input[0].type", "not served"),
        (item(role="tool", content="x"), "input[0].role", "known are assistant, developer, system, user"),
        (item(role="user", content="x", name="y"), "input[0].name", "not served"),
        (item(role="user", content=7), "input[0].content", "must be a list"),
        (part(type="input_file", file_id="x"), "input[0].content[0].type", "not served"),
        (part(type="input_text", text=7), "input[0].content[0].text", "must be a string"),
        (part(type="output_text", text="a", annotations=[{"x": 1}]), "input[0].content[0].annotations", "not served"),
        (part(type="input_image", image_url="http://169.254.169.254/"), "input[0].content[0]", "are not fetched"),
        (part(type="input_image", image_url=PIXEL, file_id="x"), "input[0].content[0]", "are not fetched"),
        (part(type="input_image", image_url=PIXEL, detail="original"), "input[0].content[0].detail", "must be one of"),
        (item(type="function_call", name="x"), "input[0].arguments", "must be a string"),
        (item(**CALL, caller={}), "input[0].caller", "not served"),
        (item(type="function_call_output", call_id="x"), "input[0].output", "must be a list"),
        (item(type="function_call_output", call_id="x", output=[{"type": "input_image", "image_url": PIXEL}]),
         "input[0].output[0].type", "not served"),
        (item(type="reasoning", encrypted_content="x"), "input[0].encrypted_content", "not served"),
        (item(type="reasoning", summary=[{"type": "x"}]), "input[0].summary[0].type", "not served"),
        (item(type="reasoning", summary=[]), "input", "at least one message"),
    ],
    ids=range(51),
)  # fmt: skip
def test_what_is_not_known_is_refused_by_its_path(fields: dict[str, Any], param: str, said: str) -> None:
    with pytest.raises(FieldError) as refusal:
        read(**fields)
    assert refusal.value.param == param
    assert said in refusal.value.message
    assert "169.254" not in refusal.value.message


@given(st.sampled_from(sorted(FIELDS)), JSON)
@settings(deadline=None, max_examples=80)
def test_whatever_stands_in_a_field_is_read_or_refused_by_its_name(name: str, value: Any) -> None:
    demand_read_or_refused(read, name, value)


def test_a_conversation_with_tools_becomes_a_chat() -> None:
    reasoning = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": None,
                 "content": [{"type": "reasoning_text", "text": "hm"}]}  # fmt: skip
    said = {"type": "output_text", "text": "let me see", "annotations": [], "logprobs": []}
    asked = read(
        instructions="be brief", stream=True, temperature=0.5, max_output_tokens=9, user="alice", metadata={"a": "b"},
        store=False, include=["reasoning.encrypted_content"], tools=[TOOL], parallel_tool_calls=False,
        tool_choice={"type": "function", "name": "look"}, reasoning={"effort": "low", "summary": "auto"},
        input=[
            {"role": "user", "content": [
                {"type": "input_text", "text": "a"}, {"type": "input_image", "image_url": PIXEL}]},
            reasoning,
            {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant", "content": [said]},
            CALL, CALL | {"call_id": "c2"},
            {"type": "function_call_output", "call_id": "c1", "output": "r"},
            {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "s"}]},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
            {"role": "developer", "content": "go on"},
        ],
    )  # fmt: skip
    calls = [{"id": name, "type": "function", "function": {"name": "look", "arguments": "{}"}} for name in ("c1", "c2")]
    image = {"type": "image_url", "image_url": {"url": PIXEL}}
    assert asked.images == 1
    assert asked.body == {
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": [{"type": "text", "text": "a"}, image]},
            {"role": "assistant", "content": "let me see", "reasoning_content": "hm", "tool_calls": calls},
            {"role": "tool", "tool_call_id": "c1", "content": "r"},
            {"role": "tool", "tool_call_id": "c2", "content": "s"},
            {"role": "assistant", "content": "no"},
            {"role": "developer", "content": "go on"},
        ],
        "temperature": 0.5, "max_tokens": 9, "parallel_tool_calls": False, "reasoning_effort": "low",
        "tools": [{"type": "function", "function": {key: value for key, value in TOOL.items() if key != "type"}}],
        "tool_choice": {"type": "function", "function": {"name": "look"}}, "stream_options": {"include_usage": True},
    }  # fmt: skip


def test_thoughts_before_a_call_stay_with_it() -> None:
    thought = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]}
    (turn,) = read(input=[thought, CALL, thought, CALL | {"call_id": "c2"}]).body["messages"]
    assert turn["reasoning_content"] == "hmhm"
    assert [call["id"] for call in turn["tool_calls"]] == ["c1", "c2"]


@pytest.mark.parametrize(
    ("wanted", "meant"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, {"type": "json_object"}),
        ({"type": "json_schema", "name": "n", "schema": {}, "strict": True, "description": None},
         {"type": "json_schema", "json_schema": {"name": "n", "schema": {}, "strict": True}}),
    ],
)  # fmt: skip
def test_a_wanted_shape_becomes_a_response_format(wanted: Any, meant: Any) -> None:
    assert read(text={"format": wanted, "verbosity": "medium"}).body.get("response_format") == meant


def test_a_text_alone_is_a_turn_of_the_user() -> None:
    asked = read(tool_choice="auto", truncation="disabled", previous_response_id=None)
    assert asked.body == {"messages": [{"role": "user", "content": "hello"}], "tool_choice": "auto"}
