"""The list of models, in the dialects' shapes. Pure."""

from collections.abc import Sequence
from typing import Any

from sekisho.gateway.dialects.refusals import encode


def render_models(names: Sequence[tuple[str, str, int]], *, complete: bool) -> bytes:
    """Return the list of models: namespace, name and Unix second of creation of each."""
    return encode({"object": "list", "data": [_model(*item) for item in names], "has_more": not complete})


def render_model(namespace: str, name: str, created: int) -> bytes:
    """Return one model."""
    return encode(_model(namespace, name, created))


def _model(namespace: str, name: str, created: int) -> dict[str, Any]:
    return {"id": f"{namespace}/{name}", "object": "model", "created": created, "owned_by": namespace}
