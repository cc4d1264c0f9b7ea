"""Every endpoint on its whole way: from a caller's socket to an engine and back."""

import json
from typing import Any

import pytest
from aiohttp import web

from tests.unit.gateway.engine import USAGE, WORDS, Engine
from tests.unit.gateway.house import MODEL, House

COMPLETION = {"model": MODEL, "prompt": "What is a class?"}
EMBEDDING = {"model": MODEL, "input": ["one", "three"]}


@pytest.mark.parametrize("status", [404, 405, 501])
async def test_an_engine_that_was_not_started_for_embeddings_is_named_as_such(house: House, status: int) -> None:
    async def refuse(_: Engine, __: web.Request, ___: Any) -> web.StreamResponse:
        return web.json_response({"error": {"message": "start it with --embeddings"}}, status=status)

    house.engine.behave = refuse
    answer = await house.send("/v1/embeddings", json=EMBEDDING)
    assert (answer.status, answer.code) == (404, "endpoint_unknown")
    assert answer.message == (
        f"the engine of {MODEL} does not serve /v1/embeddings (status {status}); choose a model whose engine does"
    )
    assert (await house.entries())[-1]["ended"] == "failed"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", COMPLETION | {"prompt": [1, 2]}),
        ("/v1/embeddings", EMBEDDING | {"input": [[1]]}),
        ("/v1/completions", EMBEDDING),
        ("/v1/embeddings", COMPLETION),
    ],
)
async def test_what_an_endpoint_does_not_know_is_refused_before_its_engine_is_asked(
    house: House, path: str, body: Any
) -> None:
    answer = await house.send(path, json=body)
    assert (answer.status, answer.code) == (400, "request_invalid")
    assert not house.engine.requests


@pytest.mark.parametrize("path", ["/v1/files", "/v1/audio/speech", "/completions", "/v1/moderations"])
async def test_an_endpoint_that_is_not_known_is_refused_by_name(house: House, path: str) -> None:
    answer = await house.send(path, json=COMPLETION)
    assert (answer.status, answer.code) == (404, "endpoint_unknown")
    assert f"there is no POST '{path}' here; served are POST /v1/chat/completions, /v1/completions" in answer.message


async def test_a_completion_is_answered_at_once_and_as_a_stream(house: House) -> None:
    answer = await house.send("/v1/completions", json=COMPLETION)
    assert answer.json["choices"][0]["text"] == "".join(WORDS)
    assert answer.json["usage"] == USAGE
    stream = await house.send("/v1/completions", json=COMPLETION | {"stream": True})
    events = [json.loads(part[6:]) for part in stream.text.split("\n\n") if part and part != "data: [DONE]"]
    assert "".join(event["choices"][0]["text"] for event in events) == "".join(WORDS)
    assert [item["endpoint"] for item in await house.entries() if item["kind"] == "request"] == ["/v1/completions"] * 2


async def test_embeddings_are_answered(house: House) -> None:
    answer = await house.send("/v1/embeddings", json=EMBEDDING)
    assert [item["embedding"] for item in answer.json["data"]] == [[3.0, 0.5], [5.0, 0.5]]
    ((_, body),) = house.engine.requests
    assert body == EMBEDDING
