"""Strict reading of parsed JSON: every field is named, typed and bounded, and no other field may be there."""

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

from sekisho.errors import Reason, RefusedError
from sekisho.seal.canonical import MAX_INTEGER

DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
WORD: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_TIME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_MOST_TOLD: Final = 64
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Fields:
    """One JSON object that is read field by field.

    Attributes:
        name: Where the object stands, for refusals: "sekisho.json: files[3]".
        value: The parsed object.
    """

    name: str
    value: dict[str, Any]

    @classmethod
    def of(cls, value: object, *, name: str, known: Sequence[str], optional: Sequence[str] = ()) -> "Fields":
        """Take `value` as an object that has every field of `known`, perhaps those of `optional`, and no other."""
        if not isinstance(value, dict):
            raise refuse(name, f"is {_describe(value)}, an object is needed")
        for field in known:
            if field not in value:
                raise refuse(name, f'lacks the field "{field}"')
        for field in value:
            if field not in known and field not in optional:
                raise refuse(name, f'has the field "{str(field)[:_MOST_TOLD]}", which this format does not know')
        return cls(name, value)

    def refuse(self, field: str, text: str) -> RefusedError:
        """Say what is wrong with one field."""
        return refuse(f"{self.name}.{field}", text)

    def text(self, field: str, *, pattern: re.Pattern[str] | None = None, most: int = 1024, least: int = 1) -> str:
        """Read text of `least` to `most` UTF-8 bytes without control characters that matches `pattern` as a whole."""
        value = self.value[field]
        if not isinstance(value, str):
            raise self.refuse(field, f"is {_describe(value)}, text is needed")
        length = len(value.encode(errors="replace"))
        if not least <= length <= most:
            raise self.refuse(field, f"has {length} bytes, {least} to {most} are allowed")
        if _CONTROL.search(value):
            raise self.refuse(field, "has a control character")
        if pattern is not None and not pattern.fullmatch(value):
            raise self.refuse(field, f'is "{value[:_MOST_TOLD]}", which is not spelt as this format asks')
        return value

    def integer(self, field: str, *, least: int = 0, most: int = MAX_INTEGER) -> int:
        """Read a whole number within bounds; true and false are none."""
        value = self.value[field]
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.refuse(field, f"is {_describe(value)}, a whole number is needed")
        if not least <= value <= most:
            raise self.refuse(field, f"is {value}, {least} to {most} is allowed")
        return value

    def hexadecimal(self, field: str, *, size: int) -> bytes:
        """Read exactly `size` bytes in lower-case hexadecimal."""
        return bytes.fromhex(self.text(field, pattern=re.compile(f"[0-9a-f]{{{2 * size}}}"), most=2 * size))

    def base64(self, field: str, *, most: int) -> bytes:
        """Read 1 to `most` bytes in base64 with padding; each value has one spelling."""
        text = self.text(field, most=4 * -(-most // 3))
        try:
            data = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            raise self.refuse(field, "is not base64") from error
        if not 1 <= len(data) <= most or base64.b64encode(data).decode() != text:
            raise self.refuse(field, f"is not base64 of 1 to {most} bytes in its one spelling")
        return data

    def time(self, field: str) -> str:
        """Read a UTC time of RFC 3339 in whole seconds."""
        text = self.text(field, pattern=_TIME, most=20)
        try:
            datetime.fromisoformat(text)
        except ValueError as error:
            raise self.refuse(field, f"is {text}, which is no time") from error
        return text

    def items(self, field: str, read: Callable[[object, str], T], *, most: int) -> tuple[T, ...]:
        """Read a list of at most `most` items, each by `read(item, its name)`."""
        value = self.value[field]
        if not isinstance(value, list):
            raise self.refuse(field, f"is {_describe(value)}, a list is needed")
        if len(value) > most:
            raise self.refuse(field, f"has {len(value)} items, {most} are allowed")
        return tuple(read(item, f"{self.name}.{field}[{index}]") for index, item in enumerate(value))


def read_text(value: object, name: str) -> str:
    """Read one text of at most 256 bytes that stands alone in a list."""
    owner, _, field = name.rpartition(".")
    return Fields(owner, {field: value}).text(field, most=256)


def refuse(name: str, text: str) -> RefusedError:
    """Say that something is not spelt as the format asks."""
    return RefusedError(Reason.SEAL_INVALID, f"{name} {text}")


def _describe(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number", type(None): "null"}
    return names.get(type(value), "something else")
