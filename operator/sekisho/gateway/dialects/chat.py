"""Chat completions: the fields that this gateway knows; whatever else stands in a request is refused by name. Pure.

A field that nobody here understands could ask an engine to run a template, to fetch an address or to keep the text.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from sekisho.gateway.dialects.parts import check_chat_part, read_objects
from sekisho.gateway.dialects.shapes import (
    check_logit_bias,
    check_response_format,
    check_stop,
    check_tool_calls,
    check_tool_choice,
    check_tools,
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
    check_names,
    quote,
)

ROLES: Final = frozenset({"system", "developer", "user", "assistant", "tool"})
MESSAGE_FIELDS: Final = frozenset(
    {"role", "content", "name", "tool_calls", "tool_call_id", "refusal", "reasoning_content", "reasoning"}
)
# What engines put into their answers, and clients send back with them, and says nothing.
_EMPTY_FIELDS: Final = frozenset({"annotations", "audio", "function_call"})
# Accepted, because clients send them, and not sent on: they tell an engine who asks.
DROPPED: Final = frozenset({"user", "safety_identifier"})
PENALTY: Final = Kind("a number from -2 to 2", (int, float), -2, 2)
# What every dialect has that lets a model speak.
SAMPLING: Final[Mapping[str, Kind]] = {
    "model": WORD,
    "stream": BOOL,
    "stream_options": OBJECT,
    "temperature": TEMPERATURE,
    "top_p": TOP_P,
    "max_tokens": COUNT,
    "n": Kind("a whole number", (int,)),
    "stop": Kind("a string or a list of at most 1024", (str, list), 0, 1024),
    "presence_penalty": PENALTY,
    "frequency_penalty": PENALTY,
    "logit_bias": OBJECT,
    "seed": Kind("a whole number of 64 bits", (int,), -(1 << 63), (1 << 63) - 1),
    "user": WORD,
    "safety_identifier": WORD,
}
FIELDS: Final[Mapping[str, Kind]] = {
    **SAMPLING,
    "messages": Kind("a list", (list,)),
    "max_completion_tokens": COUNT,
    "logprobs": BOOL,
    "top_logprobs": Kind("a whole number from 0 to 20", (int,), 0, 20),
    "response_format": OBJECT,
    "tools": LIST,
    "tool_choice": Kind("a string or an object", (str, dict)),
    "parallel_tool_calls": BOOL,
    "reasoning_effort": WORD,
}

# What `check_sampling` looks into.
_SAMPLED: Final = frozenset({"stop", "logit_bias", "n", "stream_options"})
_INSIDE: Final[Mapping[str, Callable[[Any], None]]] = {
    "response_format": check_response_format,
    "tools": check_tools,
    "tool_choice": check_tool_choice,
}


def read_chat(raw: Mapping[str, Any], limits: BodyLimits) -> dict[str, Any]:
    """Return the body for an engine, without the model's name.

    Raises:
        FieldError: It holds anything that is not known.
    """
    check_fields(raw, FIELDS)
    check_sampling(raw, limits)
    if not _INSIDE.keys().isdisjoint(raw):
        for name, check in _INSIDE.items():
            if raw.get(name) is not None:
                check(raw[name])
    kept = keep_fields(raw)
    kept["messages"] = read_turns(raw.get("messages"), most=limits.max_messages)
    return kept


def keep_fields(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return what goes on to an engine: nothing that says nothing, nothing that tells who asks."""
    return {
        key: value
        for key, value in raw.items()
        if key not in DROPPED and key not in {"model", "stream"} and value is not None
    }


def check_sampling(raw: Mapping[str, Any], limits: BodyLimits) -> None:
    """Check how many choices are asked for, what ends and bends them, and the options of a stream."""
    if _SAMPLED.isdisjoint(raw):
        return
    check_stop(raw.get("stop"))
    check_logit_bias(raw.get("logit_bias") or {})
    choices = raw.get("n")
    if choices is not None and not 1 <= choices <= limits.max_choices:
        raise FieldError(f"n is {choices}, 1 to {limits.max_choices} are possible", param="n")
    check_fields(raw.get("stream_options") or {}, {"include_usage": BOOL}, path="stream_options")


def read_turns(messages: Any, *, most: int) -> list[dict[str, Any]]:
    """Return the conversation: known roles, texts, images, tool calls.

    Raises:
        FieldError: Something in it is unknown; the path is named, never the text.
    """
    if not isinstance(messages, list) or not messages:
        raise FieldError("messages must be a list of at least one message", param="messages")
    if len(messages) > most:
        raise FieldError(f"messages has {len(messages)} items, {most} are possible", param="messages")
    return [_read_turn(message, f"messages[{at}]") for at, message in enumerate(messages)]


def _read_turn(message: Any, path: str) -> dict[str, Any]:
    if not isinstance(message, dict):
        raise FieldError(f"{path} must be an object", param=path)
    kept = {name: value for name, value in message.items() if value or name not in _EMPTY_FIELDS}
    check_names(kept, MESSAGE_FIELDS, path=path)
    _check_message(kept, path)
    return kept


def _check_message(message: Mapping[str, Any], path: str) -> None:
    role = message.get("role")
    if not isinstance(role, str) or role not in ROLES:
        known = ", ".join(sorted(ROLES))
        raise FieldError(f"{path}.role is {quote(role)}; known are {known}", param=f"{path}.role")
    content = message.get("content")
    if isinstance(content, str) and len(message) == 2:
        # As most are: a role and one text.
        return
    for name in ("name", "tool_call_id", "refusal", "reasoning_content", "reasoning"):
        if (said := message.get(name)) is not None and not isinstance(said, str):
            raise FieldError(f"{path}.{name} must be a string", param=f"{path}.{name}")
    if message.get("tool_calls") is not None:
        check_tool_calls(message["tool_calls"], f"{path}.tool_calls")
    if content is None or isinstance(content, str):
        return
    if not isinstance(content, list):
        raise FieldError(f"{path}.content must be a string or a list of parts", param=f"{path}.content")
    for where, part in read_objects(content, f"{path}.content"):
        check_chat_part(part, where)
