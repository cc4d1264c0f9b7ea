"""What stands in an entry of the ledger: JSON of one spelling, without line breaks."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii
from typing import Any, Final, NoReturn

from sekisho.errors import Reason, RefusedError
from sekisho.ledger.tiles import MAX_ENTRY

LINK: Final = "previous"
OPENED: Final = "opened"


def _refuse(value: object) -> NoReturn:
    raise TypeError


# What json.JSONEncoder makes anew for each object; the tests hold it to what that says. It keeps no marks of where it
# was: what holds itself is too deep.
_MEMBERS: Final[Any] = json.encoder.c_make_encoder(  # type: ignore[attr-defined]
    None, _refuse, encode_basestring_ascii, None, ":", ",", True, False, False
)


def _encode(value: Any) -> str:
    return "".join(_MEMBERS(value, 0))


@dataclass(frozen=True, slots=True)
class Spelt:
    """A member that is spelt already, as `spell` does."""

    text: str


def spell(value: Mapping[str, Any]) -> str:
    """Spell an object: keys sorted, no spaces, ASCII alone. Members that are `Spelt` are taken as they are.

    Raises:
        ValueError, TypeError, RecursionError: It holds what JSON has no spelling for.
    """
    if Spelt not in map(type, value.values()):
        return _encode(value if type(value) is dict else dict(value))
    names = sorted([name for name, member in value.items() if type(member) is Spelt])
    parts: list[str] = []
    others = sorted(value.keys() - names)
    for name in names:
        before = {key: value[key] for key in others if key < name}
        others = others[len(before) :]
        parts += [_encode(before)[1:-1]] if before else []
        parts.append(f"{_encode(name)}:{value[name].text}")
    parts += [_encode({key: value[key] for key in others})[1:-1]] if others else []
    return f"{{{','.join(parts)}}}"


def encode_entry(entry: Mapping[str, Any]) -> bytes:
    """Spell an entry: keys sorted, no spaces, ASCII alone, so that equal entries are equal bytes.

    Raises:
        RefusedError: RecordUnavailable; it is too long, or holds what JSON has no spelling for.
    """
    try:
        text = spell(entry)
    except (TypeError, ValueError, RecursionError):
        raise RefusedError(Reason.RECORD_UNAVAILABLE, "an entry of the record has no spelling as JSON") from None
    if len(text) > MAX_ENTRY:
        raise RefusedError(
            Reason.RECORD_UNAVAILABLE, f"an entry of the record has {len(text)} bytes, {MAX_ENTRY} are allowed"
        )
    return text.encode()


def parse_entry(data: bytes) -> dict[str, Any]:
    """Read an entry; whatever is no JSON object is an entry without fields."""
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
