# ruff: noqa: PLC0415 - the clients take seconds to import, and every worker collects every test
"""The official clients, and one of the ecosystem, hold whole conversations: what they parse is what was said."""

import asyncio
import json
from typing import Any

import pytest
from pydantic import BaseModel

from tests.unit.gateway.callers import (
    load_clients,
    open_anthropic,
    open_anthropic_sync,
    open_langchain,
    open_openai,
    open_openai_sync,
)
from tests.unit.gateway.engine import (
    ARGUMENTS,
    FORECAST,
    THOUGHT,
    USAGE,
    WORDS,
    begin_stream,
    call_tools,
    chunk_of,
    spell_event,
)
from tests.unit.gateway.house import MODEL, House, build_service

pytestmark = pytest.mark.slow
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CITY = {"city": "東京"}
CHAT_TOOLS: Any = [{"type": "function", "function": {"name": "weather", "parameters": SCHEMA}}]
RESPONSE_TOOLS: Any = [{"type": "function", "name": "weather", "parameters": SCHEMA, "strict": False}]
MESSAGE_TOOLS: Any = [{"name": "weather", "description": "Weather of a city", "input_schema": SCHEMA}]
QUESTION: Any = {"role": "user", "content": "What is the weather in Tokyo?"}


@pytest.fixture(scope="module", autouse=True)
def clients() -> None:
    load_clients()


async def test_openai_raises_its_own_errors_for_refusals(house: House) -> None:
    import openai

    async with open_openai(house) as client:
        with pytest.raises(openai.NotFoundError) as unknown:
            await client.responses.create(model="hr/payroll", input="x")
        assert unknown.value.code == "model_unknown"
        with pytest.raises(openai.BadRequestError) as kept:
            await client.responses.create(model=MODEL, input="x", previous_response_id="resp_1")
        assert (kept.value.code, kept.value.param) == ("request_invalid", "previous_response_id")
        with pytest.raises(openai.BadRequestError) as tokens:
            await client.embeddings.create(model=MODEL, input=[[1, 2, 3]])
        assert "nothing can examine them" in tokens.value.message
        with pytest.raises(openai.BadRequestError) as extra:
            await client.completions.create(model=MODEL, prompt="x", extra_body={"guided_regex": "x"})
        assert extra.value.param == "guided_regex"
    assert not house.engine.requests


async def test_anthropic_raises_its_own_errors_for_refusals(house: House) -> None:
    import anthropic

    async with open_anthropic(house) as client:
        with pytest.raises(anthropic.NotFoundError) as unknown:
            await client.messages.create(model="hr/payroll", max_tokens=9, messages=[QUESTION])
        assert "there is no model" in str(unknown.value)
        with pytest.raises(anthropic.NotFoundError) as counting:
            await client.messages.count_tokens(model=MODEL, messages=[QUESTION])
        assert "/v1/messages/count_tokens" in str(counting.value)
        header = {"x-sekisho-classification": "restricted"}
        with pytest.raises(anthropic.PermissionDeniedError) as above:
            await client.messages.create(model=MODEL, max_tokens=9, messages=[QUESTION], extra_headers=header)
        assert isinstance(above.value.body, dict)
        assert above.value.body["error"]["code"] == "class_above_service"
    assert not house.engine.requests


async def test_clients_raise_when_the_engine_stops_in_a_stream(house: House) -> None:
    import anthropic

    async def stop_early(_: Any, request: Any, body: Any) -> Any:
        response = await begin_stream(request)
        await response.write(spell_event(chunk_of("a", body["model"])))
        return response

    house.engine.behave = stop_early
    async with (
        open_anthropic(house) as client,
        client.messages.stream(model=MODEL, max_tokens=9, messages=[QUESTION]) as told,
    ):
        with pytest.raises(anthropic.APIStatusError, match="ended in the middle of its answer"):
            await told.get_final_message()
    async with open_openai(house) as other:
        stream = await other.responses.create(model=MODEL, input="x", stream=True)
        kinds = [event.type async for event in stream]
        assert kinds[-2:] == ["error", "response.failed"]


