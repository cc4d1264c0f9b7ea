"""Every endpoint on its whole way: from a caller's socket to an engine and back."""

import json
from typing import Any

import pytest
from aiohttp import web

from tests.unit.gateway.engine import FINISHED, USAGE, WORDS, Engine, begin_stream, chunk_of, spell_event
from tests.unit.gateway.house import MODEL, POLICY, House

COMPLETION = {"model": MODEL, "prompt": "What is a class?"}
MESSAGE = {"model": MODEL, "max_tokens": 64, "messages": [{"role": "user", "content": "What is a class?"}]}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}
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


@pytest.mark.parametrize(
    ("path", "body", "status", "kind", "code"),
    [
        ("/v1/messages", MESSAGE | {"mcp_servers": []}, 400, "invalid_request_error", "request_invalid"),
        ("/v1/messages", MESSAGE | {"model": "hr/payroll"}, 404, "not_found_error", "model_unknown"),
        ("/v1/messages/count_tokens", MESSAGE, 404, "not_found_error", "endpoint_unknown"),
        ("/v1/messages/batches", MESSAGE, 404, "not_found_error", "endpoint_unknown"),
    ],
)
async def test_refusals_of_messages_have_the_dialects_own_shape(
    house: House, path: str, body: Any, status: int, kind: str, code: str
) -> None:
    answer = await house.send(path, json=body)
    assert answer.status == status
    assert (answer.json["type"], answer.json["error"]["type"], answer.code) == ("error", kind, code)
    assert "count_tokens" not in path or "there is no POST '/v1/messages/count_tokens' here" in answer.message
    assert not house.engine.requests


async def test_a_key_in_the_dialects_place_is_a_token_like_any_other_but_never_beside_another(house: House) -> None:
    answer = await house.send("/v1/messages", json=MESSAGE, token=None, headers={"x-api-key": "no-token"})
    assert (answer.status, answer.json["error"]["type"]) == (401, "authentication_error")
    answer = await house.send("/v1/messages", json=MESSAGE, headers={"x-api-key": house.token})
    assert (answer.status, answer.code) == (401, "unauthenticated")
    assert answer.message == "2 tokens or keys were sent; send one, in Authorization or in x-api-key"
    answer = await house.send("/v1/messages", json=MESSAGE, token=None, headers={"x-api-key": house.token})
    assert answer.status == 200
    assert answer.json["content"] == [{"type": "text", "text": "".join(WORDS)}]
    assert (answer.json["stop_reason"], answer.json["usage"]["output_tokens"]) == ("end_turn", 5)
    ((headers, body),) = house.engine.requests
    assert not {"x-api-key", "X-Api-Key", "Authorization"} & headers.keys()
    assert body["messages"] == [{"role": "user", "content": "What is a class?"}]


async def test_a_response_that_would_have_to_be_kept_is_refused_and_another_is_answered(house: House) -> None:
    body = {"model": MODEL, "input": "What is a class?"}
    answer = await house.send("/v1/responses", json=body | {"previous_response_id": "resp_1"})
    assert (answer.status, answer.code, answer.json["error"]["param"]) == (
        400,
        "request_invalid",
        "previous_response_id",
    )
    assert (await house.send("/v1/responses/resp_1", method="GET")).code == "endpoint_unknown"
    assert not house.engine.requests
    answer = await house.send("/v1/responses", json=body)
    assert answer.json["output"][0]["content"][0]["text"] == "".join(WORDS)
    assert answer.json["usage"]["output_tokens"] == 5


async def test_models_are_listed_in_the_shape_of_who_asks(house: House) -> None:
    headers = {"anthropic-version": "2023-06-01"}
    listing = await house.send("/v1/models", method="GET", headers=headers)
    model = {"type": "model", "id": MODEL, "display_name": MODEL, "created_at": "2026-10-01T00:00:00Z"}
    assert listing.json == {"data": [model], "has_more": False, "first_id": MODEL, "last_id": MODEL}
    assert (await house.send(f"/v1/models/{MODEL}", method="GET", headers=headers)).json == model
    missing = await house.send("/v1/models/hr/payroll", method="GET", headers=headers)
    assert (missing.status, missing.json["error"]["type"]) == (404, "not_found_error")


