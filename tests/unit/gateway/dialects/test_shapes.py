"""What stands inside of the fields of a chat has nothing beside that nobody would look into."""

import json
from typing import Any

import pytest

from sekisho.gateway.dialects.form import Endpoint, parse_request
from sekisho.gateway.dialects.strict import BodyLimits, FieldError
from tests.unit.gateway.house import build_chat

FUNCTION = {"name": "look", "description": "looks", "parameters": {"type": "object"}, "strict": True}
CALL = {"id": "c1", "type": "function", "index": 0, "function": {"name": "look", "arguments": "{}"}}
SCHEMA = {"name": "n", "description": "d", "schema": {"type": "object"}, "strict": False}


def tool(**fields: Any) -> dict[str, Any]:
    return {"tools": [{"type": "function", "function": FUNCTION} | fields]}


def turn(**fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "assistant", "content": None, "tool_calls": [CALL | fields]}]}


def shape(**fields: Any) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": SCHEMA} | fields}


@pytest.mark.parametrize(
    ("fields", "param", "said"),
    [
        ({"tools": ["x"]}, "tools[0]", "must be an object"),
        (tool(type="custom"), "tools[0].type", '"custom", which is not served'),
        (tool(url="data:planted"), "tools[0].url", "not served"),
        (tool(function="x"), "tools[0].function", "must be an object"),
        (tool(function={"description": "x"}), "tools[0].function.name", "must be a string"),
        (tool(function=FUNCTION | {"url": "data:planted"}), "tools[0].function.url", "not served"),
        (tool(function=FUNCTION | {"parameters": "x"}), "tools[0].function.parameters", "must be an object"),
        (tool(function=FUNCTION | {"strict": "x"}), "tools[0].function.strict", "must be a boolean"),
        ({"tool_choice": "any"}, "tool_choice", 'is "any"; known are auto, none, required'),
        ({"tool_choice": {"type": "allowed_tools"}}, "tool_choice.type", "not served"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.function", "must be an object"),
        ({"tool_choice": {"type": "function", "function": {"x": 1}}}, "tool_choice.function.x", "not served"),
        ({"tool_choice": {"type": "function", "function": {}}}, "tool_choice.function.name", "must be a string"),
        (turn(type="custom"), "messages[0].tool_calls[0].type", "not served"),
        (turn(url="data:planted"), "messages[0].tool_calls[0].url", "not served"),
        (turn(id=7), "messages[0].tool_calls[0].id", "must be a string"),
        (turn(index="x"), "messages[0].tool_calls[0].index", "must be a whole number"),
        (turn(function={"name": "look"}), "messages[0].tool_calls[0].function.arguments", "must be a string"),
        (turn(function={"name": "look", "arguments": "{}", "x": 1}), "messages[0].tool_calls[0].function.x", "served"),
        (shape(type="grammar"), "response_format.type", '"grammar", which is not served'),
        (shape(type="text"), "response_format.json_schema", "not served"),
        (shape(x=1), "response_format.x", "not served"),
        (shape(json_schema="x"), "response_format.json_schema", "must be an object"),
        (shape(json_schema=SCHEMA | {"url": "x"}), "response_format.json_schema.url", "not served"),
        (shape(json_schema=SCHEMA | {"schema": "x"}), "response_format.json_schema.schema", "must be an object"),
        ({"logit_bias": {"planted": 1}}, "logit_bias", "must name tokens by their numbers"),
        ({"logit_bias": {"1": 101}}, "logit_bias.1", "must be a number from -100 to 100"),
        ({"logit_bias": {"1": "planted"}}, "logit_bias.1", "must be a number"),
        ({"stop": ["a", {"url": "data:planted"}]}, "stop[1]", "must be a string"),
    ],
    ids=range(29),
)
def test_what_is_not_known_is_refused_by_its_path(fields: dict[str, Any], param: str, said: str) -> None:
    with pytest.raises(FieldError) as refusal:
        parse_request(Endpoint.CHAT, json.dumps(build_chat(**fields)).encode(), BodyLimits())
    assert refusal.value.param == param
    assert said in refusal.value.message
    assert "planted" not in refusal.value.message


def test_what_is_known_goes_on_as_it_is() -> None:
    choice = {"type": "function", "function": {"name": "look"}}
    fields = tool() | turn() | shape() | {"tool_choice": choice, "logit_bias": {"17": -100}, "stop": ["a", "b"]}
    asked = parse_request(Endpoint.CHAT, json.dumps(build_chat(**fields)).encode(), BodyLimits())
    assert asked.body == fields
    for fields in ({"response_format": {"type": "json_object"}}, {"tool_choice": "none", "stop": "a"}):
        asked = parse_request(Endpoint.CHAT, json.dumps(build_chat(**fields)).encode(), BodyLimits())
        assert asked.body.items() >= fields.items()
