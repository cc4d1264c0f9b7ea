"""Anthropic's Messages: read strictly, and turned into a chat. Pure."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from sekisho.gateway.dialects.parts import (
    Part,
    build_image,
    build_text,
    join_parts,
    read_objects,
    read_string,
    unknown_type,
)
from sekisho.gateway.dialects.strict import (
    BOOL,
    COUNT,
    LIST,
    OBJECT,
    TEMPERATURE,
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
    "messages": LIST,
    "system": Kind("a string or a list of texts", (str, list)),
    "max_tokens": COUNT,
    "stream": BOOL,
    "temperature": TEMPERATURE,
    "top_p": TOP_P,
    "top_k": COUNT,
    "stop_sequences": LIST,
    "tools": LIST,
    "tool_choice": OBJECT,
    "thinking": OBJECT,
    "output_config": OBJECT,
    # Accepted, because clients send them, and not sent on: they tell who asks, or how a service far away should cache.
    "metadata": OBJECT,
    "cache_control": OBJECT,
    "service_tier": WORD,
}
_SAME: Final = ("max_tokens", "temperature", "top_p", "top_k")
_THINKING: Final = ("enabled", "disabled", "adaptive")
_TOOL_FIELDS: Final = frozenset({"type", "name", "description", "input_schema", "strict", "cache_control"})
_CHOICES: Final = {"auto": "auto", "any": "required", "none": "none"}


def read_messages(raw: Mapping[str, Any], limits: BodyLimits) -> dict[str, Any]:
    """Return the body of a chat for an engine, without the model's name.

    Raises:
        FieldError: It holds anything that is not known.
    """
    check_fields(raw, FIELDS)
    if raw.get("max_tokens") is None:
        raise FieldError("max_tokens must say how long the answer may be", param="max_tokens")
    body: dict[str, Any] = {"messages": [*_read_system(raw.get("system")), *_read_turns(raw.get("messages"), limits)]}
    body |= {name: raw[name] for name in _SAME if raw.get(name) is not None}
    if raw.get("stop_sequences"):
        body["stop"] = _read_strings(raw["stop_sequences"], "stop_sequences")
    _check_thinking(raw.get("thinking"))
    body |= _read_output(raw.get("output_config") or {}) | _read_tools(raw)
    if raw.get("stream") is True:
        body["stream_options"] = {"include_usage": True}
    return body


def _read_strings(items: list[Any], path: str) -> list[str]:
    for at, item in enumerate(items):
        if not isinstance(item, str):
            raise FieldError(f"{path}[{at}] must be a string", param=f"{path}[{at}]")
    return items


def _read_system(system: Any) -> Iterator[dict[str, Any]]:
    if isinstance(system, list):
        system = "\n\n".join(_read_text(part, path) for path, part in read_objects(system, "system"))
    if system:
        yield {"role": "system", "content": system}


def _read_text(block: Mapping[str, Any], path: str) -> str:
    if block.get("type") != "text":
        raise unknown_type(block.get("type"), path)
    check_names(block, {"type", "text", "cache_control"}, path=path)
    return read_string(block, "text", path)


def _check_thinking(thinking: Mapping[str, Any] | None) -> None:
    """Check what is said of thinking; whether a model thinks is its engine's matter."""
    if thinking is None:
        return
    check_names(thinking, {"type", "budget_tokens", "display"}, path="thinking")
    if thinking.get("type") not in _THINKING:
        raise unknown_type(thinking.get("type"), "thinking")


def _read_output(config: Mapping[str, Any]) -> dict[str, Any]:
    check_names(config, {"effort", "format"}, path="output_config")
    body: dict[str, Any] = {}
    if config.get("effort") is not None:
        body["reasoning_effort"] = read_string(config, "effort", "output_config")
    wanted = config.get("format")
    if wanted is None:
        return body
    path = "output_config.format"
    if not isinstance(wanted, dict) or wanted.get("type") != "json_schema":
        raise FieldError(f"{path} must be of type json_schema", param=path)
    check_names(wanted, {"type", "schema"}, path=path)
    if not isinstance(wanted.get("schema"), dict):
        raise FieldError(f"{path}.schema must be an object", param=f"{path}.schema")
    schema = {"name": "answer", "schema": wanted["schema"], "strict": True}
    return body | {"response_format": {"type": "json_schema", "json_schema": schema}}