async def test_chat_holds_a_conversation_with_a_tool(house: House) -> None:
    house.engine.behave = call_tools
    async with open_openai(house) as client:
        answer = await client.chat.completions.create(model=MODEL, messages=[QUESTION], tools=CHAT_TOOLS)
        message = answer.choices[0].message
        assert message.tool_calls
        call: Any = message.tool_calls[0]
        assert json.loads(call.function.arguments) == CITY
        result: Any = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
        turns: Any = [QUESTION, message, result]
        async with client.chat.completions.stream(model=MODEL, messages=turns, tools=CHAT_TOOLS) as stream:
            final = await stream.get_final_completion()
        assert final.choices[0].message.content == FORECAST
    assert [turn["role"] for turn in house.engine.requests[-1][1]["messages"]] == ["user", "assistant", "tool"]


async def test_responses_hold_a_conversation_with_a_tool_and_without_a_memory(house: House) -> None:
    house.engine.behave = call_tools
    async with open_openai(house) as client:
        async with client.responses.stream(model=MODEL, input=[QUESTION], tools=RESPONSE_TOOLS, store=False) as stream:
            deltas = [event.delta async for event in stream if event.type == "response.function_call_arguments.delta"]
            first = await stream.get_final_response()
        assert deltas == list(ARGUMENTS)
        thought, call = first.output
        assert thought.type == "reasoning"
        assert thought.content
        assert thought.content[0].text == "".join(THOUGHT)
        assert call.type == "function_call"
        assert json.loads(call.arguments) == CITY
        result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
        turns: Any = [QUESTION, *(item.model_dump(exclude_none=True) for item in first.output), result]
        for item in turns:
            item.pop("parsed_arguments", None)
        answer = await client.responses.create(model=MODEL, input=turns, tools=RESPONSE_TOOLS)
        assert answer.output_text == FORECAST
        assert answer.usage is not None
        assert answer.usage.total_tokens == USAGE["total_tokens"]
    turn = house.engine.requests[-1][1]["messages"][1]
    assert (turn["reasoning_content"], turn["tool_calls"][0]["id"]) == ("".join(THOUGHT), call.call_id)


