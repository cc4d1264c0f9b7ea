"""What was taken out of a request comes back in every dialect, in tool calls too, however the stream is cut."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.errors import UnavailableError
from sekisho.gateway.dialects.form import Endpoint
from sekisho.gateway.guards.answering import AnswerFilter
from sekisho.gateway.guards.window import Watch
from sekisho.redact.categories import Category
from sekisho.redact.detect import Detector
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


WHOLE = ask(Endpoint.CHAT, stream=False)


def whole(content: str, **more: Any) -> str:
    """Spell an answer that is no stream, with what an engine adds and what is lost where it is told anew."""
    choice = {"index": 0, "message": {"role": "assistant", "content": "%"}, "finish_reason": "stop", **more}
    answer = {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "timings": {}}
    return json.dumps(answer, ensure_ascii=False).replace("%", content)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from("xX-"), min_size=200, max_size=200))
def test_an_original_comes_back_however_the_engine_spells_its_placeholder(ways: list[str]) -> None:
    body, redaction = mask(chat(SAID))
    masked = masked_of(body)
    spelt = "".join(
        f"\\u{ord(sign):04{way}}" if way in "xX" else json.dumps(sign, ensure_ascii=False)[1:-1]
        for sign, way in zip(masked, ways, strict=False)
    )
    text_filter = AnswerFilter(redaction.values)
    told = json.loads(build(WHOLE, text_filter).whole(whole(spelt).encode()))
    assert told["choices"][0]["message"]["content"] == SAID
    assert "timings" not in told
    assert text_filter.tally.restored == 3


@pytest.mark.parametrize("form", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_an_answer_in_another_form_of_unicode_is_refused_where_anything_was_taken_out(form: str) -> None:
    answerer = build(WHOLE, AnswerFilter({"[[EML-7Q0C2M9XK4BD]]": "a@b.example"}))
    with pytest.raises(UnavailableError, match="it is not JSON in UTF-8"):
        answerer.whole(whole("[[EML-7Q0C2M9XK4BD]]").encode(form))


@pytest.mark.parametrize("said", ["[[EML-7Q0", "[[EML-", r"[\u005bEML-7", r"\u005B[EML-7"])
def test_half_a_placeholder_is_told_as_it_is_and_counted(said: str) -> None:
    text_filter = AnswerFilter({"[[EML-7Q0C2M9XK4BD]]": "a@b.example"})
    told = json.loads(build(WHOLE, text_filter).whole(whole(said).encode()))
    assert told["choices"][0]["message"]["content"] == json.loads(f'"{said}"')
    assert "timings" not in told
    assert text_filter.tally.halves == 1


def test_an_answer_that_is_examined_never_passes_as_the_engine_spelt_it() -> None:
    watch = Watch(Detector(frozenset(Category)).detect)
    for values in (None, {"[[EML-7Q0C2M9XK4BD]]": "a@b.example"}):
        assert "timings" not in json.loads(build(WHOLE, AnswerFilter(values, watch)).whole(whole("hello").encode()))
        told = json.loads(build(WHOLE, AnswerFilter(values, watch)).whole(whole("call 090-1234-5678").encode()))
        assert told["choices"][0]["message"]["content"] == "call [phone]"


def test_an_answer_in_another_dialect_is_told_anew_whatever_it_holds() -> None:
    answerer = build(ask(Endpoint.MESSAGES, stream=False), AnswerFilter({"[[EML-7Q0C2M9XK4BD]]": "a@b.example"}))
    assert json.loads(answerer.whole(whole("hello").encode()))["content"] == [{"type": "text", "text": "hello"}]


@pytest.mark.parametrize("said", ["It is so.", "[1] 番号は [x] です", r"\u3042\n\"", ""])
def test_an_answer_without_a_mark_of_a_placeholder_passes_as_the_engine_spelt_it(said: str) -> None:
    text_filter = AnswerFilter({"[[EML-7Q0C2M9XK4BD]]": "a@b.example"})
    body = whole(said, logprobs={"content": [{"token": "It", "logprob": -0.5}]}).encode()
    assert build(WHOLE, text_filter).whole(body) == body
    asked = ask(Endpoint.COMPLETIONS, Endpoint.COMPLETIONS, stream=False)
    assert build(asked, text_filter).whole(b'{"object":"text_completion"}') == b'{"object":"text_completion"}'
    assert text_filter.tally.restored == text_filter.tally.invented == text_filter.tally.halves == 0
