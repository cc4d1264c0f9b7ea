"""Refusals in the error shape of the dialect that was spoken. Pure."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from sekisho.errors import Reason
from sekisho.gateway.dialects.form import Endpoint

_HTTP: Final[Mapping[Reason, int]] = {
    Reason.UNAUTHENTICATED: 401,
    Reason.NOT_ALLOWED: 403,
    Reason.CLASS_ABOVE_CEILING: 403,
    Reason.CLASS_ABOVE_SERVICE: 403,
    Reason.OPAQUE_NOT_ALLOWED: 403,
    Reason.PROMPT_ATTACK: 403,
    Reason.ANSWER_REFUSED: 403,
    Reason.MODEL_UNKNOWN: 404,
    Reason.ENDPOINT_UNKNOWN: 404,
    Reason.REQUEST_INVALID: 400,
    Reason.UNKNOWN_LEVEL: 400,
    Reason.UNKNOWN_COMPARTMENT: 400,
    Reason.LABEL_INVALID: 400,
    Reason.REQUEST_TOO_LARGE: 413,
    Reason.OVERLOADED: 429,
    Reason.BUDGET_EXHAUSTED: 429,
    Reason.INTERNAL_ERROR: 500,
    Reason.REDACTION_UNAVAILABLE: 503,
    Reason.CLASSIFIER_UNAVAILABLE: 503,
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
_ANTHROPIC_TYPES: Final[Mapping[int, str]] = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def http_status(reason: Reason) -> int:
    """Return the HTTP status of a refusal; what is nobody's fault for long is 503."""
    return _HTTP.get(reason, 503)


def spell_code(reason: Reason) -> str:
    """Spell a reason as the dialects spell codes: ClassAboveCeiling becomes class_above_ceiling."""
    return _CAMEL.sub("_", reason.value).lower()


def render_error(endpoint: Endpoint | None, reason: Reason, message: str, *, param: str | None = None) -> bytes:
    """Return a refusal in the shape of the endpoint's dialect; OpenAI's where none was asked for that is known."""
    status, code = http_status(reason), spell_code(reason)
    if endpoint is Endpoint.MESSAGES:
        # The dialect has no place for a code; clients keep the whole body, so it stands beside the type.
        kind = _ANTHROPIC_TYPES.get(status, "api_error")
        return encode({"type": "error", "error": {"type": kind, "message": message, "code": code, "param": param}})
    kind = _TYPES.get(status, "server_error")
    return encode({"error": {"message": message, "type": kind, "param": param, "code": code}})


def render_error_event(endpoint: Endpoint | None, reason: Reason, message: str) -> bytes:
    """Return an error as the last event of a stream that has begun."""
    head = b"event: error\n" if endpoint is Endpoint.MESSAGES else b""
    return head + b"data: " + render_error(endpoint, reason, message) + b"\n\n"


def encode(value: Any) -> bytes:
    """Spell an answer; what UTF-8 cannot carry becomes a question mark."""
    return _ENCODER.encode(value).encode("utf-8", "replace")
