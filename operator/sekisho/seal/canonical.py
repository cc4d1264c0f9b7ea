"""Canonical JSON: one value has exactly one spelling, so that what is signed can be compared byte by byte.

The spelling is RFC 8785 without floats: UTF-8, keys sorted, no spaces, integers within 2^53 - 1 only.
"""

import json
from typing import Any, Final, NoReturn

from sekisho.errors import Reason, RefusedError

MAX_INTEGER: Final = 2**53 - 1
_MAX_DIGITS: Final = 16
# Made once: json.dumps and json.loads make one anew each time they are told anything.
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))


def encode_canonical(value: object) -> bytes:
    """Spell `value` (dict with text keys, list, text, int, bool, None) canonically.

    Raises:
        RefusedError: Text that is no Unicode (a lone surrogate), a fraction, or a number beyond 2^53 - 1.
    """
    try:
        _check_numbers(value)
    except (ValueError, RecursionError) as error:
        raise _no_spelling() from error
    return _spell(value)


def _spell(value: object) -> bytes:
    try:
        return _ENCODER.encode(value).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise _no_spelling() from error


def _no_spelling() -> RefusedError:
    return RefusedError(Reason.SEAL_INVALID, "a value has no canonical spelling as JSON")


def parse_canonical(data: bytes, *, name: str, max_bytes: int) -> dict[str, Any]:
    """Read an object whose spelling is canonical; nothing else about it is checked.

    Args:
        data: UTF-8.
        name: What the bytes are called in a refusal.
        max_bytes: Longer input is refused before it is parsed.

    Raises:
        RefusedError: Too long, not JSON, a float, a duplicate or unsorted key, any other spelling than the canonical.
    """
    if len(data) > max_bytes:
        raise _refuse(name, f"has {len(data)} bytes, {max_bytes} are allowed")
    try:
        value = _DECODER.decode(data.decode())
    except (ValueError, RecursionError) as error:
        raise _refuse(name, "is not JSON of the kind that can be signed: UTF-8, integers up to 2^53 - 1") from error
    if not isinstance(value, dict):
        raise _refuse(name, "is not a JSON object")
    # Its numbers were checked as they were read.
    if _spell(value) != data:
        raise _refuse(name, "is not spelt canonically: sorted keys, each once, no spaces")
    return value


def _check_numbers(value: object) -> None:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            _check_numbers(item)
    elif isinstance(value, float) or (isinstance(value, int) and abs(value) > MAX_INTEGER):
        raise ValueError


def _read_int(text: str) -> int:
    if len(text) > _MAX_DIGITS + 1 or abs(number := int(text)) > MAX_INTEGER:
        return _refuse_number(text)
    return number


def _refuse_number(_: str) -> NoReturn:
    raise ValueError


_DECODER: Final = json.JSONDecoder(parse_float=_refuse_number, parse_constant=_refuse_number, parse_int=_read_int)


def _refuse(name: str, text: str) -> RefusedError:
    return RefusedError(Reason.SEAL_INVALID, f"{name} {text}")
