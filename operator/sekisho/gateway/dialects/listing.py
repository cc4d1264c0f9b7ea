"""The list of models, in the dialects' shapes. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sekisho.gateway.dialects.form import Endpoint
from sekisho.gateway.dialects.refusals import encode

# Namespace, name and Unix second of creation.
Listed = tuple[str, str, int]


def render_models(dialect: Endpoint | None, names: Sequence[Listed], *, complete: bool) -> bytes:
    """Return the list of models."""
    models = [_spell(dialect, item) for item in names]
    if dialect is Endpoint.MESSAGES:
        # There are no further pages to ask for; a client that was told of some would ask for ever.
        ends = {"first_id": models[0]["id"], "last_id": models[-1]["id"]} if models else {}
        return encode({"data": models, "has_more": False, "first_id": None, "last_id": None, **ends})
    return encode({"object": "list", "data": models, "has_more": not complete})


def render_model(dialect: Endpoint | None, item: Listed) -> bytes:
    """Return one model."""
    return encode(_spell(dialect, item))


def _spell(dialect: Endpoint | None, item: Listed) -> dict[str, Any]:
    namespace, name, created = item
    full = f"{namespace}/{name}"
    if dialect is Endpoint.MESSAGES:
        at = datetime.fromtimestamp(created, UTC).isoformat().replace("+00:00", "Z")
        return {"type": "model", "id": full, "display_name": full, "created_at": at}
    return {"id": full, "object": "model", "created": created, "owned_by": namespace}
