"""Bodies end where they say, at whatever places they are cut; what says it wrongly is refused."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.gateway.wire.bodies import Body, ChunkedBody, EndlessBody, FixedBody, begin_chunk, open_body
from sekisho.gateway.wire.heads import Framing, WireError

MALFORMED = "a chunk's size is malformed"
WRONG = "a chunk is longer or shorter than it says"
TRAILERS = "fields after the last chunk are not taken"


def feed(body: Body, data: bytes, cuts: list[int]) -> tuple[bytes, bytes]:
    """Feed bytes cut at these places; return the body and what came after it."""
    own, rest, edges = b"", b"", [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for begin, end in itertools.pairwise(edges):
        if body.is_done:
            rest += data[begin:end]
            continue
        piece, after = body.take(data[begin:end])
        own, rest = own + piece, rest + after
    return own, rest


def chunk(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=6),
    st.lists(st.integers(0, 400), max_size=8),
    st.binary(max_size=9),
)
def test_chunks_are_put_together_wherever_they_are_cut(pieces: list[bytes], cuts: list[int], after: bytes) -> None:
    body = ChunkedBody()
    assert feed(body, b"".join(map(chunk, pieces)) + b"0\r\n\r\n" + after, cuts) == (b"".join(pieces), after)
    assert body.is_done
    assert body.may_end


def test_a_chunk_of_a_size_begins_with_the_one_line_that_may_tell_it() -> None:
    lines = {len(chunk(b"x" * length)): b"%x\r\n" % length for length in range(1, 5000)}
    assert {size: begin_chunk(size) for size in range(max(lines) + 1)} == {
        size: lines.get(size) for size in range(max(lines) + 1)
    }


def test_a_body_says_whether_a_chunk_comes_next() -> None:
    body = ChunkedBody()
    assert body.is_between
    said = [(body.take(bytes([byte])), body.is_between)[1] for byte in b"2\r\nab\r\n"]
    assert said == [False] * 6 + [True]
    body.take(b"2\r\nab\r\n2\r\ncd")
    assert not body.is_between
    body.take(b"\r\n0\r\n\r\n")
    assert not body.is_between


def test_chunks_that_come_byte_by_byte_are_put_together() -> None:
    data = b"00A\r\n0123456789\r\na\r\n0123456789\r\n000\r\n\r\n"
    body = ChunkedBody()
    assert feed(body, data, list(range(len(data)))) == (b"0123456789" * 2, b"")
    assert body.is_done


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\r\n", MALFORMED),
        (b"g\r\n", MALFORMED),
        (b"+5\r\nhello\r\n", MALFORMED),
        (b"-5\r\nhello\r\n", MALFORMED),
        (b"0x5\r\nhello\r\n", MALFORMED),
        (b"5 \r\nhello\r\n", MALFORMED),
        (b" 5\r\nhello\r\n", MALFORMED),
        (b"5_0\r\n", MALFORMED),
        (b"5;a=b\r\nhello\r\n", MALFORMED),
        (b"5;" + b"a" * 100, MALFORMED),
        (b"5\nhello\r\n0\r\n\r\n", MALFORMED),
        (b"5\rhello\r\n0\r\n\r\n", MALFORMED),
        (b"5" * 18, MALFORMED),
        (b"5" * 17 + b"\r\n", MALFORMED),
        (b"5\r\nhelloX\r\n", WRONG),
        (b"5\r\nhello\n0\r\n\r\n", WRONG),
        (b"5\r\nhell\r\n0\r\n\r\n", WRONG),
        (b"0\r\nX: y\r\n\r\n", TRAILERS),
        (b"0\r\nX", TRAILERS),
        (b"0\r\n\rX", TRAILERS),
    ],
    ids=range(20),
)  # fmt: skip
@pytest.mark.parametrize("whole", [True, False])
def test_chunks_that_say_their_length_wrongly_are_refused(data: bytes, message: str, whole: bool) -> None:
    with pytest.raises(WireError) as refusal:
        feed(ChunkedBody(), data, [] if whole else list(range(len(data))))
    assert str(refusal.value) == message


def test_a_chunk_that_is_longer_than_memory_is_passed_on_as_it_comes() -> None:
    body = ChunkedBody()
    assert feed(body, b"ffffffffffffffff\r\nabc", []) == (b"abc", b"")
    assert not body.is_done
    assert not body.may_end


@given(st.binary(max_size=30), st.lists(st.integers(0, 60), max_size=5), st.binary(max_size=9))
def test_a_body_of_a_length_ends_after_it(data: bytes, cuts: list[int], after: bytes) -> None:
    body = FixedBody(len(data))
    assert body.may_end == body.is_done == (not data)
    assert feed(body, data + after, cuts) == (data, after)
    assert body.is_done


def test_a_body_without_length_ends_with_its_connection() -> None:
    body = EndlessBody()
    assert feed(body, b"abc", [1]) == (b"abc", b"")
    assert not body.is_done
    assert body.may_end


def test_each_way_to_tell_the_end_has_its_reader() -> None:
    assert isinstance(open_body(Framing(None, chunked=True, keeps=True)), ChunkedBody)
    assert isinstance(open_body(Framing(0, chunked=False, keeps=True)), FixedBody)
    assert isinstance(open_body(Framing(None, chunked=False, keeps=True)), EndlessBody)
