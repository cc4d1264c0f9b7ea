"""Read the model card: where the model comes from, as the front matter of its README tells."""

from dataclasses import dataclass
from typing import Any, Final

import yaml

from sekisho.scan.findings import show

MAX_CARD_BYTES: Final = 512 * 1024
_MOST_NAMES: Final = 64
_FENCE: Final = "---"
# The loaders of texts alone: no tag is followed, no type guessed. The one in C is there where libyaml is.
_LOADER: Final[Any] = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


@dataclass(frozen=True, slots=True)
class Card:
    """What a model card declares.

    Attributes:
        licence: As written, "apache-2.0"; empty where it says nothing.
        base_models: What it was made from.
        datasets: What it was trained on.
    """

    licence: str = ""
    base_models: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()


class NoCardError(Exception):
    """Say that front matter is there and cannot be read."""


def read_card(text: str) -> Card:
    """Read the front matter of a README; an empty card where there is none.

    Raises:
        NoCardError: There is some and it is no YAML, or too much.
    """
    lines = text.removeprefix("\ufeff").split("\n")
    if lines[0].rstrip() != _FENCE:
        return Card()
    end = next((place for place, line in enumerate(lines[1:], 1) if line.rstrip() == _FENCE), 0)
    value = load_yaml("\n".join(lines[1:end]))
    if not isinstance(value, dict):
        raise NoCardError("is not a YAML mapping")
    licence = _one(value.get("license"))
    if licence.lower() == "other":
        licence = _one(value.get("license_name")) or licence
    return Card(licence, _many(value.get("base_model")), _many(value.get("datasets")))


def load_yaml(text: str) -> object:
    """Load YAML into texts, lists and mappings; aliases are not taken, they can unfold to anything.

    Raises:
        NoCardError: No YAML, or too large.
    """
    if len(text.encode(errors="replace")) > MAX_CARD_BYTES:
        raise NoCardError(f"has more than {MAX_CARD_BYTES} bytes")
    try:
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text, Loader=_LOADER)):
            raise NoCardError("uses YAML aliases")
        return yaml.load(text, Loader=_LOADER)  # noqa: S506 - the base loader makes texts, lists and mappings alone
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise NoCardError(f"is no YAML: {type(error).__name__}") from error


def _one(value: object) -> str:
    if isinstance(value, list):
        value = " AND ".join(item for item in value if isinstance(item, str))
    return show(value) if isinstance(value, str) else ""


def _many(value: object) -> tuple[str, ...]:
    items = value if isinstance(value, list) else [value]
    return tuple(show(item) for item in items if isinstance(item, str) and item)[:_MOST_NAMES]
