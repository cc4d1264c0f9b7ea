"""Models are listed in the shape that whoever asks expects."""

import json

from sekisho.gateway.dialects.form import Endpoint
from sekisho.gateway.dialects.listing import render_model, render_models

ITEM = ("legal", "review", 1_790_000_000)
OPENAI = {"id": "legal/review", "object": "model", "created": 1_790_000_000, "owned_by": "legal"}
ANTHROPIC = {
    "type": "model", "id": "legal/review", "display_name": "legal/review", "created_at": "2026-09-21T14:13:20Z",
}  # fmt: skip


def test_a_list_that_is_not_complete_says_so_where_nobody_would_ask_for_ever() -> None:
    listing = json.loads(render_models(None, [ITEM], complete=False))
    assert listing == {"object": "list", "data": [OPENAI], "has_more": True}
    listing = json.loads(render_models(Endpoint.MESSAGES, [ITEM], complete=False))
    assert listing == {"data": [ANTHROPIC], "has_more": False, "first_id": "legal/review", "last_id": "legal/review"}


def test_an_empty_list_has_no_ends() -> None:
    listing = json.loads(render_models(Endpoint.MESSAGES, [], complete=True))
    assert listing == {"data": [], "has_more": False, "first_id": None, "last_id": None}


def test_one_model_is_told_alone() -> None:
    assert json.loads(render_model(Endpoint.CHAT, ITEM)) == OPENAI
    assert json.loads(render_model(Endpoint.MESSAGES, ITEM)) == ANTHROPIC
