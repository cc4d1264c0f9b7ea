"""The usual chunk: whatever is not exactly that is read as JSON, and all ways tell the same."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.errors import SekishoError
from sekisho.gateway.dialects import telling
from sekisho.gateway.dialects.answers import Answerer, Channel
from sekisho.gateway.dialects.chunks import Part, Said, read_event, read_object, read_parts
from sekisho.gateway.dialects.form import Asked, Endpoint
from sekisho.gateway.dialects.moulds import Mould, make_mould, make_usual
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
        # What a probe would take the place of is the type, which stands last.
        spell(dict(reversed(chunk({"content": "chat.completion.chunk"}).items()))),
    ],
    ids=range(11),
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


def take(answerer: Answerer, data: bytes) -> bytes:
    """Tell one whole event by the shortcut where it may be told by it, and feed it where not."""
    usual = answerer.usual
    if usual is not None and data.startswith(usual.before) and data.endswith(usual.after):
        told = usual.tell(data[len(usual.before) : len(data) - len(usual.after)])
        if told is not None:
            return told
    return answerer.feed(data)


def tell(asked: Asked, filters: int, feeds: Sequence[bytes], *, shortly: bool = False) -> list[Any]:
    """Return what is told after each feed, and how it ended."""
    text_filter = (None, Holding(), AnswerFilter({MARK: "a@b.example"}))[filters]
    answerer = build(asked, text_filter if filters else Holding(0))  # type: ignore[arg-type]
    told: list[Any] = []
    try:
        told.extend(take(answerer, data) if shortly else answerer.feed(data) for data in feeds)
        told.append(answerer.end())
    except SekishoError as error:
        told.append((error.reason, error.message))
    return told


def in_all_ways(asked: Asked, filters: int, feeds: Sequence[bytes]) -> None:
    usual = tell(asked, filters, feeds)
    assert tell(asked, filters, feeds, shortly=True) == usual
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
def test_whatever_an_engine_says_all_ways_tell_the_same(
    asked: Asked, filters: int, events: list[bytes], together: int
) -> None:
    if asked.engine_path == Endpoint.COMPLETIONS:
        events = [event.replace(b".chunk", b"").replace(b"chat.completion", b"text_completion") for event in events]
    plain = [event + b"\n\n" for event in events]
    feeds = [b"".join(plain[at : at + together]) for at in range(0, len(plain), together)]
    in_all_ways(asked, filters, feeds)


@settings(deadline=None, max_examples=150)
@given(
    st.integers(0, 2),
    st.lists(st.tuples(st.integers(0, 200), st.binary(max_size=2), st.integers(0, 2)), max_size=3),
    st.booleans(),
)
def test_a_broken_event_is_told_the_same_all_ways(
    filters: int, changes: list[tuple[int, bytes, int]], completions: bool
) -> None:
    asked = ASKED[1] if completions else ASKED[0]
    usual = spell(text_chunk("word") if completions else chunk({"content": "word"})) + b"\n\n"
    broken = usual
    for at, put, drop in changes:
        broken = broken[:at] + put + broken[at + drop :]
    in_all_ways(asked, filters, [usual, usual, broken, usual, broken + usual])


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


@pytest.fixture
def learnt(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Events that a form was learnt from."""
    events: list[bytes] = []

    def count(event: bytes, *rest: Any) -> Mould | None:
        events.append(event)
        return make_mould(event, *rest)

    monkeypatch.setattr(telling, "make_mould", count)
    return events


def test_a_stream_whose_form_changes_all_the_time_is_not_learnt_all_the_time(learnt: list[bytes]) -> None:
    answerer = build(ASKED[0], Holding(0))
    for at in range(100):
        answerer.feed(spell(chunk({"content": "word"}) | {"created": at}) + b"\n\n")
    assert len(learnt) == 3


def usual_of(asked: Asked, words: Sequence[str]) -> tuple[Answerer, list[bytes]]:
    """Return an answerer that was told so many words, and what it told of each."""
    answerer = build(asked, AnswerFilter({MARK: "a@b.example"}))  # type: ignore[arg-type]
    make = text_chunk if asked.engine_path == Endpoint.COMPLETIONS else lambda text: chunk({"content": text})
    return answerer, [answerer.feed(spell(make(word)) + b"\n\n") for word in words]


@pytest.mark.parametrize("asked", ASKED, ids=[asked.endpoint.name for asked in ASKED])
def test_after_two_words_most_dialects_tell_the_next_without_reading_it(asked: Asked) -> None:
    answerer, told = usual_of(asked, ["a", "word"])
    usual = answerer.usual
    if asked.endpoint is Endpoint.RESPONSES:  # its events are numbered
        assert usual is None
        return
    assert usual is not None
    assert usual.tell(b"word") == told[1]
    assert usual.tell("語".encode()) == told[1].replace(b"word", "語".encode())
    assert usual.tell(b"[[EML-7Q0") == b""
    restored = usual.tell(b"C2M9XK4BD]]")
    assert restored == told[1].replace(b"word", b"a@b.example")


@pytest.mark.parametrize("inside", [b"", b'"', b"\\n", b"a\nb", b"\x00", b"\xff", b"\xed\xa0\x80", b'a","content":"b'])
def test_the_shortcut_does_not_tell_what_is_more_than_a_plain_string(inside: bytes) -> None:
    answerer, told = usual_of(ASKED[0], ["a", "word"])
    usual = answerer.usual
    assert usual is not None
    assert usual.tell(inside) is None
    assert usual.tell(b"word") == told[1]


@pytest.mark.parametrize(
    "event",
    [
        spell(chunk({"reasoning_content": "x"})),
        spell(chunk({"content": "x"}, choice=1)),
        spell(chunk(call(0, "", "f"))),
        spell(chunk({}, "stop")),
        b"data: [DONE]",
    ],
    ids=range(5),
)
def test_the_shortcut_ends_where_another_text_begins_or_this_one_ends(event: bytes) -> None:
    answerer, _ = usual_of(ASKED[0], ["a", "word"])
    assert answerer.usual is not None
    answerer.feed(event + b"\n\n")
    assert answerer.usual is None


def test_what_was_told_by_the_shortcut_counts_where_another_form_is_learnt(learnt: list[bytes]) -> None:
    answerer = build(ASKED[0], Holding(0))
    for form in range(20):
        for _ in range(12):
            take(answerer, spell(chunk({"content": "word"}) | {"created": form}) + b"\n\n")
    assert len(learnt) == 20


def test_a_dialect_whose_words_around_a_text_change_has_no_shortcut() -> None:
    mould = learn(spell(chunk({"content": "a"})))
    assert mould is not None
    counter = iter(range(9))
    assert make_usual(mould, lambda _, text: f"{next(counter)} {text}".encode(), None) is None
    assert make_usual(mould, lambda _, text: b"?", None) is None
    usual = make_usual(mould, lambda _, text: f"<{text}>".encode(), None)
    assert usual is not None
    assert usual.tell(b"a") == b"<a>"


def test_a_text_that_goes_on_after_its_end_ends_the_answer() -> None:
    answerer, _ = usual_of(ASKED[0], ["a", "word"])
    answerer.feed(spell(chunk({}, "stop")) + b"\n\n")
    with pytest.raises(SekishoError, match="it went on after its end"):
        answerer.feed(spell(chunk({"content": "word"})) + b"\n\n")