async def test_messages_hold_a_conversation_with_a_tool(house: House) -> None:
    house.engine.behave = call_tools
    async with open_anthropic(house) as client:
        how: Any = {"model": MODEL, "max_tokens": 64, "tools": MESSAGE_TOOLS, "system": "Be brief."}
        async with client.messages.stream(messages=[QUESTION], **how) as stream:
            pieces = [event.partial_json async for event in stream if event.type == "input_json"]
            first = await stream.get_final_message()
        assert "".join(pieces) == "".join(ARGUMENTS)
        thought, call = first.content
        assert (thought.type, call.type) == ("thinking", "tool_use")
        assert thought.type == "thinking"
        assert thought.thinking == "".join(THOUGHT)
        assert call.type == "tool_use"
        assert (call.input, first.stop_reason) == (CITY, "tool_use")
        result: Any = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
        turns: Any = [QUESTION, {"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
        answer = await client.messages.create(messages=turns, **how)
        (text,) = answer.content
        assert text.type == "text"
        assert (text.text, answer.stop_reason, answer.usage.input_tokens) == (FORECAST, "end_turn", 7)
        assert [model.id async for model in client.models.list()] == [MODEL]
    assert [turn["role"] for turn in house.engine.requests[-1][1]["messages"]] == [
        "system",
        "user",
        "assistant",
        "tool",
    ]


async def test_clients_that_wait_are_answered_like_those_that_do_not(house: House) -> None:
    def talk() -> None:
        with open_openai_sync(house) as client:
            stream = client.chat.completions.create(model=MODEL, messages=[QUESTION], stream=True)
            assert "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices) == "".join(WORDS)
            texts = client.completions.create(model=MODEL, prompt="x", stream=True)
            assert "".join(chunk.choices[0].text for chunk in texts) == "".join(WORDS)
            events = client.responses.create(model=MODEL, input="x", stream=True)
            deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
            assert "".join(deltas) == "".join(WORDS)
            vectors = client.embeddings.create(model=MODEL, input=["one", "three"]).data
            assert [item.embedding for item in vectors] == [[3.0, 0.5], [5.0, 0.5]]
        with open_anthropic_sync(house) as other:
            with other.messages.stream(model=MODEL, max_tokens=9, messages=[QUESTION]) as told:
                assert "".join(told.text_stream) == "".join(WORDS)
            raw = other.messages.create(model=MODEL, max_tokens=9, messages=[QUESTION], stream=True)
            assert [event.type for event in raw][-1] == "message_stop"

    await asyncio.to_thread(talk)
    assert len(house.engine.requests) == 6


class Weather(BaseModel):
    """Weather of a city."""

    city: str


@pytest.mark.parametrize("responses", [False, True])
async def test_langchain_streams_calls_tools_and_embeds(house: House, responses: bool) -> None:
    from langchain_core.messages import HumanMessage, ToolMessage
    from langchain_openai import ChatOpenAI

    async with open_langchain(house) as make:
        chat = make(ChatOpenAI, use_responses_api=responses)
        whole = await chat.ainvoke([HumanMessage("hello")])
        assert whole.text == "".join(WORDS)
        assert "".join([piece.text async for piece in chat.astream([HumanMessage("hello")])]) == "".join(WORDS)
        house.engine.behave = call_tools
        bound = chat.bind_tools([Weather])
        first = await bound.ainvoke([HumanMessage("What is the weather in Tokyo?")])
        assert [(call["name"], call["args"]) for call in first.tool_calls] == [("Weather", CITY)]
        result = ToolMessage("sunny", tool_call_id=first.tool_calls[0]["id"])
        assert (await bound.ainvoke([HumanMessage("What is it?"), first, result])).text == FORECAST


async def test_langchain_embeds_texts_that_can_be_examined(house: House) -> None:
    from langchain_openai import OpenAIEmbeddings

    async with open_langchain(house) as make:
        # Without this option it sends numbers of tokens, which nothing here can read.
        vectors = await make(OpenAIEmbeddings, check_embedding_ctx_length=False).aembed_documents(["one", "three"])
    assert vectors == [[3.0, 0.5], [5.0, 0.5]]


async def test_the_openai_client_talks_streams_lists_and_understands_refusals(house: House) -> None:
    import openai

    house.api.put("inferenceservices", build_service("payroll", "hr"))
    async with open_openai(house) as client:
        messages: Any = [{"role": "user", "content": "hello"}]
        answer = await client.chat.completions.create(model=MODEL, messages=messages, temperature=0.2)
        assert answer.choices[0].message.content == "".join(WORDS)
        assert answer.usage is not None
        assert answer.usage.total_tokens == USAGE["total_tokens"]
        stream = await client.chat.completions.create(
            model=MODEL, messages=messages, stream=True, stream_options={"include_usage": True}
        )
        words = [chunk.choices[0].delta.content async for chunk in stream if chunk.choices]
        assert "".join(word or "" for word in words) == "".join(WORDS)
        assert [model.id async for model in client.models.list()] == [MODEL]
        assert (await client.models.retrieve(MODEL)).owned_by == "legal"
        with pytest.raises(openai.NotFoundError) as unknown:
            await client.chat.completions.create(model="hr/payroll", messages=messages)
        assert unknown.value.code == "model_unknown"
        with pytest.raises(openai.PermissionDeniedError) as above:
            await client.chat.completions.create(
                model=MODEL, messages=messages, extra_headers={"x-sekisho-classification": "restricted"}
            )
        assert above.value.code == "class_above_service"


async def test_the_openai_client_raises_when_the_engine_dies_in_a_stream(house: House) -> None:
    import openai

    arrived = asyncio.Event()

    async def die(_: Any, request: Any, body: Any) -> Any:
        response = await begin_stream(request)
        await response.write(spell_event(chunk_of("a", body["model"])))
        await arrived.wait()
        assert request.transport is not None
        request.transport.abort()
        return response

    house.engine.behave = die
    async with open_openai(house) as client:
        stream = await client.chat.completions.create(model=MODEL, messages=[QUESTION], stream=True)
        chunks = aiter(stream)
        assert (await anext(chunks)).choices
        arrived.set()
        with pytest.raises(openai.APIError) as failure:
            _ = [chunk async for chunk in chunks]
        assert "ended in the middle of its answer" in failure.value.message
