"""Completions and embeddings: the fields that this gateway knows. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from sekisho.gateway.dialects.chat import SAMPLING, check_sampling, keep_fields
from sekisho.gateway.dialects.strict import BOOL, COUNT, WORD, BodyLimits, FieldError, Kind, check_fields

_TEXTS: Final = Kind("a string or a list of strings", (str, list))
COMPLETION_FIELDS: Final[Mapping[str, Kind]] = {
    **SAMPLING,
    "prompt": _TEXTS,
    "echo": BOOL,
    "logprobs": Kind("a whole number from 0 to 20", (int,), 0, 20),
}
EMBEDDING_FIELDS: Final[Mapping[str, Kind]] = {
    "model": WORD,
    "input": _TEXTS,
    "dimensions": COUNT,
    "encoding_format": WORD,
    "user": WORD,
    "safety_identifier": WORD,
}
_ENCODINGS: Final = ("float", "base64")
_MAX_TEXTS: Final = 2048


def read_completion(raw: Mapping[str, Any], limits: BodyLimits) -> dict[str, Any]:
    """Return the body of a completion for an engine, without the model's name.

    Raises:
        FieldError: It holds anything that is not known.
    """
    check_fields(raw, COMPLETION_FIELDS)
    check_sampling(raw, limits)
    _check_texts(raw, "prompt")
    return keep_fields(raw)


def read_embedding(raw: Mapping[str, Any], limits: BodyLimits) -> dict[str, Any]:
    """Return the body of a request for embeddings for an engine, without the model's name.

    Raises:
        FieldError: It holds anything that is not known.
    """
    check_fields(raw, EMBEDDING_FIELDS)
    _check_texts(raw, "input")
    encoding = raw.get("encoding_format")
    if encoding is not None and encoding not in _ENCODINGS:
        raise FieldError("encoding_format must be float or base64", param="encoding_format")
    return keep_fields(raw)


def _check_texts(raw: Mapping[str, Any], name: str) -> None:
    """Check one text or several; numbers of tokens are refused, for nothing here can read what they say."""
    value = raw.get(name)
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or len(texts) > _MAX_TEXTS:
        raise FieldError(f"{name} must be a string or a list of 1 to {_MAX_TEXTS} strings", param=name)
    for at, text in enumerate(texts):
        if not isinstance(text, str):
            raise FieldError(
                f"{name}[{at}] must be a string; numbers of tokens are not served, for nothing can examine them",
                param=f"{name}[{at}]",
            )
