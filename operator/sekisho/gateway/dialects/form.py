"""The internal form of a request: whichever dialect it came in, an OpenAI body of allowed fields. Pure."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sekisho.gateway.dialects.chat import read_chat
from sekisho.gateway.dialects.messages import read_messages
from sekisho.gateway.dialects.parts import count_images
from sekisho.gateway.dialects.plain import read_completion, read_embedding
from sekisho.gateway.dialects.responses import read_responses
from sekisho.gateway.dialects.strict import BodyLimits, FieldError, parse_json, quote

_MODEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


# Made once: json.dumps makes one anew each time it is told anything.
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


class Endpoint(StrEnum):
    """What callers may ask for; the value is the path."""

    CHAT = "/v1/chat/completions"
    COMPLETIONS = "/v1/completions"
    RESPONSES = "/v1/responses"
    EMBEDDINGS = "/v1/embeddings"
    MESSAGES = "/v1/messages"


_Reader = Callable[[Mapping[str, Any], BodyLimits], dict[str, Any]]
# How each is read, and what the engine is asked for in its place.
_READERS: Final[Mapping[Endpoint, tuple[Endpoint, _Reader]]] = {
    Endpoint.CHAT: (Endpoint.CHAT, read_chat),
    Endpoint.COMPLETIONS: (Endpoint.COMPLETIONS, read_completion),
    Endpoint.EMBEDDINGS: (Endpoint.EMBEDDINGS, read_embedding),
    Endpoint.RESPONSES: (Endpoint.CHAT, read_responses),
    Endpoint.MESSAGES: (Endpoint.CHAT, read_messages),
}
SERVED: Final = frozenset(_READERS)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that holds nothing that is not known.

    Attributes:
        endpoint: What the caller asked for, and the dialect of the answer.
        engine_path: What the engine is asked for.
        body: Allowed fields for `engine_path`; without the model's name and without what tells who asks.
        images: How many images stand in it; what they show is examined by nothing.
    """

    endpoint: Endpoint
    namespace: str
    service: str
    stream: bool
    engine_path: str
    body: Mapping[str, Any]
    images: int = 0

    @property
    def model(self) -> str:
        """The model's name as the caller knows it."""
        return f"{self.namespace}/{self.service}"

    def render(self, served_name: str, body: Mapping[str, Any] | None = None) -> bytes:
        """Return the body for the engine: what was checked, written anew, under the name the engine serves.

        Args:
            served_name: The model's name to the engine.
            body: What to send in place of `self.body`, where something in it was replaced.

        Raises:
            FieldError: The text holds what JSON cannot carry, such as half a surrogate pair.
        """
        head: dict[str, Any] = {"model": served_name}
        if self.engine_path != Endpoint.EMBEDDINGS:
            head["stream"] = self.stream
        try:
            return _ENCODER.encode({**(self.body if body is None else body), **head}).encode("utf-8")
        except ValueError as error:
            raise FieldError("the body holds a number or a text that JSON in UTF-8 cannot carry") from error


def parse_request(endpoint: Endpoint, body: bytes, limits: BodyLimits) -> Asked:
    """Read the body of a request.

    Raises:
        FieldError: It is not JSON, holds a field twice, or holds anything this gateway does not know.
    """
    raw = parse_json(body, limits)
    engine_path, read = _READERS[endpoint]
    fields = read(raw, limits)
    namespace, service = split_model(raw.get("model"))
    stream, images = raw.get("stream") is True, count_images(fields)
    return Asked(endpoint, namespace, service, stream, engine_path.value, fields, images)


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