async def test_an_engine_that_dies_in_a_stream_ends_it_in_the_dialects_own_shape(house: House) -> None:
    async def stop_early(_: Engine, request: web.Request, body: Any) -> web.StreamResponse:
        response = await begin_stream(request)
        await response.write(spell_event(chunk_of("a", body["model"])))
        return response

    house.engine.behave = stop_early
    answer = await house.send("/v1/messages", json=MESSAGE | {"stream": True})
    head, _, data = answer.text.strip().split("\n\n")[-1].partition("\n")
    assert head == "event: error"
    assert json.loads(data.removeprefix("data: "))["error"]["code"] == "upstream_failed"
    assert (await house.entries())[-1]["ended"] == "failed"


async def test_an_engine_that_says_what_is_not_known_is_told_nothing_of(house: House) -> None:
    async def babble(_: Engine, request: web.Request, body: Any) -> web.StreamResponse:
        response = await begin_stream(request)
        await response.write(b'data: {"object":"poem","text":"planted"}\n\ndata: [DONE]\n\n')
        return response

    house.engine.behave = babble
    answer = await house.send("/v1/messages", json=MESSAGE | {"stream": True})
    assert (answer.status, answer.code) == (502, "upstream_failed")
    assert "an event is not of type chat.completion.chunk" in answer.message
    assert "planted" not in answer.text


async def test_an_image_needs_a_class_that_allows_what_nothing_examines(house: House) -> None:
    body = MESSAGE | {"messages": [{"role": "user", "content": [IMAGE]}]}
    answer = await house.send("/v1/messages", json=body)
    assert (answer.status, answer.json["error"]["type"], answer.code) == (403, "permission_error", "opaque_not_allowed")
    assert answer.message == (
        "the request holds 1 image, which nothing examines, and its class confidential+gdpr does not allow what cannot "
        "be examined (opaque: Refused). Send text, or ask who answers for the policy."
    )
    assert not house.engine.requests
    levels = [{"name": item["name"], "rules": {"opaque": "Allowed"}} for item in POLICY["levels"]]
    policy = POLICY | {"levels": levels}
    house.api.put("classificationpolicies", {"metadata": {"name": "default"}, "spec": policy})

    async def is_allowed() -> bool:
        return (await house.send("/v1/messages", json=body)).status == 200

    await house.settle(is_allowed, what="the policy to be heard of")
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    assert house.engine.requests[-1][1]["messages"] == [{"role": "user", "content": [part]}]


@pytest.mark.parametrize("size", [1, 7])
async def test_bytes_that_come_cut_anywhere_are_told_whole(house: House, size: int) -> None:
    async def dribble(_: Engine, request: web.Request, body: Any) -> web.StreamResponse:
        response = await begin_stream(request)
        events = [chunk_of(word, body["model"]) for word in WORDS] + [chunk_of("", body["model"])]
        events[-1]["choices"] = [FINISHED]
        lines = [f"data: {json.dumps(event, ensure_ascii=False)}\n\n".encode() for event in events]
        data = b"".join([*lines, b"data: [DONE]\n\n"])
        for at in range(0, len(data), size):
            await response.write(data[at : at + size])
        return response

    house.engine.behave = dribble
    answer = await house.send("/v1/messages", json=MESSAGE | {"stream": True})
    events = [json.loads(part.partition("data: ")[2]) for part in answer.text.split("\n\n") if part]
    told = "".join(event["delta"]["text"] for event in events if event["type"] == "content_block_delta")
    assert told == "".join(WORDS)
    assert events[-1]["type"] == "message_stop"
