"""Chats told as Responses: items and parts that begin and end, numbered, and repeated at the end."""

import json
from typing import Any

import pytest
from hypothesis import given, settings

from sekisho.errors import UnavailableError
from sekisho.gateway.dialects import telling
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

ASKED = ask(Endpoint.RESPONSES, max_tokens=64)
KINDS = {"response.output_text": "text", "response.reasoning_text": "text", "response.refusal": "refusal",
         "response.function_call_arguments": "arguments"}  # fmt: skip


def gather(told: bytes) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the items as a client gathers them, and the last response; events are checked on the way."""
    events = hear(told)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    items: list[dict[str, Any]] = []
    text = ""
    for event in events[2:-1]:
        base, _, end = event["type"].rpartition(".")
        if event["type"] == "response.output_item.added":
            assert (event["output_index"], event["item"]["status"]) == (len(items), "in_progress")
            items.append(event["item"])
            text = ""
        elif event["type"] == "response.output_item.done":
            assert event["item"]["id"] == items[-1]["id"]
            items[-1] = event["item"]
        else:
            assert (event["output_index"], event["item_id"]) == (len(items) - 1, items[-1]["id"])
            if end == "delta":
                text += event["delta"]
            elif base in KINDS:
                assert event[KINDS[base]] == text
            else:
                assert base == "response.content_part"
    last = events[-1]
    assert last["response"]["output"] == items
    assert last["type"] == f"response.{last['response']['status']}"
    return items, last["response"]


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ([chunk({"content": "a"}, choice=1)], "it says more than one answer"),
        ([chunk({"content": "a"})], "it was not finished"),
        ([chunk({"poem": "secret"})], "a field that is not known"),
    ],
)
def test_an_engine_that_speaks_amiss_ends_the_answer_in_the_dialects_own_shape(events: list[Any], said: str) -> None:
    answerer = build(ASKED, Holding(100))
    begun = answerer.feed(spell([chunk({"content": "planted"})], done=False))
    with pytest.raises(UnavailableError) as failure:
        _ = answerer.feed(spell(events)) + answerer.end()
    assert said in failure.value.message
    ended = answerer.fail(failure.value.reason, failure.value.message)
    error, failed = hear(ended)
    assert (error["type"], error["code"], error["message"]) == ("error", "upstream_failed", failure.value.message)
    assert (failed["type"], failed["response"]["status"], failed["response"]["output"]) == (
        "response.failed",
        "failed",
        [],
    )
    assert said in failed["response"]["error"]["message"]
    assert b"planted" not in begun + ended


@given(TEXT, TEXT, TEXT, CUTS)
@settings(deadline=None, max_examples=60)
def test_however_the_bytes_are_split_thoughts_texts_and_calls_are_told_in_items(
    thought: str, text: str, given: str, cuts: list[int]
) -> None:
    events = [chunk({"reasoning": piece}) for piece in thought] + [chunk({"content": piece}) for piece in text]
    events += [chunk(call(0, "", "look"))] + [chunk(call(0, piece)) for piece in given]
    events += [chunk({}, "tool_calls"), counts()]
    items, response = gather(carry(build(ASKED, Holding()), spell(events), cuts))
    told = [item["content"][0]["text"] for item in items if item["type"] != "function_call"]
    expected = ((thought, "<reasoning>"), (text, "<content>"))
    assert told == [piece + mark for piece, mark in expected if piece]
    assert items[-1]["arguments"] == f"{given}<tool_arguments>"
    assert (items[-1]["name"], items[-1]["call_id"]) == ("look<tool_name>", "call-0")
    assert (response["status"], response["incomplete_details"]) == ("completed", None)
    assert (response["usage"]["input_tokens"], response["usage"]["total_tokens"]) == (7, 12)
    assert (response["model"], response["store"], response["max_output_tokens"]) == ("legal/review", False, 64)


@pytest.mark.parametrize(("reason", "why"), [("length", "max_output_tokens"), ("content_filter", "content_filter")])
def test_an_answer_that_was_cut_short_says_why(reason: str, why: str) -> None:
    _, response = gather(carry(build(ASKED), spell([chunk({"refusal": "no"}), chunk({}, reason)])))
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": why})
    assert response["output"][0]["content"] == [{"type": "refusal", "refusal": "no"}]
    assert response["usage"] is None


def test_a_stream_that_is_longer_than_can_be_repeated_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telling, "_MAX_KEPT", 10)
    answerer = build(ASKED)
    with pytest.raises(UnavailableError, match="it is longer than 10 characters"):
        answerer.feed(spell([chunk({"content": "abcdef"}), chunk({"content": "abcdef"})]))


def test_a_whole_answer_is_told_in_items_too() -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}
    tool = {"type": "function", "function": {"name": "look", "parameters": {}}}
    choice = {"type": "function", "function": {"name": "look"}}
    asked = ask(Endpoint.RESPONSES, stream=False, response_format=schema, tools=[tool], tool_choice=choice)
    calls = [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}]
    message = {"content": "hello", "tool_calls": calls}
    choices = [{"index": 0, "message": message, "finish_reason": "tool_calls"}]
    body = json.dumps({"id": "chat-1", "object": "chat.completion", "created": 9, "choices": choices}).encode()
    told = json.loads(build(asked, Holding()).whole(body))
    assert told["output"] == [
        {"id": "msg_chat-1_0", "status": "completed", "type": "message", "role": "assistant",
         "content": [{"type": "output_text", "text": "hello<content>", "annotations": [], "logprobs": []}]},
        {"id": "fc_chat-1_1", "status": "completed", "type": "function_call", "call_id": "c1",
         "name": "look<tool_name>", "arguments": "{}<tool_arguments>"},
    ]  # fmt: skip
    assert (told["object"], told["id"], told["created_at"]) == ("response", "resp_chat-1", 9)
    assert told["text"] == {"format": {"type": "json_schema", "name": "n", "schema": {}}}
    assert told["tools"] == [{"type": "function", "name": "look", "parameters": {}}]
    assert told["tool_choice"] == {"type": "function", "name": "look"}
