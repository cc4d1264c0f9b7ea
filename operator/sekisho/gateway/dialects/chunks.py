"""What an engine says, chunk by chunk or as a whole, read strictly into parts. Pure.

Only what is known is read, and answers are written anew from it: a field that nobody examines never reaches a caller.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from sekisho.errors import Reason, UnavailableError
from sekisho.gateway.dialects.answers import Channel, Voice
from sekisho.gateway.dialects.engine import is_count
from sekisho.gateway.dialects.form import Endpoint

_VOICES: Final[Mapping[str, Voice]] = {
    "reasoning_content": "reasoning",
    "reasoning": "reasoning",
    "content": "content",
    "refusal": "refusal",
}
_REASONS: Final = frozenset({"stop", "length", "tool_calls", "content_filter"})
# What engines put beside the texts and no caller is told.
_SILENT: Final = frozenset({"role", "tool_calls", "function_call", "audio", "annotations"})
_KNOWN: Final = _SILENT.union(_VOICES)
_OBJECTS: Final = {Endpoint.CHAT: "chat.completion", Endpoint.COMPLETIONS: "text_completion"}
_MAX_TOOLS: Final = 128
_MAX_NAME: Final = 256
# What no name of an answer holds.
_UNNAMED: Final = re.compile("[^A-Za-z0-9_-]+")


class Head(NamedTuple):
    """Name and time of an answer."""

    id: str
    created: int


class Said(NamedTuple):
    """A piece of a text."""

    channel: Channel
    text: str


class Called(NamedTuple):
    """The beginning of a tool call; its arguments follow on its channel."""

    choice: int
    tool: int
    id: str
    name: str


class Finished(NamedTuple):
    """The end of a choice.

    Attributes:
        reason: As chat completions spell it.
        sequence: Which stop sequence ended it, where the engine tells.
    """

    choice: int
    reason: str
    sequence: str | None = None


class Usage(NamedTuple):
    """Counts of tokens."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    reasoning: int = 0


Part = Said | Called | Finished | Usage


def malformed(what: str) -> UnavailableError:
    """Say that an engine answered in a way that is not known; nothing of what it said is repeated."""
    return UnavailableError(Reason.UPSTREAM_FAILED, f"the engine's answer ends here: {what}")


def read_event(event: bytes) -> bytes:
    """Return the data of an event; most have one line.

    Raises:
        UnavailableError: A line is neither data nor a comment.
    """
    if event.startswith(b"data:") and b"\n" not in event and b"\r" not in event:
        return event[5:].strip()
    return b"\n".join(line for line in map(_read_line, event.splitlines()) if line is not None)


def _read_line(line: bytes) -> bytes | None:
    """Return the data of a line, None for a comment or an empty one."""
    if line.startswith(b"data:"):
        return line[5:].strip()
    if not line or line.startswith(b":"):
        return None
    name = line.partition(b":")[0][:32].decode("ascii", "replace")
    raise malformed(f'an event has the line "{name}", which is not known')


def read_object(text: bytes) -> Mapping[str, Any]:
    """Read one JSON object without doubt about what it says.

    Raises:
        UnavailableError: It is none, or says a thing twice.
    """
    try:
        raw = _DECODER.decode(text.decode("utf-8"))
    except (ValueError, RecursionError):
        raise malformed("it is not JSON in UTF-8") from None
    if not isinstance(raw, dict):
        raise malformed("it is not a JSON object")
    return raw


def _build(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    built = dict(pairs)
    if len(built) != len(pairs):
        raise malformed("a JSON object has a key twice")
    return built


def _refuse_constant(_: str) -> None:
    raise malformed("it holds a number that JSON does not know")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_build, parse_constant=_refuse_constant)


def read_head(raw: Mapping[str, Any]) -> Head:
    """Return name and time of an answer; what the engine leaves out is empty."""
    made, created = raw.get("id"), raw.get("created")
    name = made if isinstance(made, str) else ""
    at = created if isinstance(created, int) and not isinstance(created, bool) else 0
    return Head(_UNNAMED.sub("", name[:128]), at)


