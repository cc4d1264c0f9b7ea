"""The fields of a chat completion that this gateway knows; whatever else stands in a request is refused by name. Pure.

A field that nobody here understands could ask an engine to run a template, to fetch an address or to keep the text.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sekisho.errors import Reason, RefusedError

ROLES: Final = frozenset({"system", "developer", "user", "assistant", "tool"})
MESSAGE_FIELDS: Final = frozenset({"role", "content", "name", "tool_calls", "tool_call_id", "refusal"})
# Accepted, because clients send them, and not sent on: they tell an engine who asks.
DROPPED: Final = frozenset({"user", "safety_identifier"})


class FieldError(RefusedError):
    """Refuse a request for what stands in it; the message never repeats its text.

    Attributes:
        param: Path of the field that is wrong; None where it is the whole body.
    """

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(Reason.REQUEST_INVALID, message)
        self.param = param


@dataclass(frozen=True, slots=True)
class Kind:
    """What a field may hold; bounds are of a number's value, or of the length of anything else."""

    name: str
    types: tuple[type, ...]
    low: float | None = None
    high: float | None = None


_BOOL: Final = Kind("a boolean", (bool,))
_OBJECT: Final = Kind("an object", (dict,))
_LIST: Final = Kind("a list of at most 1024 items", (list,), 0, 1024)
_WORD: Final = Kind("a string of at most 256 characters", (str,), 0, 256)
_COUNT: Final = Kind("a whole number from 1 to 16777216", (int,), 1, 1 << 24)
_PENALTY: Final = Kind("a number from -2 to 2", (int, float), -2, 2)
FIELDS: Final[Mapping[str, Kind]] = {
    "model": _WORD,
    "messages": Kind("a list", (list,)),
    "stream": _BOOL,
    "stream_options": _OBJECT,
    "temperature": Kind("a number from 0 to 2", (int, float), 0, 2),
    "top_p": Kind("a number from 0 to 1", (int, float), 0, 1),
    "max_tokens": _COUNT,
    "max_completion_tokens": _COUNT,
    "n": Kind("a whole number", (int,)),
    "stop": Kind("a string or a list of at most 1024", (str, list), 0, 1024),
    "presence_penalty": _PENALTY,
    "frequency_penalty": _PENALTY,
    "logit_bias": _OBJECT,
    "logprobs": _BOOL,
    "top_logprobs": Kind("a whole number from 0 to 20", (int,), 0, 20),
    "response_format": _OBJECT,
    "seed": Kind("a whole number of 64 bits", (int,), -(1 << 63), (1 << 63) - 1),
    "tools": _LIST,
    "tool_choice": Kind("a string or an object", (str, dict)),
    "parallel_tool_calls": _BOOL,
    "reasoning_effort": _WORD,
    "user": _WORD,
    "safety_identifier": _WORD,
}


def quote(value: Any) -> str:
    """Spell a caller's value for a message: short, on one line, without control characters."""
    if not isinstance(value, str):
        return "absent" if value is None else f"a {type(value).__name__}"
    text = "".join(char if char.isprintable() else "?" for char in value[:64])
    return f'"{text}{"…" if len(value) > 64 else ""}"'


def check_fields(raw: Mapping[str, Any], *, max_choices: int) -> None:
    """Check every field of the request but what stands in its messages.

    Raises:
        FieldError: A field is unknown, or holds what it may not.
    """
    for name, value in raw.items():
        kind = FIELDS.get(name)
        if kind is None:
            raise FieldError(f"the field {quote(name)} is not served by this gateway", param=name[:64])
        if value is not None:
            _check(name, value, kind)
    choices = raw.get("n")
    if choices is not None and not 1 <= choices <= max_choices:
        raise FieldError(f"n is {choices}, 1 to {max_choices} are possible", param="n")
    for name in raw.get("stream_options") or ():
        if name != "include_usage":
            raise FieldError(
                f"the field {quote(name)} is not served by this gateway", param=f"stream_options.{name[:64]}"
            )


def _check(name: str, value: Any, kind: Kind) -> None:
    right = isinstance(value, kind.types) and (not isinstance(value, bool) or bool in kind.types)
    if right and kind.low is not None and kind.high is not None:
        right = kind.low <= (value if isinstance(value, int | float) else len(value)) <= kind.high
    if not right:
        raise FieldError(f"{name} must be {kind.name}", param=name)


def check_messages(messages: Any, *, most: int) -> None:
    """Check the conversation: known roles, texts, and tool calls whose inside is the engine's matter.

    Raises:
        FieldError: Something in it is unknown; the path is named, never the text.
    """
    if not isinstance(messages, list) or not messages:
        raise FieldError("messages must be a list of at least one message", param="messages")
    if len(messages) > most:
        raise FieldError(f"messages has {len(messages)} items, {most} are possible", param="messages")
    for at, message in enumerate(messages):
        path = f"messages[{at}]"
        if not isinstance(message, dict):
            raise FieldError(f"{path} must be an object", param=path)
        for name in message:
            if name not in MESSAGE_FIELDS:
                raise FieldError(
                    f"the field {quote(name)} of {path} is not served by this gateway", param=f"{path}.{name[:64]}"
                )
        _check_message(message, path)


def _check_message(message: Mapping[str, Any], path: str) -> None:
    role = message.get("role")
    if not isinstance(role, str) or role not in ROLES:
        known = ", ".join(sorted(ROLES))
        raise FieldError(f"{path}.role is {quote(role)}; known are {known}", param=f"{path}.role")
    for name in ("name", "tool_call_id", "refusal"):
        if not isinstance(message.get(name), str | None):
            raise FieldError(f"{path}.{name} must be a string", param=f"{path}.{name}")
    if not isinstance(message.get("tool_calls"), list | None):
        raise FieldError(f"{path}.tool_calls must be a list", param=f"{path}.tool_calls")
    content = message.get("content")
    if content is None or isinstance(content, str):
        return
    if not isinstance(content, list):
        raise FieldError(f"{path}.content must be a string or a list of parts", param=f"{path}.content")
    for at, part in enumerate(content):
        if not isinstance(part, dict) or part.keys() != {"type", "text"} or part["type"] != "text":
            where = f"{path}.content[{at}]"
            raise FieldError(f"{where} is not a part of text; other parts are not served by this gateway", param=where)
        if not isinstance(part["text"], str):
            raise FieldError(f"{path}.content[{at}].text must be a string", param=f"{path}.content[{at}].text")
