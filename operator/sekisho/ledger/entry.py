"""What stands in an entry of the ledger: JSON of one spelling, without line breaks."""

import json
from collections.abc import Mapping
from typing import Any, Final

from sekisho.errors import Reason, RefusedError
from sekisho.ledger.tiles import MAX_ENTRY

LINK: Final = "previous"
OPENED: Final = "opened"


def encode_entry(entry: Mapping[str, Any]) -> bytes:
    """Spell an entry: keys sorted, no spaces, ASCII alone, so that equal entries are equal bytes.

    Raises:
        RefusedError: RecordUnavailable; it is too long, or holds what JSON has no spelling for.
    """
    try:
        text = json.dumps(entry, sort_keys=True, separators=(",", ":"), allow_nan=False)
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
