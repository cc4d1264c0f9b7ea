"""Read JSON of callers without doubt about what it says; whatever is not known is refused by its path. Pure."""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sekisho.errors import Reason, RefusedError

_MAX_SPELT: Final = 64


class FieldError(RefusedError):
    """Refuse a request for what stands in it; the message never repeats its text.

    Attributes:
        param: Path of the field that is wrong; None where it is the whole body.
    """

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(Reason.REQUEST_INVALID, message)
        self.param = param


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """Bounds of what is read from a caller.

    Attributes:
        max_items: Of all lists together: one takes far more memory than the three bytes by which it is spelt.
    """

    max_keys: int = 50_000
    max_items: int = 100_000
    max_depth: int = 32
    max_messages: int = 1024
    max_choices: int = 8


@dataclass(frozen=True, slots=True)
class Kind:
    """What a field may hold; bounds are of a number's value, or of the length of anything else."""

    name: str
    types: tuple[type, ...]
    low: float | None = None
    high: float | None = None


BOOL: Final = Kind("a boolean", (bool,))
OBJECT: Final = Kind("an object", (dict,))
LIST: Final = Kind("a list of at most 1024 items", (list,), 0, 1024)
WORD: Final = Kind("a string of at most 256 characters", (str,), 0, 256)
TEXT: Final = Kind("a string", (str,))
COUNT: Final = Kind("a whole number from 1 to 16777216", (int,), 1, 1 << 24)
TEMPERATURE: Final = Kind("a number from 0 to 2", (int, float), 0, 2)
TOP_P: Final = Kind("a number from 0 to 1", (int, float), 0, 1)


def quote(value: Any) -> str:
    """Spell a caller's value for a message: short, on one line, without control characters."""
    if not isinstance(value, str):
        return "absent" if value is None else f"a {type(value).__name__}"
    text = "".join(char if char.isprintable() else "?" for char in value[:_MAX_SPELT])
    return f'"{text}{"…" if len(value) > _MAX_SPELT else ""}"'


def check_fields(raw: Mapping[str, Any], kinds: Mapping[str, Kind], *, path: str = "") -> None:
    """Check that an object holds known fields of the right kinds; null stands for a field that is left out.

    Raises:
        FieldError: A field is unknown, or holds what it may not.
    """
    for name, value in raw.items():
        kind = kinds.get(name)
        if kind is None:
            raise not_served(name, path)
        if value is not None and not _is_kind(value, kind):
            raise _wrong_kind(join_path(path, name), kind)


def check_names(raw: Mapping[str, Any], known: Collection[str], *, path: str) -> None:
    """Check that an object holds known fields; what they hold is another's matter.

    Raises:
        FieldError: A field is unknown.
    """
    for name in raw:
        if name not in known:
            raise not_served(name, path)


def check_kind(path: str, value: Any, kind: Kind) -> None:
    """Check one value.

    Raises:
        FieldError: It is of another kind, or out of bounds.
    """
    if not _is_kind(value, kind):
        raise _wrong_kind(path, kind)


def _is_kind(value: Any, kind: Kind) -> bool:
    # JSON is read into these types and no others, and true is no number.
    if type(value) not in kind.types:
        return False
    if kind.low is None or kind.high is None:
        return True
    return kind.low <= (value if isinstance(value, (int, float)) else len(value)) <= kind.high


def _wrong_kind(path: str, kind: Kind) -> FieldError:
    return FieldError(f"{path} must be {kind.name}", param=path)


def not_served(name: str, path: str = "") -> FieldError:
    """Refuse a field that this gateway does not know."""
    where = f" of {path}" if path else ""
    return FieldError(
        f"the field {quote(name)}{where} is not served by this gateway", param=join_path(path, name[:_MAX_SPELT])
    )


def join_path(path: str, name: str) -> str:
    """Spell the path of a field."""
    return f"{path}.{name}" if path else name


def parse_json(body: bytes, limits: BodyLimits) -> dict[str, Any]:
    """Parse a body that must be one JSON object, within bounds and without doubt about what it says."""
    keys = 0

    def build(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal keys
        built, given = dict(pairs), len(pairs)
        keys += given
        if keys > limits.max_keys:
            raise FieldError(f"the body has more than {limits.max_keys} keys")
        if len(built) != given:
            name = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
            raise FieldError(f"the body has the key {quote(name)} twice in one object", param=name[:_MAX_SPELT])
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
    _check_shape(parsed, limits)
    return parsed


def _refuse_constant(name: str) -> None:
    raise FieldError(f"the body holds {name}, which JSON does not know")


def _check_shape(parsed: dict[str, Any], limits: BodyLimits) -> None:
    level: list[Any] = [parsed]
    items = 0
    for _ in range(limits.max_depth):
        deeper: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                children: Iterable[Any] = item.values()
            else:
                children = item
                items += len(item)
                if items > limits.max_items:
                    raise FieldError(f"the body has more than {limits.max_items} items in lists")
            for child in children:
                if isinstance(child, (dict, list)):
                    deeper.append(child)  # noqa: PERF401 - written out, since it is done for every value of a request
        if not deeper:
            return
        level = deeper
    raise FieldError(f"the body is nested deeper than {limits.max_depth} levels")
