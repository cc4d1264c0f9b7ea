"""Responses: read strictly, without a memory of earlier ones, and turned into a chat. Pure."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from sekisho.gateway.dialects.parts import Part, build_image, join_parts, read_objects, read_string, unknown_type
from sekisho.gateway.dialects.shapes import SCHEMA
from sekisho.gateway.dialects.strict import (
    BOOL,
    COUNT,
    LIST,
    OBJECT,
    TEMPERATURE,
    TEXT,
    TOP_P,
    WORD,
    BodyLimits,
    FieldError,
    Kind,
    check_fields,
    check_kind,
    check_names,
    quote,
)

FIELDS: Final[Mapping[str, Kind]] = {
    "model": WORD,
    "input": Kind("a string or a list of items", (str, list)),
    "instructions": TEXT,
    "stream": BOOL,
    "temperature": TEMPERATURE,
    "top_p": TOP_P,
    "max_output_tokens": COUNT,
    "tools": LIST,
    "tool_choice": Kind("a string or an object", (str, dict)),
    "parallel_tool_calls": BOOL,
    "text": OBJECT,
    "reasoning": OBJECT,
    "store": BOOL,
    "background": BOOL,
    "truncation": WORD,
    "include": LIST,
    "previous_response_id": WORD,
    "conversation": Kind("a string or an object", (str, dict)),
    # Accepted, because clients send them, and not sent on: they tell who asks, or how a service far away should cache.
    "user": WORD,
    "safety_identifier": WORD,
    "prompt_cache_key": WORD,
    "metadata": OBJECT,
    "service_tier": WORD,
    "stream_options": OBJECT,
}
_SAME: Final = ("temperature", "top_p", "parallel_tool_calls")
_ROLES: Final = frozenset({"user", "assistant", "system", "developer"})
_MESSAGE_FIELDS: Final = frozenset({"type", "role", "content", "id", "status", "phase"})
_TEXTS: Final = frozenset({"input_text", "output_text"})
# Asked for by clients that keep reasoning themselves; there is none to be given sealed, so nothing is left out.
_INCLUDABLE: Final = frozenset({"reasoning.encrypted_content"})
_CHOICES: Final = frozenset({"auto", "none", "required"})


def read_responses(raw: Mapping[str, Any], limits: BodyLimits) -> dict[str, Any]:
    """Return the body of a chat for an engine, without the model's name.

    Raises:
        FieldError: It holds anything that is not known, or asks for an answer to be kept.
    """
    check_fields(raw, FIELDS)
    _check_memory(raw)
    messages = _read_input(raw.get("input"), limits)
    if raw.get("instructions"):
        messages.insert(0, {"role": "system", "content": raw["instructions"]})
    body: dict[str, Any] = {"messages": messages}
    body |= {name: raw[name] for name in _SAME if raw.get(name) is not None}
    if raw.get("max_output_tokens") is not None:
        body["max_tokens"] = raw["max_output_tokens"]
    body |= _read_reasoning(raw.get("reasoning") or {}) | _read_format(raw.get("text") or {}) | _read_tools(raw)
    if raw.get("stream") is True:
        body["stream_options"] = {"include_usage": True}
    return body


def _check_memory(raw: Mapping[str, Any]) -> None:
    """Refuse what would need answers to be kept: nothing of a request outlives it."""
    for name in ("store", "background"):
        if raw.get(name) is True:
            raise FieldError(f"{name} must be false: this gateway keeps no answers", param=name)
    for name in ("previous_response_id", "conversation"):
        if raw.get(name) is not None:
            raise FieldError(
                f"{name} is not served: this gateway keeps no answers; send the earlier turns in input", param=name
            )
    options = raw.get("stream_options") or {}
    check_names(options, {"include_obfuscation"}, path="stream_options")
    if options.get("include_obfuscation"):
        where = "stream_options.include_obfuscation"
        raise FieldError(f"{where} must be false: answers are not padded", param=where)
    if raw.get("truncation") not in (None, "disabled"):
        raise FieldError(
            "truncation must be disabled: this gateway leaves out nothing of what is sent", param="truncation"
        )
    for at, item in enumerate(raw.get("include") or ()):
        if not isinstance(item, str) or item not in _INCLUDABLE:
            raise FieldError(
                f"include[{at}] is {quote(item)}, which is not served by this gateway", param=f"include[{at}]"
            )


def _read_reasoning(reasoning: Mapping[str, Any]) -> dict[str, Any]:
    check_names(reasoning, {"effort", "summary", "generate_summary"}, path="reasoning")
    if reasoning.get("effort") is None:
        return {}
    return {"reasoning_effort": read_string(reasoning, "effort", "reasoning")}


def _read_format(text: Mapping[str, Any]) -> dict[str, Any]:
    check_names(text, {"format", "verbosity"}, path="text")
    if text.get("verbosity") not in (None, "medium"):
        raise FieldError("text.verbosity must be medium; others are not served by this gateway", param="text.verbosity")
    wanted, path = text.get("format"), "text.format"
    if wanted is None:
        return {}
    if not isinstance(wanted, dict):
        raise FieldError(f"{path} must be an object", param=path)
    kind = wanted.get("type")
    if kind in ("text", "json_object"):
        check_names(wanted, {"type"}, path=path)
        return {} if kind == "text" else {"response_format": {"type": kind}}
    if kind != "json_schema":
        raise unknown_type(kind, path)
    schema = {name: value for name, value in wanted.items() if name != "type" and value is not None}
    check_fields(schema, SCHEMA, path=path)
    return {"response_format": {"type": kind, "json_schema": schema}}


def _read_tools(raw: Mapping[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = {}
    if raw.get("tools"):
        body["tools"] = [_read_tool(tool, path) for path, tool in read_objects(raw["tools"], "tools")]
    choice = raw.get("tool_choice")
    if choice is None:
        return body
    if isinstance(choice, str):
        if choice not in _CHOICES:
            raise FieldError(
                f"tool_choice is {quote(choice)}; known are {', '.join(sorted(_CHOICES))}", param="tool_choice"
            )
        return body | {"tool_choice": choice}
    if choice.get("type") != "function":
        raise unknown_type(choice.get("type"), "tool_choice")
    check_names(choice, {"type", "name"}, path="tool_choice")
    return body | {
        "tool_choice": {"type": "function", "function": {"name": read_string(choice, "name", "tool_choice")}}
    }


def _read_tool(tool: Mapping[str, Any], path: str) -> Part:
    if tool.get("type") != "function":
        raise unknown_type(tool.get("type"), path)
    check_names(tool, {"type", "name", "description", "parameters", "strict"}, path=path)
    read_string(tool, "name", path)
    function = {name: value for name, value in tool.items() if name != "type" and value is not None}
    if not isinstance(function.get("parameters", {}), dict):
        raise FieldError(f"{path}.parameters must be an object", param=f"{path}.parameters")
    if not isinstance(function.get("description", ""), str):
        raise FieldError(f"{path}.description must be a string", param=f"{path}.description")
    check_kind(f"{path}.strict", function.get("strict", False), BOOL)
    return {"type": "function", "function": function}


def _read_input(given: Any, limits: BodyLimits) -> list[dict[str, Any]]:
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    messages: list[dict[str, Any]] = []
    thought = ""
    for path, item in read_objects(given, "input", most=limits.max_messages):
        kind = item.get("type", "message")
        read = _ITEMS.get(kind) if isinstance(kind, str) else None
        if kind == "reasoning":
            thought += _read_thought(item, path)
            continue
        if read is None:
            raise unknown_type(kind, path)
        message = read(item, path)
        if thought and message["role"] == "assistant":
            message["reasoning_content"], thought = thought, ""
        _add(messages, message)
    if not messages:
        raise FieldError("input must hold at least one message", param="input")
    return messages


def _add(messages: list[dict[str, Any]], message: dict[str, Any]) -> None:
    """Add a message; calls that stand one after another are one turn to an engine, with the text before them."""
    last = messages[-1] if messages else None
    if last is None or "tool_calls" not in message or last["role"] != "assistant":
        messages.append(message)
        return
    last["tool_calls"] = [*last.get("tool_calls", ()), *message["tool_calls"]]
    if "reasoning_content" in message:
        last["reasoning_content"] = last.get("reasoning_content", "") + message["reasoning_content"]


def _read_message(item: Mapping[str, Any], path: str) -> dict[str, Any]:
    check_names(item, _MESSAGE_FIELDS, path=path)
    role, content = item.get("role"), item.get("content")
    if not isinstance(role, str) or role not in _ROLES:
        raise FieldError(f"{path}.role is {quote(role)}; known are {', '.join(sorted(_ROLES))}", param=f"{path}.role")
    if isinstance(content, str):
        return {"role": role, "content": content}
    return {"role": role, "content": _read_parts(content, f"{path}.content")}


def _read_parts(content: Any, path: str) -> str | list[Part]:
    parts = [_read_part(part, where) for where, part in read_objects(content, path)]
    return join_parts(parts) or ""


def _read_part(part: Mapping[str, Any], path: str) -> Part:
    kind = part.get("type")
    if kind == "input_image":
        check_names(part, {"type", "image_url", "detail", "file_id"}, path=path)
        return build_image(part.get("image_url") if part.get("file_id") is None else None, part.get("detail"), path)
    if kind == "refusal":
        check_names(part, {"type", "refusal"}, path=path)
        return {"type": "text", "text": read_string(part, "refusal", path)}
    if not isinstance(kind, str) or kind not in _TEXTS:
        raise unknown_type(kind, path)
    kept = {name: value for name, value in part.items() if value or name not in {"annotations", "logprobs"}}
    check_names(kept, {"type", "text"}, path=path)
    return {"type": "text", "text": read_string(part, "text", path)}


def _read_call(item: Mapping[str, Any], path: str) -> dict[str, Any]:
    kept = {name: value for name, value in item.items() if value is not None}
    check_names(kept, {"type", "id", "call_id", "name", "arguments", "status"}, path=path)
    function = {name: read_string(item, name, path) for name in ("name", "arguments")}
    call = {"id": read_string(item, "call_id", path), "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def _read_result(item: Mapping[str, Any], path: str) -> dict[str, Any]:
    kept = {name: value for name, value in item.items() if value is not None}
    check_names(kept, {"type", "id", "call_id", "output", "status"}, path=path)
    output = item.get("output")
    if not isinstance(output, str):
        items = read_objects(output, f"{path}.output")
        for where, part in items:
            if part.get("type") == "input_image":
                raise unknown_type("input_image", where)
        output = _read_parts(output, f"{path}.output")
    return {"role": "tool", "tool_call_id": read_string(item, "call_id", path), "content": output}


def _read_thought(item: Mapping[str, Any], path: str) -> str:
    """Return what a model thought before it said what follows."""
    kept = {name: value for name, value in item.items() if value is not None}
    check_names(kept, {"type", "id", "summary", "content", "status"}, path=path)
    texts = []
    for name, kind in (("content", "reasoning_text"), ("summary", "summary_text")):
        for where, part in read_objects(kept.get(name, []), f"{path}.{name}"):
            if part.get("type") != kind:
                raise unknown_type(part.get("type"), where)
            check_names(part, {"type", "text"}, path=where)
            texts.append(read_string(part, "text", where))
    return "\n".join(texts)


_ITEMS: Final[Mapping[str, Callable[[Mapping[str, Any], str], dict[str, Any]]]] = {
    "message": _read_message,
    "function_call": _read_call,
    "function_call_output": _read_result,
}
