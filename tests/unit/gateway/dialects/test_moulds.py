"""The usual chunk: whatever is not exactly that is read as JSON, and both ways tell the same."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.errors import SekishoError
from sekisho.gateway.dialects import telling
from sekisho.gateway.dialects.answers import Channel
from sekisho.gateway.dialects.chunks import Part, Said, read_event, read_object, read_parts
from sekisho.gateway.dialects.form import Asked, Endpoint
from sekisho.gateway.dialects.moulds import Mould, make_mould
from sekisho.gateway.guards.answering import AnswerFilter
from tests.unit.gateway.dialects.speaking import Holding, ask, build, call, chunk

MARK = "[[EML-7Q0C2M9XK4BD]]"
CONTENT = Channel(0, "content")
ASKED = [
    ask(Endpoint.CHAT),
    ask(Endpoint.COMPLETIONS, Endpoint.COMPLETIONS),
    ask(Endpoint.MESSAGES),
    ask(Endpoint.RESPONSES),
]


def spell(event: Any, *, spaced: bool = False, ascii_only: bool = False) -> bytes:
    separators = (", ", ": ") if spaced else (",", ":")
    said = json.dumps(event, separators=separators, ensure_ascii=ascii_only)
    return b"data: " + said.encode("utf-8", "surrogatepass")


def text_chunk(text: str, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": None}
    return {"id": "cmpl-1", "object": "text_completion", "created": 9, "model": "m", "choices": [choice]} | more


def read(event: bytes) -> list[Part]:
    return list(read_parts(read_object(read_event(event)), Endpoint.CHAT, whole=False))


def learn(event: bytes) -> Mould | None:
    return make_mould(event, read(event), read)


@pytest.mark.parametrize(
    "event",
    [
        spell(chunk({"role": "assistant", "content": ""})),
        spell(chunk({"content": "a"}, "stop")),
        spell(chunk({"content": "a", "reasoning_content": "b"})),
        spell(chunk({"content": "a"})) + b"\n: a comment",
        spell(chunk({"content": "é"}), ascii_only=True),
        spell(chunk({"content": "a"}) | {"usage": {"prompt_tokens": 1}}),
        spell(chunk({"content": "a"}) | {"system_fingerprint": "x" * 5000}),
        # The same text stands behind: which of the two is told?
        spell(chunk({"content": "a"}, logprobs={"content": [{"token": "a"}]})),
        b": " + spell(chunk({"content": "a"})),
        spell(chunk(call(0, "{", "f"))),
    ],
    ids=range(10),
)  # fmt: skip
def test_what_says_more_or_otherwise_than_one_plain_string_has_no_mould(event: bytes) -> None:
    try:
        parts = read(event)
    except SekishoError:
        parts = [Said(CONTENT, "a")]
    assert make_mould(event, parts, read) is None


@pytest.mark.parametrize(
    "event",
    [
        spell(chunk({"content": "a"})),
        spell(chunk({"content": "a"}), spaced=True),
        spell(chunk({"content": "説明"}, logprobs=None, token_ids=None) | {"usage": None}),
        spell(chunk({"content": "m"})),
    ],
    ids=range(4),
)
def test_a_mould_reads_what_json_reads(event: bytes) -> None:
    mould = learn(event)
    assert mould is not None
    assert [Said(mould.channel, str(mould.read(event)))] == read(event)
    other = mould.before + "また ~\x7f\u2028".encode() + mould.after
    assert [Said(CONTENT, str(mould.read(other)))] == read(other) == [Said(CONTENT, "また ~\x7f\u2028")]


@pytest.mark.parametrize(
    "inside",
    [b"", b'"', b'a"', b"\\n", b"\\u0041", b"\\", b"a\nb", b"\r", b"\t", b"\x00", b"\xff", b"\xe3\x81", b"\xed\xa0\x80",
     b'a","content":"b', b'a"},"finish_reason":"stop","x":{"y":"'],
    ids=range(15),
)  # fmt: skip
def test_what_is_more_than_a_plain_string_is_not_read_by_a_mould(inside: bytes) -> None:
    mould = learn(spell(chunk({"content": "a"})))
    assert mould is not None
    event = mould.before + inside + mould.after
    assert mould.fits(event)
    assert mould.read(event) is None


def test_an_event_shorter_than_what_stands_around_is_not_read() -> None:
    mould = Mould(b'data: "aa', b'aa"', CONTENT)
    assert mould.read(b'data: "aa"') is None
    assert mould.read(b'data: "aaa"') is None
    assert mould.read(b'data: "aaxaa"') == "x"


def tell(asked: Asked, filters: int, feeds: Sequence[bytes]) -> list[Any]:
    """Return what is told after each feed, and how it ended."""
    text_filter = (None, Holding(), AnswerFilter({MARK: "a@b.example"}))[filters]
    answerer = build(asked, text_filter if filters else Holding(0))  # type: ignore[arg-type]
    told: list[Any] = []
    try:
        told.extend(answerer.feed(data) for data in feeds)
        told.append(answerer.end())
    except SekishoError as error:
        told.append((error.reason, error.message))
    return told


def in_both_ways(asked: Asked, filters: int, feeds: Sequence[bytes]) -> None:
    usual = tell(asked, filters, feeds)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(telling, "make_mould", lambda *_: None)
        assert tell(asked, filters, feeds) == usual


PIECES = st.sampled_from([
    "word", " and", "説明", "", '"', "\\", "\n", "[[EML-7Q0", "C2M9XK4BD]]", MARK, "😀", "\ud83d", "\ude00", "m",
    "stop", "chatcmpl-1", "null", "\x7f", "\u2028",
])  # fmt: skip
CHUNKS = st.one_of(
    PIECES.map(lambda text: chunk({"content": text})),
    PIECES.map(lambda text: chunk({"content": text})),
    PIECES.map(lambda text: chunk({"content": text}) | {"created": 10}),
    PIECES.map(lambda text: chunk({"reasoning_content": text})),
    PIECES.map(lambda text: chunk({"content": text}, choice=1)),
    PIECES.map(lambda text: chunk({"content": text}, "stop")),
    PIECES.map(lambda text: chunk({"content": text}) | {"usage": {"prompt_tokens": 3}}),
    PIECES.map(lambda text: chunk(call(0, text))),
    st.just(chunk(call(0, "", "f"))),
)
DATA = st.tuples(CHUNKS, st.booleans(), st.booleans()).map(
    lambda item: spell(item[0], spaced=item[1], ascii_only=item[2])
)
EVENTS = st.lists(
    st.one_of(DATA, DATA, DATA, DATA, st.sampled_from([b"data: [DONE]", b": ping", b"event: x", b"data: {}"])),
    max_size=12,
)


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(ASKED), st.integers(0, 2), EVENTS, st.integers(1, 4))
def test_whatever_an_engine_says_both_ways_tell_the_same(
    asked: Asked, filters: int, events: list[bytes], together: int
) -> None:
    if asked.engine_path == Endpoint.COMPLETIONS:
        events = [event.replace(b".chunk", b"").replace(b"chat.completion", b"text_completion") for event in events]
    plain = [event + b"\n\n" for event in events]
    feeds = [b"".join(plain[at : at + together]) for at in range(0, len(plain), together)]
    in_both_ways(asked, filters, feeds)


@settings(deadline=None, max_examples=150)
@given(
    st.integers(0, 2),
    st.lists(st.tuples(st.integers(0, 200), st.binary(max_size=2), st.integers(0, 2)), max_size=3),
    st.booleans(),
)
def test_a_broken_event_is_told_the_same_both_ways(
    filters: int, changes: list[tuple[int, bytes, int]], completions: bool
) -> None:
    asked = ASKED[1] if completions else ASKED[0]
    usual = spell(text_chunk("word") if completions else chunk({"content": "word"})) + b"\n\n"
    broken = usual
    for at, put, drop in changes:
        broken = broken[:at] + put + broken[at + drop :]
    in_both_ways(asked, filters, [usual, usual, broken, usual, broken + usual])


def test_most_of_a_stream_is_read_without_json_and_a_changed_form_is_learnt_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read_as_json: list[bytes] = []

    def count(text: bytes) -> Any:
        read_as_json.append(text)
        return read_object(text)

    monkeypatch.setattr(telling, "read_object", count)
    for asked, make in ((ASKED[0], lambda text: chunk({"content": text})), (ASKED[1], text_chunk)):
        read_as_json.clear()
        answerer = build(asked, Holding(0))
        for created in (10, 11):
            for at in range(50):
                answerer.feed(spell(make(f"w{at}") | {"created": created}) + b"\n\n")
        # Each form: once itself and two probes; the first began what the second learnt from.
        assert len(read_as_json) <= 8


def test_a_stream_whose_form_changes_all_the_time_is_not_learnt_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    learnt: list[bytes] = []

    def count(event: bytes, *rest: Any) -> Mould | None:
        learnt.append(event)
        return make_mould(event, *rest)

    monkeypatch.setattr(telling, "make_mould", count)
    answerer = build(ASKED[0], Holding(0))
    for at in range(100):
        answerer.feed(spell(chunk({"content": "word"}) | {"created": at}) + b"\n\n")
    assert len(learnt) == 3
