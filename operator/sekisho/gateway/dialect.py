"""The wire shapes of the OpenAI dialect: requests are read strictly, refusals are written in its error shape. Pure."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sekisho.errors import Reason
from sekisho.gateway.fields import DROPPED, FieldError, check_fields, check_messages, quote

_HTTP: Final[Mapping[Reason, int]] = {
    Reason.UNAUTHENTICATED: 401,
    Reason.NOT_ALLOWED: 403,
    Reason.CLASS_ABOVE_CEILING: 403,
    Reason.CLASS_ABOVE_SERVICE: 403,
    Reason.MODEL_UNKNOWN: 404,
    Reason.ENDPOINT_UNKNOWN: 404,
    Reason.REQUEST_INVALID: 400,
    Reason.UNKNOWN_LEVEL: 400,
    Reason.UNKNOWN_COMPARTMENT: 400,
    Reason.LABEL_INVALID: 400,
    Reason.REQUEST_TOO_LARGE: 413,
    Reason.OVERLOADED: 429,
    Reason.INTERNAL_ERROR: 500,
    Reason.UPSTREAM_FAILED: 502,
    Reason.UPSTREAM_TIMEOUT: 504,
}
_TYPES: Final[Mapping[int, str]] = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "invalid_request_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
}
_MODEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_MAX_ENGINE_WORDS: Final = 512


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """Bounds of what is read from a caller."""

    max_keys: int = 50_000
    max_depth: int = 32
    max_messages: int = 1024
    max_choices: int = 8


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A chat completion that was asked for and holds nothing that is not known.

    Attributes:
        fields: The allowed fields, to be sent to an engine; fields that would tell who asks are left out.
    """

    namespace: str
    service: str
    stream: bool
    fields: Mapping[str, Any]

    def render(self, served_name: str) -> bytes:
        """Return the body for the engine: what was checked, written anew, under the name the engine serves.

        Raises:
            FieldError: The text holds what JSON cannot carry, such as half a surrogate pair.
        """
        try:
            text = json.dumps(
                {**self.fields, "model": served_name, "stream": self.stream},
                ensure_ascii=False,
                allow_nan=False,
                separators=(",", ":"),
            )
            return text.encode("utf-8")
        except ValueError as error:
            raise FieldError("the body holds a number or a text that JSON in UTF-8 cannot carry") from error


def parse_chat(body: bytes, limits: BodyLimits) -> ChatRequest:
    """Read the body of a chat completion.

    Raises:
        FieldError: It is not JSON, holds a field twice, or holds anything this gateway does not know.
    """
    raw = parse_json(body, limits)
    check_fields(raw, max_choices=limits.max_choices)
    check_messages(raw.get("messages"), most=limits.max_messages)
    namespace, service = split_model(raw.get("model"))
    fields = {key: value for key, value in raw.items() if key not in DROPPED and value is not None}
    return ChatRequest(namespace, service, raw.get("stream") is True, fields)


def split_model(value: Any) -> tuple[str, str]:
    """Return namespace and name of a model's name.

    Raises:
        FieldError: It is no such name; nothing is looked up.
    """
    if not isinstance(value, str) or not _MODEL.fullmatch(value):
        raise FieldError(
            f"model is {quote(value)}; it must be namespace/name of an InferenceService, such as legal/contract-review",
            param="model",
        )
    namespace, _, service = value.partition("/")
    return namespace, service


def parse_json(body: bytes, limits: BodyLimits) -> dict[str, Any]:
    """Parse a body that must be one JSON object, within bounds and without doubt about what it says."""
    keys = 0

    def build(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal keys
        keys += len(pairs)
        if keys > limits.max_keys:
            raise FieldError(f"the body has more than {limits.max_keys} keys")
        built = dict(pairs)
        if len(built) != len(pairs):
            name = next(key for at, (key, _) in enumerate(pairs) if key in dict(pairs[:at]))
            raise FieldError(f"the body has the key {quote(name)} twice in one object", param=name[:64])
        return built

    try:
        parsed = json.loads(body.decode("utf-8"), object_pairs_hook=build, parse_constant=_refuse_constant)
    except RecursionError:
        raise FieldError(f"the body is nested deeper than {limits.max_depth} levels") from None
    except UnicodeDecodeError as error:
        raise FieldError(f"the body is not UTF-8 (byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise FieldError(f"the body is not JSON (character {error.pos})") from None
    except ValueError:
        raise FieldError("the body holds a number that is too long") from None
    if not isinstance(parsed, dict):
        raise FieldError("the body must be a JSON object")
    _check_depth(parsed, limits.max_depth)
    return parsed


def _refuse_constant(name: str) -> None:
    raise FieldError(f"the body holds {name}, which JSON does not know")


def _check_depth(parsed: dict[str, Any], most: int) -> None:
    level: list[Any] = [parsed]
    for _ in range(most):
        inner = (item.values() if isinstance(item, dict) else item for item in level)
        level = [child for children in inner for child in children if isinstance(child, dict | list)]
        if not level:
            return
    raise FieldError(f"the body is nested deeper than {most} levels")


def http_status(reason: Reason) -> int:
    """Return the HTTP status of a refusal; what is nobody's fault for long is 503."""
    return _HTTP.get(reason, 503)


def spell_code(reason: Reason) -> str:
    """Spell a reason as the dialect spells codes: ClassAboveCeiling becomes class_above_ceiling."""
    return _CAMEL.sub("_", reason.value).lower()


def render_error(reason: Reason, message: str, *, param: str | None = None, status: int | None = None) -> bytes:
    """Return a refusal in the dialect's error shape."""
    kind = _TYPES.get(status or http_status(reason), "server_error")
    return _encode({"error": {"message": message, "type": kind, "param": param, "code": spell_code(reason)}})


def render_error_event(reason: Reason, message: str) -> bytes:
    """Return an error as the last event of a stream that has begun."""
    return b"data: " + render_error(reason, message) + b"\n\n"


def render_models(names: Sequence[tuple[str, str, int]], *, complete: bool) -> bytes:
    """Return the list of models: namespace, name and Unix second of creation of each."""
    return _encode({"object": "list", "data": [_model(*item) for item in names], "has_more": not complete})


def render_model(namespace: str, name: str, created: int) -> bytes:
    """Return one model."""
    return _encode(_model(namespace, name, created))


def _model(namespace: str, name: str, created: int) -> dict[str, Any]:
    return {"id": f"{namespace}/{name}", "object": "model", "created": created, "owned_by": namespace}


def _encode(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def read_engine_message(body: bytes) -> str:
    """Return what an engine says about a request it refuses; empty where it says nothing that can be read."""
    try:
        raw = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    error = raw.get("error", raw) if isinstance(raw, dict) else None
    said = error.get("message") if isinstance(error, dict) else error
    words = "".join(char if char.isprintable() else " " for char in said) if isinstance(said, str) else ""
    return words[:_MAX_ENGINE_WORDS]


def read_usage(texts: Iterable[bytes]) -> dict[str, int]:
    """Return the counts of tokens that an answer, or the last events of a stream, tell; empty where none does."""
    for text in texts:
        if b'"usage"' not in text:
            continue
        try:
            raw = json.loads(text.removeprefix(b"data:"))
        except (ValueError, RecursionError):
            continue
        usage = raw.get("usage") if isinstance(raw, dict) else None
        if isinstance(usage, dict):
            counts = {key: usage.get(f"{key}_tokens") for key in ("prompt", "completion")}
            return {key: value for key, value in counts.items() if isinstance(value, int) and value >= 0}
    return {}
