"""Parts of messages: texts, and images that nothing here examines. Pure."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sekisho.gateway.dialects.strict import FieldError, check_names, join_path, quote

_MEDIA: Final = ("image/png", "image/jpeg", "image/webp", "image/gif")
_IMAGE: Final = re.compile(rf"data:(?:{'|'.join(_MEDIA)});base64,[A-Za-z0-9+/]+={{0,2}}")
_DETAILS: Final = ("auto", "low", "high")
Part = dict[str, Any]


def build_image(address: Any, detail: Any, path: str) -> Part:
    """Return an image as a part of a chat message.

    Raises:
        FieldError: It is not in the request itself: an engine would have to fetch it from elsewhere.
    """
    if not isinstance(address, str) or not _IMAGE.fullmatch(address):
        raise FieldError(
            f"{path} must hold the image itself, in base64, of type {', '.join(_MEDIA)}; addresses are not fetched",
            param=path,
        )
    if detail is not None and detail not in _DETAILS:
        raise FieldError(f"{path}.detail must be one of {', '.join(_DETAILS)}", param=f"{path}.detail")
    return {"type": "image_url", "image_url": {"url": address} | ({"detail": detail} if detail else {})}


def build_text(part: Mapping[str, Any], path: str) -> Part:
    """Return a text as a part of a chat message."""
    return {"type": "text", "text": read_string(part, "text", path)}


def read_string(raw: Mapping[str, Any], name: str, path: str) -> str:
    """Return a field that must be a string."""
    value = raw.get(name)
    if not isinstance(value, str):
        where = join_path(path, name)
        raise FieldError(f"{where} must be a string", param=where)
    return value


def read_objects(value: Any, path: str, *, most: int = 1024) -> Sequence[tuple[str, Mapping[str, Any]]]:
    """Return the objects of a list, each with its path."""
    if not isinstance(value, list) or len(value) > most:
        raise FieldError(f"{path} must be a list of at most {most} items", param=path)
    items = [(f"{path}[{at}]", item) for at, item in enumerate(value)]
    for where, item in items:
        if not isinstance(item, dict):
            raise FieldError(f"{where} must be an object", param=where)
    return items


def check_chat_part(part: Mapping[str, Any], path: str) -> None:
    """Check a part of a chat message.

    Raises:
        FieldError: It is neither a text nor an image, or holds what is not known.
    """
    kind = part.get("type")
    if kind == "text":
        check_names(part, {"type", "text"}, path=path)
        build_text(part, path)
    elif kind == "image_url":
        check_names(part, {"type", "image_url"}, path=path)
        image = part.get("image_url")
        if not isinstance(image, dict):
            raise FieldError(f"{path}.image_url must be an object", param=f"{path}.image_url")
        check_names(image, {"url", "detail"}, path=f"{path}.image_url")
        build_image(image.get("url"), image.get("detail"), f"{path}.image_url")
    else:
        raise unknown_type(kind, path)


def unknown_type(kind: Any, path: str) -> FieldError:
    """Refuse a part, a block, an item or a tool of a type that is not known."""
    return FieldError(f"{path}.type is {quote(kind)}, which is not served by this gateway", param=f"{path}.type")


def join_parts(parts: Sequence[Part]) -> str | list[Part]:
    """Return parts as the content of a message: one text is a string."""
    if len(parts) == 1 and parts[0]["type"] == "text":
        return str(parts[0]["text"])
    return list(parts)


def count_images(body: Mapping[str, Any]) -> int:
    """Return how many images a body for an engine holds."""
    images = 0
    for message in body.get("messages") or ():
        content = message.get("content")
        if isinstance(content, list):
            images += sum(part.get("type") == "image_url" for part in content)
    return images
