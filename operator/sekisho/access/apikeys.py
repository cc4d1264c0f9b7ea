"""API keys: the gateway holds their digests alone. Pure.

A key is `sk-sekisho-` and 43 characters, 256 random bits: no dictionary holds it, so one plain SHA-256 is enough.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from sekisho.api.meta import Expiry, Name
from sekisho.api.problems import spell_problem
from sekisho.errors import Reason, RefusedError

PREFIX: Final = "sk-sekisho-"
SECRET_BYTES: Final = 32
MAX_KEYS: Final = 10_000
_KEY: Final = re.compile(re.escape(PREFIX) + r"[A-Za-z0-9_-]{43}")


class KeyEntry(BaseModel):
    """One key as the gateway knows it."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)

    name: Name
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    groups: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=256)], ...], Field(max_length=64)] = ()
    expires_at: Expiry | None = None

    @model_validator(mode="after")
    def _check_groups(self) -> Self:
        if any(group.startswith("system:") for group in self.groups):
            raise ValueError("groups that begin with system: are the API server's own")
        return self


@dataclass(frozen=True, slots=True)
class ApiKeys:
    """Every key, by digest."""

    entries: Mapping[str, KeyEntry]

    def find(self, key: str, *, now: datetime) -> KeyEntry | None:
        """Return the entry of a key; None where there is none in force."""
        entry = self.entries.get(digest_key(key))
        if entry is None or (entry.expires_at is not None and now >= datetime.fromisoformat(entry.expires_at)):
            return None
        return entry


def is_key(text: str) -> bool:
    """Tell whether a text has the shape of a key."""
    return _KEY.fullmatch(text) is not None


def digest_key(key: str) -> str:
    """Return what the gateway holds of a key, in hexadecimal."""
    return hashlib.sha256(key.encode()).hexdigest()


def spell_key(secret: bytes) -> str:
    """Return the key of 32 random bytes; secret."""
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"a key needs {SECRET_BYTES} random bytes, {len(secret)} were given")
    return PREFIX + base64.urlsafe_b64encode(secret).rstrip(b"=").decode()


def parse_entry(raw: Mapping[str, Any]) -> KeyEntry:
    """Read one entry.

    Raises:
        RefusedError: InvalidSpec; the message names the field, never its content.
    """
    try:
        return KeyEntry.model_validate(raw)
    except ValidationError as error:
        raise _refuse(spell_problem(error, otherwise="an entry")) from None


def parse_api_keys(text: str) -> ApiKeys:
    """Read the file of keys, `{"keys": [{name, sha256, groups, expiresAt}]}`.

    Raises:
        RefusedError: InvalidSpec; the message names the entry's place, never its content.
    """
    try:
        raw: Any = json.loads(text)
        items = raw["keys"]
        if not isinstance(items, list) or len(items) > MAX_KEYS:
            raise _refuse(f"keys must be a list of at most {MAX_KEYS}")
    except (ValueError, KeyError, TypeError):
        raise _refuse('they are not JSON of the form {"keys": […]}') from None
    entries = [parse_entry(item) for item in items]
    for what in ("name", "sha256"):
        if len({getattr(item, what) for item in entries}) < len(entries):
            raise _refuse(f"two of them have the same {what}")
    return ApiKeys({item.sha256: item for item in entries})


def _refuse(why: str) -> RefusedError:
    return RefusedError(Reason.INVALID_SPEC, f"the API keys cannot be used: {why}")
