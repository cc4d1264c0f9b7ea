"""Streams are cut at the ends of events and nowhere else, and no byte is changed."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.errors import Reason, UnavailableError
from sekisho.gateway.sse import EventFramer, split_events

ENDS = st.sampled_from([b"\n\n", b"\r\n\r\n", b"\r\r"])
LINES = st.binary(max_size=12).map(lambda raw: raw.replace(b"\n", b"n").replace(b"\r", b"r"))
EVENTS = st.lists(st.tuples(LINES, ENDS).map(lambda pair: b"data: " + pair[0] + pair[1]), max_size=8)


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    at = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[begin:end] for begin, end in pairwise(at) if begin < end]


@given(EVENTS, LINES, st.lists(st.integers(0, 1000), max_size=12))
def test_whole_events_pass_byte_for_byte_however_they_are_split(
    events: list[bytes], half: bytes, cuts: list[int]
) -> None:
    whole, framer = b"".join(events), EventFramer(1 << 16)
    passed = b""
    for chunk in split(whole + half, cuts):
        passed += framer.feed(chunk)
        assert whole.startswith(passed)
    assert passed == whole


@given(EVENTS, st.lists(st.integers(0, 1000), max_size=12))
def test_each_event_passes_as_soon_as_it_is_whole(events: list[bytes], cuts: list[int]) -> None:
    whole, framer, seen, passed = b"".join(events), EventFramer(1 << 16), b"", b""
    for chunk in split(whole, cuts):
        seen += chunk
        passed += framer.feed(chunk)
        due = 0
        for event in events:
            if len(seen) < due + len(event):
                break
            due += len(event)
        assert len(passed) == due


@given(st.lists(st.integers(0, 1000), max_size=12))
def test_a_stream_is_complete_only_after_its_last_word(cuts: list[int]) -> None:
    framer = EventFramer(1 << 16)
    for chunk in split(b'data: {"usage":{"prompt_tokens":1}}\n\ndata: [DONE]\n\n', cuts):
        assert not framer.is_complete
        framer.feed(chunk)
    assert framer.is_complete
    assert framer.last_events() == [b"data: [DONE]", b'data: {"usage":{"prompt_tokens":1}}']


def test_a_half_event_makes_a_stream_incomplete() -> None:
    framer = EventFramer(100)
    framer.feed(b"data: [DONE]\n\ndata: x")
    assert not framer.is_complete


@pytest.mark.parametrize(
    "last", [b'data: {"content":"[DONE]"}', b": [DONE]", b"data: [DONE", b"data: [DONE] ]", b"data: x\ndata: [DONE]"]
)
def test_words_that_look_like_the_last_one_do_not_make_a_stream_complete(last: bytes) -> None:
    framer = EventFramer(100)
    framer.feed(b"data: {}\n\n" + last + b"\n\n")
    assert not framer.is_complete


@pytest.mark.parametrize("last", [b"data:[DONE]", b"data: [DONE] \r\n: bye", b"data: [DONE]\n\n: bye\n\n: bye"])
def test_comments_beside_the_last_word_say_nothing(last: bytes) -> None:
    framer = EventFramer(100)
    framer.feed(b"data: {}\n\n" + last + b"\n\n")
    assert framer.is_complete


def test_comments_alone_make_no_stream_complete() -> None:
    framer = EventFramer(100)
    framer.feed(b": [DONE]\n\n")
    assert not framer.is_complete


@pytest.mark.parametrize(
    "event", [b"event: done\ndata: x\n\n", b"data: x\nid: 7\n\n", b"data: a\n\nerror: x\n\n", b"data: x\revent: y\r\r"]
)
def test_a_line_that_is_neither_data_nor_a_comment_is_refused(event: bytes) -> None:
    with pytest.raises(UnavailableError) as failure:
        EventFramer(100).feed(event)
    assert failure.value.reason is Reason.UPSTREAM_FAILED
    assert "an event of a type that is not known" in failure.value.message


def test_comments_and_data_of_several_lines_pass() -> None:
    events = b": still there\n\ndata: a\ndata: b\n\ndata: c\r\n\r\n"
    framer = EventFramer(100)
    assert framer.feed(events) == events
    assert split_events(events) == [b": still there", b"data: a\ndata: b", b"data: c"]


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\n\r\n", b"\r\n\n", b"\r\r"])
@pytest.mark.parametrize("size", [1, 2, 3, 64])
def test_however_lines_end_and_bytes_arrive_the_events_are_the_same(end: bytes, size: int) -> None:
    stream, framer = b"data: a" + end + b"data: b" + end, EventFramer(64)
    passed = [framer.feed(stream[at : at + size]) for at in range(0, len(stream), size)]
    assert [event for whole in passed for event in split_events(whole)] == [b"data: a", b"data: b"]
    assert framer.events == 2


def test_an_event_without_end_is_refused_at_the_limit() -> None:
    framer = EventFramer(100)
    framer.feed(b"x" * 100)
    with pytest.raises(UnavailableError) as failure:
        framer.feed(b"x")
    assert failure.value.reason is Reason.UPSTREAM_FAILED
    assert "an event longer than 100 bytes" in failure.value.message


def test_a_stream_without_end_is_refused_at_its_limit() -> None:
    framer = EventFramer(100, 64)
    event = b"data: 012345678\n\n"
    for _ in range(3):
        assert framer.feed(event) == event
    with pytest.raises(UnavailableError) as refusal:
        framer.feed(event)
    assert refusal.value.reason is Reason.UPSTREAM_FAILED
    assert refusal.value.message == "the engine sent a stream of more than 64 bytes; the answer ends"
