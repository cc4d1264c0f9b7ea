"""What a create request of ours is on record for, and rewriting it so that a later apply can take it back.

An apply removes what its manager applied before and now leaves out. A plain create request costs the API server much
less than an apply, but what it asked for counts as updated, not as applied, and would stay for ever. So before the
first apply to an object that we created the record is rewritten: what we created counts as applied by us.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sekisho.api.names import FIELD_MANAGER

Entry = Mapping[str, Any]
# All that needs to be kept of a record to tell that it is to be rewritten.
CREATED: Final[tuple[Entry, ...]] = ({"manager": FIELD_MANAGER, "operation": "Update"},)


def is_created(live: Mapping[str, Any]) -> bool:
    """Tell whether a request of ours that was no apply is on record for fields of an object, its status aside."""
    return any(_is_ours(entry, "Update") for entry in live["metadata"].get("managedFields") or ())


def count_as_applied(entries: Sequence[Entry]) -> list[Entry]:
    """Return the record with one entry of ours, an apply, for all that we created and applied; others stay as they are.

    The record must hold something that we created.
    """
    applied = [entry for entry in entries if _is_ours(entry, "Apply")]
    created = [entry for entry in entries if _is_ours(entry, "Update")]
    first, *more = [*applied, *created]
    fields = first.get("fieldsV1") or {}
    for entry in more:
        fields = _unite(fields, entry.get("fieldsV1") or {})
    rest = [entry for entry in entries if entry not in applied and entry not in created]
    return [{**first, "operation": "Apply", "fieldsV1": fields}, *rest]


def _is_ours(entry: Entry, operation: str) -> bool:
    told = (entry.get("manager"), entry.get("operation"), entry.get("subresource") or "")
    return told == (FIELD_MANAGER, operation, "")


def _unite(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of both sets; a set is a tree of mappings whose leaves are empty."""
    return {**one, **{key: _unite(one.get(key) or {}, below) for key, below in other.items()}}
