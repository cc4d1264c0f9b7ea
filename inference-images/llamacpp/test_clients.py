# ruff: noqa: PLC0415 - the clients take seconds to import, and every worker collects every test
"""Official clients, the gateway between, and llama.cpp itself behind: every dialect against what it really says."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from imagebuild.main import build_image
from imagebuild.probing import wait_until_healthy
from imagebuild.sandbox import run_image
from models.shelf import make_model

from e2e.ports import free_port
from tests.unit.gateway.callers import (
    load_clients,
    open_anthropic,
    open_anthropic_sync,
    open_langchain,
    open_openai,
    open_openai_sync,
)
from tests.unit.gateway.house import MODEL, House, build_house

pytestmark = pytest.mark.cluster
QUESTION: Any = {"role": "user", "content": "Which 都市 is the capital of Japan?"}
TOOL: Any = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}


@pytest.fixture(scope="module", autouse=True)
def clients() -> None:
    load_clients()


@pytest.fixture(scope="module")
def port(need_root: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    found = free_port()
    arguments = ["--model", "/models", "--alias", MODEL, "--host", "127.0.0.1", "--port", str(found), "--embeddings"]
    archive, work = build_image("llamacpp").archive, tmp_path_factory.mktemp("engine")
    with run_image(archive, work, arguments=arguments, models=make_model("tiny-gguf")) as running:
        assert wait_until_healthy(found, seconds=240, is_alive=lambda: running.process.poll() is None), running.printed
        yield found


@pytest.fixture
async def house(port: int, tmp_path: Path) -> AsyncIterator[House]:
    async with build_house(tmp_path, engine_port=port) as built:
        yield built


async def test_chat_is_answered_at_once_and_as_a_stream(house: House) -> None:
    how: Any = {"model": MODEL, "messages": [QUESTION], "max_completion_tokens": 8, "temperature": 0}
    async with open_openai(house) as client:
        whole = await client.chat.completions.create(**how, tools=[TOOL], tool_choice="none")
        assert whole.usage is not None
        assert (whole.usage.completion_tokens, whole.choices[0].finish_reason) == (8, "length")
        stream = await client.chat.completions.create(**how, stream=True, stream_options={"include_usage": True})
        chunks = [chunk async for chunk in stream]
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.completion_tokens == 8
    assert {item["ended"] for item in await house.entries() if item["kind"] == "completion"} == {"relayed"}


async def test_completions_and_embeddings_are_answered(house: House) -> None:
    async with open_openai(house) as client:
        how: Any = {"model": MODEL, "max_tokens": 4, "temperature": 0}
        whole = await client.completions.create(prompt=["Tokyo is", "Paris is"], **how)
        assert [choice.index for choice in whole.choices] == [0, 1]
        stream = await client.completions.create(prompt="Tokyo is", stream=True, **how)
        assert [chunk async for chunk in stream][-1].choices[0].finish_reason == "length"
        packed = await client.embeddings.create(model=MODEL, input=["one", "two"])
        plain = await client.embeddings.create(model=MODEL, input=["one", "two"], encoding_format="float")
        assert [len(item.embedding) for item in packed.data] == [len(item.embedding) for item in plain.data]
        assert packed.data[0].embedding == pytest.approx(plain.data[0].embedding, abs=1e-4)


async def test_responses_are_answered_at_once_and_as_a_stream(house: House) -> None:
    how: Any = {
        "model": MODEL,
        "input": [QUESTION],
        "instructions": "Be brief.",
        "max_output_tokens": 8,
        "store": False,
    }
    async with open_openai(house) as client:
        whole = await client.responses.create(**how)
        assert (whole.status, whole.output[0].type) == ("incomplete", "message")
        assert whole.usage is not None
        assert whole.usage.output_tokens == 8
        events = [event async for event in await client.responses.create(**how, stream=True)]
        deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
        last = events[-1]
        assert last.type == "response.incomplete"
        assert last.response.output_text == "".join(deltas) != ""
        assert last.response.usage is not None
        assert last.response.usage.output_tokens == 8


async def test_messages_are_answered_at_once_and_as_a_stream(house: House) -> None:
    how: Any = {"model": MODEL, "messages": [QUESTION], "system": "Be brief.", "max_tokens": 8}
    how |= {"extra_body": {"temperature": 0}}
    async with open_anthropic(house) as client:
        whole = await client.messages.create(**how)
        assert (whole.stop_reason, whole.usage.output_tokens) == ("max_tokens", 8)
        async with client.messages.stream(**how) as stream:
            text = "".join([piece async for piece in stream.text_stream])
            final = await stream.get_final_message()
        (block,) = final.content
        assert block.type == "text"
        assert block.text == text != ""
        assert (final.stop_reason, final.usage.output_tokens) == ("max_tokens", 8)
        assert final.usage.input_tokens + (final.usage.cache_read_input_tokens or 0) > 8


async def test_clients_that_wait_are_answered_too(house: House) -> None:
    def talk() -> None:
        how: Any = {"model": MODEL, "messages": [QUESTION], "max_tokens": 8, "extra_body": {"temperature": 0}}
        with open_openai_sync(house) as client:
            stream = client.chat.completions.create(**how, stream=True)
            assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
        with open_anthropic_sync(house) as other:
            message = other.messages.create(**how)
            assert message.usage.output_tokens == 8

    await asyncio.to_thread(talk)


@pytest.mark.parametrize("responses", [False, True])
async def test_langchain_is_answered(house: House, responses: bool) -> None:
    from langchain_core.messages import HumanMessage
    from langchain_openai import ChatOpenAI, OpenAIEmbeddings

    async with open_langchain(house) as make:
        chat = make(ChatOpenAI, use_responses_api=responses, max_tokens=8, temperature=0)
        whole = await chat.ainvoke([HumanMessage("hello")])
        assert whole.usage_metadata["output_tokens"] == 8
        pieces = [piece.text async for piece in chat.astream([HumanMessage("hello")])]
        assert "".join(pieces)
        vectors = await make(OpenAIEmbeddings, check_embedding_ctx_length=False).aembed_documents(["one"])
        assert len(vectors[0]) > 8


async def test_what_the_engine_refuses_is_told_in_the_callers_dialect(house: House) -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nothing"}}}
    body = {"model": MODEL, "messages": [QUESTION], "max_tokens": 8}
    answer = await house.chat(body | {"response_format": schema})
    assert (answer.status, answer.code) == (400, "request_invalid")
    assert f"the engine of {MODEL} refused the request" in answer.message
    config = {"format": {"type": "json_schema", "schema": {"type": "nothing"}}}
    answer = await house.send("/v1/messages", json=body | {"output_config": config})
    assert (answer.status, answer.json["error"]["type"]) == (400, "invalid_request_error")
    assert json.loads(answer.text)["type"] == "error"
