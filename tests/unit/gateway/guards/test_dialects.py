"""What was taken out of a request comes back in every dialect, in tool calls too, however the stream is cut."""

import json
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.gateway.dialects.form import Endpoint
from sekisho.gateway.guards.answering import AnswerFilter
from tests.unit.gateway.dialects.speaking import CUTS, ask, build, call, carry, chunk, hear, spell
from tests.unit.gateway.guards.test_masking import chat, mask

SAID = '山田 taro@example.co.jp、電話 090-1234-5678\n"MyNumber" 個人番号 123456789018。'
PIECES = st.lists(st.integers(0, 300), max_size=10)


def speak(masked: str, cuts: list[int]) -> bytes:
    """Say a masked text as thought, as content and as the arguments of a tool, each in pieces."""
    ascii_text = json.dumps(masked)[1:-1]
    edges = sorted({cut % (len(masked) + 1) for cut in cuts} | {0, len(masked)})
    pieces = [masked[a:b] for a, b in pairwise(edges)]
    arguments = json.dumps({"note": masked, "plain": ascii_text}, ensure_ascii=False)
    events: list[Any] = [chunk({"role": "assistant"})]
    events += [chunk({"reasoning_content": piece}) for piece in pieces]
    events += [chunk({"content": piece}) for piece in pieces]
    events.append(chunk(call(0, "", "note_down")))
    events += [chunk(call(0, arguments[at : at + 7])) for at in range(0, len(arguments), 7)]
    return spell([*events, chunk({}, "tool_calls")])


@settings(max_examples=25, deadline=None)
@given(PIECES, CUTS)
def test_a_chat_gets_its_originals_back(pieces: list[int], cuts: list[int]) -> None:
    body, redaction = mask(chat(SAID))
    told = hear(carry(build(ask(Endpoint.CHAT), AnswerFilter(redaction.values)), speak(masked_of(body), pieces), cuts))
    deltas = [choice["delta"] for event in told for choice in event["choices"]]
    assert "".join(delta.get("content") or "" for delta in deltas) == SAID
    assert "".join(delta.get("reasoning_content") or "" for delta in deltas) == SAID
    parts = [item["function"].get("arguments") or "" for delta in deltas for item in delta.get("tool_calls") or ()]
    assert json.loads("".join(parts))["note"] == SAID


@settings(max_examples=25, deadline=None)
@given(PIECES, CUTS)
def test_anthropics_messages_get_their_originals_back(pieces: list[int], cuts: list[int]) -> None:
    body, redaction = mask(chat(SAID))
    text_filter = AnswerFilter(redaction.values)
    told = hear(carry(build(ask(Endpoint.MESSAGES), text_filter), speak(masked_of(body), pieces), cuts))
    deltas = [event["delta"] for event in told if event["type"] == "content_block_delta"]
    assert "".join(delta.get("text", "") for delta in deltas) == SAID
    assert json.loads("".join(delta.get("partial_json", "") for delta in deltas))["note"] == SAID
    assert text_filter.tally.invented == text_filter.tally.halves == 0


@settings(max_examples=25, deadline=None)
@given(PIECES, CUTS)
def test_responses_get_their_originals_back(pieces: list[int], cuts: list[int]) -> None:
    body, redaction = mask(chat(SAID))
    text_filter = AnswerFilter(redaction.values)
    told = hear(carry(build(ask(Endpoint.RESPONSES), text_filter), speak(masked_of(body), pieces), cuts))
    assert "".join(event["delta"] for event in told if event["type"] == "response.output_text.delta") == SAID
    arguments = "".join(event["delta"] for event in told if event["type"] == "response.function_call_arguments.delta")
    assert json.loads(arguments)["note"] == SAID
    end = json.dumps(told[-1], ensure_ascii=False)
    assert "[[" not in end
    assert end.count("taro@example.co.jp") >= 2


@settings(max_examples=25, deadline=None)
@given(PIECES, CUTS)
def test_completions_get_their_originals_back(pieces: list[int], cuts: list[int]) -> None:
    body, redaction = mask({"prompt": SAID})
    masked = body["prompt"]
    edges = sorted({cut % (len(masked) + 1) for cut in pieces} | {0, len(masked)})
    events = [
        {"id": "c", "object": "text_completion", "created": 1, "model": "m",
         "choices": [{"index": 0, "text": masked[a:b], "finish_reason": "stop" if b == len(masked) else None}]}
        for a, b in pairwise(edges)
    ]  # fmt: skip
    asked = ask(Endpoint.COMPLETIONS, Endpoint.COMPLETIONS)
    told = hear(carry(build(asked, AnswerFilter(redaction.values)), spell(events), cuts))
    assert "".join(choice["text"] for event in told for choice in event["choices"]) == SAID


def masked_of(body: dict[str, Any]) -> str:
    masked: str = body["messages"][0]["content"]
    assert "taro@" not in masked
    assert "1234" not in masked
    return masked


def test_an_answer_that_is_no_stream_gets_its_originals_back() -> None:
    body, redaction = mask(chat(SAID))
    masked = masked_of(body)
    message = {"role": "assistant", "content": masked, "tool_calls": [{
        "id": "1", "type": "function", "function": {"name": "f", "arguments": json.dumps({"note": masked})},
    }]}  # fmt: skip
    answer = {"id": "c", "object": "chat.completion", "created": 1, "model": "m",
              "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}  # fmt: skip
    answerer = build(ask(Endpoint.CHAT, stream=False), AnswerFilter(redaction.values))
    told = json.loads(answerer.whole(json.dumps(answer).encode()))["choices"][0]["message"]
    assert told["content"] == SAID
    assert json.loads(told["tool_calls"][0]["function"]["arguments"]) == {"note": SAID}
