"""What the release of keys published of a model's key; apart, so that it can be read without all that plans."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from sekisho.api.v1alpha1.model import KeyFacts


def read_key_facts(status: Mapping[str, Any]) -> KeyFacts | None:
    """Read what the release of keys published; None for nothing and for garbage."""
    try:
        return KeyFacts.model_validate(status.get("key"))
    except ValidationError:
        return None