def read_parts(raw: Mapping[str, Any], engine_path: str, *, whole: bool) -> Iterator[Part]:
    """Yield the parts of a chunk, or of a whole answer, in the order in which they are told.

    Raises:
        UnavailableError: It is of a type that is not known, or holds what is not.
    """
    if raw.get("error") is not None:
        raise malformed("it reported an error")
    suffix = ".chunk" if engine_path == Endpoint.CHAT and not whole else ""
    wanted = _OBJECTS[Endpoint(engine_path)] + suffix
    if raw.get("object") != wanted:
        raise malformed(f"an event is not of type {wanted}")
    choices = raw.get("choices")
    if not isinstance(choices, list):
        raise malformed("choices is not a list")
    for choice in choices:
        yield from _read_choice(choice, engine_path, whole=whole)
    usage = raw.get("usage")
    if isinstance(usage, dict):
        yield _read_usage(usage)


def _read_choice(choice: Any, engine_path: str, *, whole: bool) -> Iterator[Part]:
    at = choice.get("index") if isinstance(choice, dict) else None
    if not isinstance(at, int) or not 0 <= at < 1024:
        raise malformed("a choice has no index")
    if engine_path == Endpoint.COMPLETIONS:
        yield from _read_text(Channel(at, "content"), choice.get("text"))
    else:
        said = choice.get("message" if whole else "delta")
        if isinstance(said, dict):
            yield from _read_delta(at, said, whole=whole)
        elif said is not None or whole:
            raise malformed("a choice says nothing that can be read")
    reason = choice.get("finish_reason")
    if reason is not None:
        if not isinstance(reason, str) or reason not in _REASONS:
            raise malformed("its finish_reason is not known")
        stop = choice.get("stop_reason")
        yield Finished(at, reason, stop if isinstance(stop, str) else None)
    elif whole:
        raise malformed("a choice is not finished")


def _read_delta(at: int, delta: Mapping[str, Any], *, whole: bool) -> Iterator[Part]:
    for name, voice in _VOICES.items():
        text = delta.get(name)
        # Engines that spell reasoning both ways say it twice.
        if text and (name != "reasoning" or not delta.get("reasoning_content")):
            yield from _read_text(Channel(at, voice), text)
    for name in delta:
        if name not in _KNOWN and delta[name]:
            raise malformed("it says something in a field that is not known")
    if delta.get("function_call") or delta.get("audio"):
        raise malformed("it says something in a field that is not known")
    calls = delta.get("tool_calls")
    if calls is None:
        return
    if not isinstance(calls, list):
        raise malformed("tool_calls is not a list")
    for position, call in enumerate(calls):
        yield from _read_call(at, call, position if whole else None)


def _read_text(channel: Channel, text: Any) -> Iterator[Said]:
    if text is None:
        return
    if not isinstance(text, str):
        raise malformed(f"{channel.kind} is not a string")
    if text:
        yield Said(channel, text if text.isascii() else _mend(text))


def _mend(text: str) -> str:
    """Return text that UTF-8 can carry: half a surrogate pair becomes the replacement character."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _read_call(at: int, call: Any, position: int | None) -> Iterator[Part]:
    function = call.get("function") if isinstance(call, dict) else None
    tool = call.get("index", position) if isinstance(call, dict) else None
    if not isinstance(function, dict) or not isinstance(tool, int) or not 0 <= tool < _MAX_TOOLS:
        raise malformed("a tool call cannot be read")
    name, made = function.get("name"), call.get("id")
    if name:
        if not isinstance(name, str) or len(name) > _MAX_NAME or call.get("type", "function") != "function":
            raise malformed("a tool call cannot be read")
        yield Called(at, tool, read_head({"id": made}).id or f"call_{at}_{tool}", _mend(name))
    yield from _read_text(Channel(at, "tool_arguments", tool), function.get("arguments"))


def _read_usage(raw: Mapping[str, Any]) -> Usage:
    return Usage(
        _count(raw, "prompt_tokens"),
        _count(raw, "completion_tokens"),
        _count(raw.get("prompt_tokens_details"), "cached_tokens"),
        _count(raw.get("completion_tokens_details"), "reasoning_tokens"),
    )


def _count(raw: Any, name: str) -> int:
    found = raw.get(name) if isinstance(raw, dict) else None
    return found if is_count(found) else 0