def _read_tools(raw: Mapping[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = {}
    if raw.get("tools"):
        body["tools"] = [_read_tool(tool, path) for path, tool in read_objects(raw["tools"], "tools")]
    choice = raw.get("tool_choice")
    if choice is None:
        return body
    check_names(choice, {"type", "name", "disable_parallel_tool_use"}, path="tool_choice")
    kind = choice.get("type")
    if kind == "tool":
        body["tool_choice"] = {"type": "function", "function": {"name": read_string(choice, "name", "tool_choice")}}
    elif isinstance(kind, str) and kind in _CHOICES:
        body["tool_choice"] = _CHOICES[kind]
    else:
        raise unknown_type(kind, "tool_choice")
    if choice.get("disable_parallel_tool_use") is True:
        body["parallel_tool_calls"] = False
    return body


def _read_tool(tool: Mapping[str, Any], path: str) -> Part:
    if tool.get("type") not in (None, "custom"):
        raise unknown_type(tool.get("type"), path)
    check_names(tool, _TOOL_FIELDS, path=path)
    schema = tool.get("input_schema")
    if not isinstance(schema, dict):
        raise FieldError(f"{path}.input_schema must be an object", param=f"{path}.input_schema")
    function = {"name": read_string(tool, "name", path), "parameters": schema}
    if tool.get("description") is not None:
        function["description"] = read_string(tool, "description", path)
    if tool.get("strict") is not None:
        check_kind(f"{path}.strict", tool["strict"], BOOL)
        function["strict"] = tool["strict"]
    return {"type": "function", "function": function}


def _read_turns(messages: Any, limits: BodyLimits) -> Iterator[dict[str, Any]]:
    turns = read_objects(messages, "messages", most=limits.max_messages)
    if not turns:
        raise FieldError("messages must be a list of at least one message", param="messages")
    for path, turn in turns:
        check_names(turn, {"role", "content"}, path=path)
        role, content = turn.get("role"), turn.get("content")
        if role not in ("user", "assistant"):
            raise FieldError(f"{path}.role is {quote(role)}; known are assistant, user", param=f"{path}.role")
        if isinstance(content, str):
            yield {"role": role, "content": content}
        elif role == "user":
            yield from _read_user(content, f"{path}.content")
        else:
            yield _read_assistant(content, f"{path}.content")


def _read_user(content: Any, path: str) -> Iterator[dict[str, Any]]:
    """Yield what a user says, and what tools said, in the order in which it stands."""
    parts: list[Part] = []
    for where, block in read_objects(content, path):
        kind = block.get("type")
        if kind == "tool_result":
            if parts:
                yield {"role": "user", "content": join_parts(parts)}
                parts = []
            yield _read_result(block, where)
        elif kind == "image":
            parts.append(_read_image(block, where))
        else:
            parts.append({"type": "text", "text": _read_text(block, where)})
    if parts:
        yield {"role": "user", "content": join_parts(parts)}


def _read_image(block: Mapping[str, Any], path: str) -> Part:
    check_names(block, {"type", "source", "cache_control"}, path=path)
    source = block.get("source")
    if not isinstance(source, dict):
        raise FieldError(f"{path}.source must be an object", param=f"{path}.source")
    check_names(source, {"type", "media_type", "data", "url", "file_id"}, path=f"{path}.source")
    inside = source.get("type") == "base64"
    address = f"data:{source.get('media_type')};base64,{source.get('data')}" if inside else None
    return build_image(address, None, f"{path}.source")


def _read_result(block: Mapping[str, Any], path: str) -> dict[str, Any]:
    check_names(block, {"type", "tool_use_id", "content", "is_error", "cache_control"}, path=path)
    content = block.get("content")
    if content is None:
        content = ""
    elif not isinstance(content, str):
        items = read_objects(content, f"{path}.content")
        content = join_parts([{"type": "text", "text": _read_text(item, where)} for where, item in items]) or ""
    return {"role": "tool", "tool_call_id": read_string(block, "tool_use_id", path), "content": content}


def _read_assistant(content: Any, path: str) -> dict[str, Any]:
    texts: list[Part] = []
    thoughts: list[str] = []
    calls: list[dict[str, Any]] = []
    for where, block in read_objects(content, path):
        kind = block.get("type")
        if kind == "thinking":
            check_names(block, {"type", "thinking", "signature"}, path=where)
            thoughts.append(read_string(block, "thinking", where))
        elif kind == "tool_use":
            calls.append(_read_call(block, where))
        else:
            texts.append(build_text({"text": _read_text(block, where)}, where))
    message: dict[str, Any] = {"role": "assistant", "content": join_parts(texts) if texts else None}
    if thoughts:
        message["reasoning_content"] = "\n".join(thoughts)
    return message | ({"tool_calls": calls} if calls else {})


def _read_call(block: Mapping[str, Any], path: str) -> dict[str, Any]:
    check_names(block, {"type", "id", "name", "input", "cache_control", "caller"}, path=path)
    given = block.get("input")
    if not isinstance(given, dict):
        raise FieldError(f"{path}.input must be an object", param=f"{path}.input")
    try:
        arguments = json.dumps(given, ensure_ascii=False, allow_nan=False)
    except ValueError:
        raise FieldError(f"{path}.input holds a number that JSON cannot carry", param=f"{path}.input") from None
    function = {"name": read_string(block, "name", path), "arguments": arguments}
    return {"id": read_string(block, "id", path), "type": "function", "function": function}
