"""What stands inside the fields of a chat: tools, calls, choices and wanted shapes, each with nothing beside. Pure.

A place that nobody names here is one where nobody looks for what must not leave.
"""

from collections.abc import Mapping
from typing import Any, Final

from sekisho.gateway.dialects.parts import read_objects, read_string, unknown_type
from sekisho.gateway.dialects.strict import (
    BOOL,
    OBJECT,
    TEXT,
    FieldError,
    Kind,
    check_fields,
    check_kind,
    check_names,
    quote,
)

_CHOICES: Final = frozenset({"auto", "none", "required"})
_FORMATS: Final = frozenset({"text", "json_object", "json_schema"})
_MAX_BIAS: Final = 100
_INDEX: Final = Kind("a whole number", (int,))
_FUNCTION: Final = {"name": TEXT, "description": TEXT, "parameters": OBJECT, "strict": BOOL}
SCHEMA: Final = {"name": TEXT, "description": TEXT, "schema": OBJECT, "strict": BOOL}


def check_tools(tools: Any) -> None:
    """Check definitions of functions, the only tools there are; what their schemas say is examined, not judged.

    Raises:
        FieldError: Something is not known.
    """
    for path, tool in read_objects(tools, "tools"):
        function = _read_function(tool, path, beside={"type"})
        where = f"{path}.function"
        read_string(function, "name", where)
        check_fields(function, _FUNCTION, path=where)


def check_tool_choice(choice: Any) -> None:
    """Check which tool is to be called.

    Raises:
        FieldError: Something is not known.
    """
    if isinstance(choice, str):
        if choice not in _CHOICES:
            known = ", ".join(sorted(_CHOICES))
            raise FieldError(f"tool_choice is {quote(choice)}; known are {known}", param="tool_choice")
        return
    function = _read_function(choice, "tool_choice", beside={"type"})
    check_names(function, {"name"}, path="tool_choice.function")
    read_string(function, "name", "tool_choice.function")


def check_tool_calls(calls: Any, path: str) -> None:
    """Check the calls that an assistant made.

    Raises:
        FieldError: Something is not known.
    """
    for where, call in read_objects(calls, path):
        function = _read_function(call, where, beside={"type", "id", "index"})
        read_string(call, "id", where)
        if call.get("index") is not None:
            check_kind(f"{where}.index", call["index"], _INDEX)
        check_names(function, {"name", "arguments"}, path=f"{where}.function")
        read_string(function, "name", f"{where}.function")
        read_string(function, "arguments", f"{where}.function")


def check_response_format(wanted: Mapping[str, Any]) -> None:
    """Check the shape that an answer is wanted in.

    Raises:
        FieldError: Something is not known.
    """
    path, kind = "response_format", wanted.get("type")
    if not isinstance(kind, str) or kind not in _FORMATS:
        raise unknown_type(kind, path)
    if kind != "json_schema":
        check_names(wanted, {"type"}, path=path)
        return
    check_names(wanted, {"type", "json_schema"}, path=path)
    schema, where = wanted.get("json_schema"), f"{path}.json_schema"
    if not isinstance(schema, dict):
        raise FieldError(f"{where} must be an object", param=where)
    check_fields(schema, SCHEMA, path=where)


def check_logit_bias(bias: Mapping[str, Any]) -> None:
    """Check preferences for tokens: numbers of tokens and how much.

    Raises:
        FieldError: Something is not known.
    """
    for name, value in bias.items():
        if not name.isascii() or not name.isdigit() or len(name) > 9:
            raise FieldError("logit_bias must name tokens by their numbers", param="logit_bias")
        right = isinstance(value, int | float) and not isinstance(value, bool)
        if not right or not -_MAX_BIAS <= value <= _MAX_BIAS:
            raise FieldError(
                f"logit_bias.{name} must be a number from -{_MAX_BIAS} to {_MAX_BIAS}", param=f"logit_bias.{name}"
            )


def check_stop(stop: Any) -> None:
    """Check the texts that end an answer.

    Raises:
        FieldError: One is no text.
    """
    for at, text in enumerate(stop if isinstance(stop, list) else ()):
        if not isinstance(text, str):
            raise FieldError(f"stop[{at}] must be a string", param=f"stop[{at}]")


def _read_function(raw: Mapping[str, Any], path: str, *, beside: set[str]) -> Mapping[str, Any]:
    if raw.get("type", "function") != "function":
        raise unknown_type(raw.get("type"), path)
    check_names(raw, {*beside, "function"}, path=path)
    function = raw.get("function")
    if not isinstance(function, dict):
        raise FieldError(f"{path}.function must be an object", param=f"{path}.function")
    return function
