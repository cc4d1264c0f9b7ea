"""Chat completions told anew: nothing unexamined passes, and no split of the engine's bytes changes what is told."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.errors import Reason, UnavailableError
from sekisho.gateway.dialects.answers import Channel
from sekisho.gateway.dialects.building import build_answerer
from sekisho.gateway.dialects.form import Endpoint
from tests.unit.gateway.dialects.speaking import (
    CUTS,
    TEXT,
    USAGE,
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

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=3) | st.sampled_from(["stop", "length"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=5,
)
CHAT = ask(Endpoint.CHAT)


def deltas(data: bytes, key: str, choice: int = 0) -> str:
    told = [item for event in hear(data) for item in event["choices"] if item["index"] == choice]
    return "".join(item["delta"].get(key) or "" for item in told)


def arguments(data: bytes, index: int) -> str:
    calls = [
        item for event in hear(data) for choice in event["choices"] for item in choice["delta"].get("tool_calls", [])
    ]
    return "".join(item["function"]["arguments"] for item in calls if item["index"] == index)


def refuse(data: bytes, asked: Any = CHAT) -> str:
    held = Holding()
    answerer = build(asked, held)
    with pytest.raises(UnavailableError) as failure:
        _ = answerer.feed(data) + answerer.end()
    assert failure.value.reason is Reason.UPSTREAM_FAILED
    assert "secret" not in failure.value.message
    return failure.value.message


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (b"event: thread.run\ndata: {}\n\n", 'the line "event", which is not known'),
        (b"id: secret\ndata: {}\n\n", 'the line "id", which is not known'),
        (b"data: {\n\n", "it is not JSON in UTF-8"),
        (b'data: "secret"\n\n', "it is not a JSON object"),
        (b'data: {"a":"\xff"}\n\n', "it is not JSON in UTF-8"),
        (b'data: {"object":"x","object":"secret"}\n\n', "has a key twice"),
        (b'data: {"a":NaN}\n\n', "a number that JSON does not know"),
        (b"data: " + b"[" * 100_000 + b"\n\n", "it is not JSON in UTF-8"),
        (b'data: {"error":{"message":"secret"}}\n\n', "it reported an error"),
        (b'data: {"object":"chat.completion","choices":[]}\n\n', "is not of type chat.completion.chunk"),
        (b'data: {"object":"chat.completion.chunk","choices":{}}\n\n', "choices is not a list"),
        (b'data: {"object":"chat.completion.chunk","choices":[{}]}\n\n', "a choice has no index"),
        (spell([chunk({}) | {"choices": [{"index": 0, "delta": "secret"}]}]), "says nothing that can be read"),
        (spell([chunk({"content": 7})]), "content is not a string"),
        (spell([chunk({"poem": "secret"})]), "a field that is not known"),
        (spell([chunk({"audio": {"data": "secret"}})]), "a field that is not known"),
        (spell([chunk({"tool_calls": {}})]), "tool_calls is not a list"),
        (spell([chunk({"tool_calls": ["x"]})]), "a tool call cannot be read"),
        (spell([chunk({"tool_calls": [{"index": 0, "type": "custom", "function": {"name": "x"}}]})]), "a tool call"),
        (spell([chunk(call(0, "{}"))]), "its tool calls are mixed up"),
        (spell([chunk(call(0, "{}", "a")), chunk(call(1, "{}", "b")), chunk(call(0, "x"))]), "are mixed up"),
        (spell([chunk(call(0, "{}", "a")), chunk(call(0, "{}", "b"))]), "are mixed up"),
        (spell([chunk({"content": "a"}, "because")]), "its finish_reason is not known"),
        (spell([chunk({}) | {"choices": [{"index": 0, "finish_reason": {}}]}]), "its finish_reason is not known"),
        (spell([chunk({}, "stop"), chunk({"content": "secret"})]), "it went on after its end"),
        (spell([chunk({"content": "a"})]), "it was not finished"),
        (spell([]), "it was not finished"),
        (spell([chunk({}, "stop")]) + spell([chunk({})]), "it went on after its last word"),
    ],
    ids=range(28),
)  # fmt: skip
def test_an_engine_that_speaks_amiss_ends_the_answer_and_nothing_of_it_is_repeated(event: bytes, said: str) -> None:
    assert said in refuse(event)


@given(
    st.sampled_from([Endpoint.CHAT, Endpoint.MESSAGES, Endpoint.RESPONSES, Endpoint.COMPLETIONS]),
    st.dictionaries(st.sampled_from(["content", "reasoning", "tool_calls", "function_call", "x"]), JSON, max_size=3),
    st.dictionaries(st.sampled_from(["index", "delta", "text", "finish_reason", "stop_reason"]), JSON, max_size=3),
    st.dictionaries(st.sampled_from(["id", "created", "usage", "choices", "error"]), JSON, max_size=2),
)
@settings(deadline=None, max_examples=150)
def test_whatever_an_engine_says_is_told_or_ends_the_answer_and_nothing_else_happens(
    endpoint: Endpoint, delta: dict[str, Any], choice: dict[str, Any], event: dict[str, Any]
) -> None:
    path = Endpoint.COMPLETIONS if endpoint is Endpoint.COMPLETIONS else Endpoint.CHAT
    kind = "text_completion" if endpoint is Endpoint.COMPLETIONS else "chat.completion.chunk"
    spoken = chunk(delta) | {"object": kind}
    spoken["choices"][0] |= choice
    data, ended = spell([spoken | event], ascii_only=True), False
    answerer = build(ask(endpoint, path), Holding())
    try:
        hear(answerer.feed(data) + answerer.end())
    except UnavailableError:
        ended = True
    assert ended or spoken["choices"][0].get("finish_reason") or event.get("choices")


def test_nothing_that_was_held_back_is_told_when_an_answer_fails() -> None:
    answerer = build(CHAT, Holding(100))
    assert b"planted" not in answerer.feed(spell([chunk({"content": "planted"})], done=False))
    (event,) = hear(answerer.fail(Reason.UPSTREAM_FAILED, "why"))
    assert event == {"error": {"message": "why", "type": "server_error", "param": None, "code": "upstream_failed"}}


def test_what_an_engine_says_when_it_refuses_is_examined_like_an_answer() -> None:
    held = Holding()
    assert build(CHAT, held).complain("too long: planted") == "too long: planted<refusal>"
    assert held.fed == {Channel(0, "refusal"): "too long: planted"}
    assert build(ask(Endpoint.MESSAGES)).complain("too long") == "too long"


def test_bytes_pass_as_they_are_only_where_the_engine_speaks_the_dialect_and_nothing_is_examined() -> None:
    assert build_answerer(CHAT, None) is None
    assert build_answerer(ask(Endpoint.COMPLETIONS, Endpoint.COMPLETIONS), None) is None
    assert build_answerer(ask(Endpoint.EMBEDDINGS, Endpoint.EMBEDDINGS), Holding()) is None
    assert build_answerer(CHAT, Holding()) is not None


@given(TEXT, TEXT, CUTS)
@settings(deadline=None, max_examples=60)
def test_however_the_bytes_are_split_the_same_is_told_and_all_of_it_was_examined(
    first: str, second: str, cuts: list[int]
) -> None:
    events = [chunk({"role": "assistant", "content": ""}), chunk({"reasoning_content": first})]
    events += [chunk({"content": piece}) for piece in second] + [chunk({}, "stop"), counts()]
    for ascii_only in (False, True):
        held = Holding()
        told = carry(build(CHAT, held), spell(events, ascii_only=ascii_only), cuts)
        assert deltas(told, "content") == (f"{second}<content>" if second else "")
        assert deltas(told, "reasoning_content") == (f"{first}<reasoning>" if first else "")
        assert held.fed == {
            channel: text
            for channel, text in ((Channel(0, "reasoning"), first), (Channel(0, "content"), second))
            if text
        }
        assert told.endswith(b"data: [DONE]\n\n")


@given(TEXT, TEXT, CUTS)
@settings(deadline=None, max_examples=40)
def test_fragments_of_arguments_are_joined_whatever_their_splits(first: str, second: str, cuts: list[int]) -> None:
    events = [chunk({"content": "let me see"}), chunk(call(0, "", "look"))]
    events += [chunk(call(0, piece)) for piece in first] + [chunk(call(1, second, "find")), chunk({}, "tool_calls")]
    told = carry(build(CHAT, Holding()), spell(events), cuts)
    assert arguments(told, 0) == f"{first}<tool_arguments>"
    assert arguments(told, 1) == f"{second}<tool_arguments>"
    named = [
        item["function"]["name"]
        for event in hear(told)
        for choice in event["choices"]
        for item in choice["delta"].get("tool_calls", [])
        if "name" in item["function"]
    ]
    assert named == ["look<tool_name>", "find<tool_name>"]
    assert hear(told)[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_choices_that_speak_at_once_are_kept_apart() -> None:
    events = [chunk({"content": piece}, choice=at) for piece in "abcdef" for at in (0, 1)]
    told = carry(build(CHAT, Holding()), spell([*events, chunk({}, "stop"), chunk({}, "length", choice=1)]))
    assert deltas(told, "content") == deltas(told, "content", 1) == "abcdef<content>"


@pytest.mark.parametrize("wanted", [True, False])
def test_counts_are_told_where_they_were_asked_for(wanted: bool) -> None:
    asked = ask(Endpoint.CHAT, stream_options={"include_usage": wanted})
    told = hear(carry(build(asked, Holding()), spell([chunk({"content": "a"}, "stop"), counts()])))
    assert ([event["usage"] for event in told if "usage" in event] == [USAGE]) is wanted


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_an_event_may_have_several_lines_and_end_as_it_likes(end: bytes) -> None:
    first, last = json.dumps(chunk({"content": "a"}, "stop")).encode().split(b",", 1)
    lines = [b": still there", b"data: " + first + b",", b"data:" + last, b"", b"data: [DONE]", b"", b""]
    assert deltas(carry(build(CHAT, Holding()), end.join(lines)), "content") == "a<content>"


def test_comments_are_passed_over_and_half_a_surrogate_pair_is_mended() -> None:
    half = spell([chunk({"content": "a\ud83d"}), chunk({}, "stop")], ascii_only=True)
    told = carry(build(CHAT, Holding()), b": still there\n\n" + half)
    assert deltas(told, "content") == "a�<content>"


def test_what_an_engine_adds_beside_the_texts_is_not_told() -> None:
    event = chunk({"content": "a"}, "stop", logprobs={"content": [{"token": "planted"}]}, token_ids=[1])
    told = carry(build(CHAT, Holding()), spell([event | {"timings": {"note": "planted"}}]))
    assert b"planted" not in told
    assert hear(told)[0]["model"] == "legal/review"


def whole(message: dict[str, Any], reason: str | None = "stop") -> bytes:
    choice = {"index": 0, "message": message, "finish_reason": reason, "logprobs": {"content": "planted"}}
    answer = {"id": "c1", "object": "chat.completion", "created": 9, "model": "m", "choices": [choice], "usage": USAGE}
    return json.dumps(answer).encode()


def test_an_answer_that_is_no_stream_is_examined_like_one() -> None:
    calls = [{"id": "call-9", "type": "function", "function": {"name": "look", "arguments": '{"a":1}'}}]
    message = {"role": "assistant", "content": "hello", "reasoning": "hm", "refusal": "no", "tool_calls": calls}
    told = json.loads(build(ask(Endpoint.CHAT, stream=False), Holding()).whole(whole(message, "tool_calls")))
    assert told["choices"] == [
        {
            "index": 0, "logprobs": None, "finish_reason": "tool_calls",
            "message": {
                "role": "assistant", "content": "hello<content>", "reasoning_content": "hm<reasoning>",
                "refusal": "no<refusal>",
                "tool_calls": [{"id": "call-9", "type": "function",
                                "function": {"name": "look<tool_name>", "arguments": '{"a":1}<tool_arguments>'}}],
            },
        }
    ]  # fmt: skip
    assert (told["id"], told["created"], told["model"], told["usage"]) == ("c1", 9, "legal/review", USAGE)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (whole({"content": "a"}, None), "a choice is not finished"),
        (whole({"content": "a", "poem": "b"}), "a field that is not known"),
        (b'{"object":"chat.completion","choices":[]}', "it was not finished"),
        (b'{"object":"error"}', "is not of type chat.completion"),
        (b"[]", "it is not a JSON object"),
    ],
    ids=range(5),
)
def test_a_whole_answer_that_is_amiss_is_not_told(body: bytes, said: str) -> None:
    with pytest.raises(UnavailableError, match=said):
        build(ask(Endpoint.CHAT, stream=False), Holding()).whole(body)


def completion(text: str, reason: str | None = None, choice: int = 0) -> dict[str, Any]:
    choices = [{"index": choice, "text": text, "finish_reason": reason}]
    return {"id": "c1", "object": "text_completion", "created": 9, "model": "m", "choices": choices}


def test_completions_are_examined_streaming_and_not() -> None:
    asked = ask(Endpoint.COMPLETIONS, Endpoint.COMPLETIONS, stream_options={"include_usage": True})
    events = [
        completion("a"),
        completion("bcdef"),
        completion("", "stop"),
        completion("") | {"choices": [], "usage": USAGE},
    ]
    told = hear(carry(build(asked, Holding()), spell(events)))
    assert "".join(item["text"] for event in told for item in event["choices"]) == "abcdef<content>"
    assert told[-1]["usage"] == USAGE
    answer = json.loads(build(asked, Holding()).whole(json.dumps(completion("abc", "length")).encode()))
    assert answer["choices"] == [{"index": 0, "text": "abc<content>", "logprobs": None, "finish_reason": "length"}]
    assert hear(build(asked, Holding()).fail(Reason.UPSTREAM_FAILED, "why"))[0]["error"]["message"] == "why"


def test_counts_of_what_was_cached_and_thought_are_told_too() -> None:
    usage = USAGE | {
        "prompt_tokens_details": {"cached_tokens": 3},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    choices = [{"index": 0, "message": {"content": ""}, "finish_reason": "stop"}]
    body = json.dumps(
        {"object": "chat.completion", "id": 7, "created": "x", "choices": choices, "usage": usage}
    ).encode()
    told = json.loads(build(ask(Endpoint.CHAT, stream=False), Holding()).whole(body))
    assert told["usage"] == usage
    assert (told["id"], told["created"]) == ("", 0)
    assert told["choices"][0]["message"] == {"role": "assistant", "content": None}
    odd = body.replace(b'"prompt_tokens": 7', b'"prompt_tokens": -7')
    told = json.loads(build(ask(Endpoint.CHAT, stream=False), Holding()).whole(odd))
    assert told["usage"]["prompt_tokens"] == 0


def test_two_choices_of_a_whole_answer_are_kept_apart() -> None:
    choices = [{"index": at, "message": {"content": f"a{at}"}, "finish_reason": "stop"} for at in (0, 1)]
    body = json.dumps({"object": "chat.completion", "choices": choices}).encode()
    told = json.loads(build(ask(Endpoint.CHAT, stream=False), Holding()).whole(body))
    assert [item["message"]["content"] for item in told["choices"]] == ["a0<content>", "a1<content>"]
