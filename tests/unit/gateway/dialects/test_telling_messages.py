"""Chats told as Anthropic's Messages: blocks that begin and end, reasons and counts in their words."""

import json
from typing import Any

import pytest
from hypothesis import given, settings

from sekisho.errors import Reason, UnavailableError
from sekisho.gateway.dialects.form import Endpoint
from tests.unit.gateway.dialects.speaking import (
    CUTS,
    TEXT,
    Holding,
    ask,
    build,
    call,
    carry,
    chunk,
    counts,
    hear,
    spell,
)

ASKED = ask(Endpoint.MESSAGES, stop=["END"])


def gather(told: bytes) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the blocks as a client gathers them, and the end; the order of events is checked on the way."""
    events = hear(told)
    assert [events[0]["type"], events[-2]["type"], events[-1]["type"]] == [
        "message_start",
        "message_delta",
        "message_stop",
    ]
    assert events[0]["message"]["content"] == []
    blocks: list[dict[str, Any]] = []
    is_open = False
    for event in events[1:-2]:
        if event["type"] == "content_block_start":
            assert not is_open
            assert event["index"] == len(blocks)
            blocks.append({**event["content_block"], "partial": ""})
            is_open = True
            continue
        assert is_open
        assert event["index"] == len(blocks) - 1
        if event["type"] == "content_block_stop":
            is_open = False
            continue
        assert event["type"] == "content_block_delta"
        kind = event["delta"]["type"].removesuffix("_delta")
        blocks[-1]["partial"] += event["delta"]["partial_json" if kind == "input_json" else kind]
        assert kind == {"text": "text", "thinking": "thinking", "tool_use": "input_json"}[blocks[-1]["type"]]
    assert not is_open
    return blocks, events[-2]


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([chunk({"content": "a"}, choice=1)], "it says more than one answer"),
        ([chunk({"content": "a"})], "it was not finished"),
        ([chunk({"poem": "secret"})], "a field that is not known"),
    ],
)
def test_an_engine_that_speaks_amiss_ends_the_answer_in_the_dialects_own_shape(events: list[Any], said: str) -> None:
    answerer = build(ASKED)
    with pytest.raises(UnavailableError) as failure:
        _ = answerer.feed(spell(events)) + answerer.end()
    assert said in failure.value.message
    (event,) = hear(answerer.fail(failure.value.reason, failure.value.message))
    assert event["type"] == "error"
    assert event["error"]["type"] == "api_error"
    assert event["error"]["message"] == failure.value.message


@given(TEXT, TEXT, TEXT, CUTS)
@settings(deadline=None, max_examples=60)
def test_however_the_bytes_are_split_thoughts_texts_and_calls_are_told_in_blocks(
    thought: str, text: str, given: str, cuts: list[int]
) -> None:
    events = [chunk({"role": "assistant", "content": None})]
    events += [chunk({"reasoning_content": piece}) for piece in thought] + [chunk({"content": piece}) for piece in text]
    events += [chunk(call(0, "", "look"))] + [chunk(call(0, piece)) for piece in given]
    events += [chunk({}, "tool_calls"), counts()]
    blocks, end = gather(carry(build(ASKED, Holding()), spell(events), cuts))
    expected = [
        ("thinking", thought, "<reasoning>"),
        ("text", text, "<content>"),
        ("tool_use", given, "<tool_arguments>"),
    ]
    wanted = [(kind, piece + mark) for kind, piece, mark in expected if piece or kind == "tool_use"]
    assert [(block["type"], block["partial"]) for block in blocks] == wanted
    assert blocks[-1]["name"] == "look<tool_name>"
    assert blocks[-1]["id"] == "call-0"
    assert end["delta"] == {"stop_reason": "tool_use", "stop_sequence": None}
    assert (end["usage"]["input_tokens"], end["usage"]["output_tokens"]) == (7, 5)


@pytest.mark.parametrize(
    ("reason", "stop", "told"),
    [
        ("stop", None, ("end_turn", None)), ("stop", "END", ("stop_sequence", "END")),
        ("stop", "x", ("end_turn", None)),
        ("length", None, ("max_tokens", None)), ("content_filter", None, ("refusal", None)),
    ],
)  # fmt: skip
def test_why_an_answer_ended_is_told_in_the_dialects_words(reason: str, stop: str | None, told: Any) -> None:
    more = {"stop_reason": stop} if stop else {}
    blocks, end = gather(carry(build(ASKED), spell([chunk({"content": "a"}), chunk({}, reason, **more)])))
    assert [block["partial"] for block in blocks] == ["a"]
    assert (end["delta"]["stop_reason"], end["delta"]["stop_sequence"]) == told


def test_a_call_that_an_engine_ends_like_a_text_is_told_as_a_call() -> None:
    _, end = gather(carry(build(ASKED), spell([chunk(call(0, "{}", "look")), chunk({}, "stop")])))
    assert end["delta"] == {"stop_reason": "tool_use", "stop_sequence": None}


def answer(message: dict[str, Any], reason: str = "stop") -> bytes:
    choice = {"index": 0, "message": message, "finish_reason": reason}
    usage = {"prompt_tokens": 7, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 3}}
    return json.dumps({"id": "c1", "object": "chat.completion", "choices": [choice], "usage": usage}).encode()


def test_a_whole_answer_is_told_in_blocks_too() -> None:
    calls = [{"id": "t1", "type": "function", "function": {"name": "look", "arguments": '{"a": [1]}'}}]
    message = {"content": "hello", "reasoning_content": "hm", "tool_calls": calls}
    told = json.loads(build(ASKED).whole(answer(message, "tool_calls")))
    assert told["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": ""},
        {"type": "text", "text": "hello"},
        {"type": "tool_use", "id": "t1", "name": "look", "input": {"a": [1]}},
    ]
    assert (told["type"], told["role"], told["model"], told["id"]) == ("message", "assistant", "legal/review", "msg_c1")
    assert (told["stop_reason"], told["stop_sequence"]) == ("tool_use", None)
    assert told["usage"] == {
        "input_tokens": 4, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 3, "output_tokens": 5,
    }  # fmt: skip


@pytest.mark.parametrize("arguments", ["[1]", '{"a":', "7", '{"a":1,"a":2}', '{"a":' * 990 + "1" + "}" * 990],
                         ids=range(5))  # fmt: skip
def test_arguments_that_are_no_object_are_not_told_as_one(arguments: str) -> None:
    calls = [{"id": "t1", "function": {"name": "look", "arguments": arguments}}]
    with pytest.raises(UnavailableError, match="the arguments of a tool call are not a JSON object") as failure:
        build(ASKED).whole(answer({"content": None, "tool_calls": calls}, "tool_calls"))
    assert failure.value.reason is Reason.UPSTREAM_FAILED


def test_a_call_that_was_cut_short_is_left_out_and_why_is_told() -> None:
    calls = [{"id": "t1", "function": {"name": "look", "arguments": '{"a":'}}]
    told = json.loads(build(ASKED).whole(answer({"content": "let me see", "tool_calls": calls}, "length")))
    assert (told["content"], told["stop_reason"]) == ([{"type": "text", "text": "let me see"}], "max_tokens")


def test_a_call_without_arguments_and_an_answer_without_words_are_told() -> None:
    calls = [{"id": "t1", "function": {"name": "look", "arguments": ""}}]
    told = json.loads(build(ASKED).whole(answer({"content": "", "tool_calls": calls})))
    assert told["content"] == [{"type": "tool_use", "id": "t1", "name": "look", "input": {}}]
    assert told["stop_reason"] == "tool_use"
    blocks, _ = gather(carry(build(ASKED), spell([chunk({}, "stop")])))
    assert blocks == []
