"""What is no plain HTTP/1.1 head is refused, and so is what two readers could take for two different requests."""

import contextlib
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.gateway.wire.heads import (
    Framing,
    HeadFinder,
    RequestHead,
    ResponseHead,
    WireError,
    parse_request_head,
    parse_response_head,
)

LINE, HOST = b"POST /v1/chat/completions HTTP/1.1", b"Host: x"
TOLD_TWICE = "the body's length is told twice, by Content-Length and by Transfer-Encoding"
NO_NUMBER = "Content-Length must stand once and be a plain number"
NO_CHUNKS = "Transfer-Encoding must stand once and be chunked, in HTTP/1.1"
NO_LINE = "the request line is not METHOD /PATH HTTP/1.1"
MALFORMED = "field 2 of the head is malformed or longer than 16384 bytes"


def spell(*lines: bytes) -> bytes:
    return b"\r\n".join(lines)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ((b"Content-Length: 5", b"Transfer-Encoding: chunked"), TOLD_TWICE),
        ((b"Transfer-Encoding: chunked", b"Content-Length: 5"), TOLD_TWICE),
        ((b"Content-Length: 5", b"Content-Length: 5"), NO_NUMBER),
        ((b"Content-Length: 5", b"Content-Length: 6"), NO_NUMBER),
        ((b"Content-Length: 5, 5",), NO_NUMBER),
        ((b"Content-Length: +5",), NO_NUMBER),
        ((b"Content-Length: -5",), NO_NUMBER),
        ((b"Content-Length: 0x5",), NO_NUMBER),
        ((b"Content-Length: 5_0",), NO_NUMBER),
        ((b"Content-Length: 5 0",), NO_NUMBER),
        ((b"Content-Length:",), NO_NUMBER),
        ((b"Content-Length: 1234567890123456",), NO_NUMBER),
        ((b"Content-Length: \xb2",), NO_NUMBER),
        ((b"Transfer-Encoding: identity",), NO_CHUNKS),
        ((b"Transfer-Encoding: gzip, chunked",), NO_CHUNKS),
        ((b"Transfer-Encoding: chunked, chunked",), NO_CHUNKS),
        ((b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), NO_CHUNKS),
        ((b"Transfer-Encoding: xchunked",), NO_CHUNKS),
        ((b"Transfer-Encoding: chunked;q=1",), NO_CHUNKS),
        ((b'Transfer-Encoding: "chunked"',), NO_CHUNKS),
        ((b"Transfer-Encoding: \x0bchunked",), MALFORMED),
        ((b"Transfer-Encoding : chunked",), MALFORMED),
        ((b"Content-Length : 5",), MALFORMED),
        ((b" Content-Length: 5",), MALFORMED),
        ((b"X-A: b", b" folded"), "field 3 of the head is malformed or longer than 16384 bytes"),
        ((b"X-A: b", b"\tfolded"), "field 3 of the head is malformed or longer than 16384 bytes"),
        ((b"X-A: b\nTransfer-Encoding: chunked",), MALFORMED),
        ((b"X-A: b\rTransfer-Encoding: chunked",), MALFORMED),
        ((b"X-A: b\0",), MALFORMED),
        ((b"X-A\0: b",), MALFORMED),
        ((b"X A: b",), MALFORMED),
        ((b"X(A): b",), MALFORMED),
        ((b"\xc3\xa9: b",), MALFORMED),
        ((b": b",), MALFORMED),
        ((b"no colon",), MALFORMED),
        ((b"",), MALFORMED),
        ((b"X-A: " + b"x" * 16384,), MALFORMED),
        ((b"X-A: b\x7f",), MALFORMED),
        ((b"Host: y",), "the Host header stands 2 times; it must stand once"),
        ((b"Expect: a miracle",), "the Expect header asks for something else than 100-continue"),
        (tuple(b"X-A: %d" % at for at in range(64)), "the head has more than 64 fields"),
    ],
)  # fmt: skip
def test_a_head_that_could_be_read_in_two_ways_is_refused(fields: tuple[bytes, ...], message: str) -> None:
    with pytest.raises(WireError) as refusal:
        parse_request_head(spell(LINE, HOST, *fields))
    assert str(refusal.value) == message


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"POST /v1 HTTP/2.0",
        b"POST /v1 HTTP/1.2",
        b"POST /v1 HTTP/0.9",
        b"POST /v1 http/1.1",
        b"POST /v1 HTTP/1.1 ",
        b"POST  /v1 HTTP/1.1",
        b"POST\t/v1 HTTP/1.1",
        b" POST /v1 HTTP/1.1",
        b"POST /v1",
        b"P(ST /v1 HTTP/1.1",
        b"POST http://internal/v1 HTTP/1.1",
        b"CONNECT internal:443 HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"POST v1 HTTP/1.1",
        b"POST /v1#a HTTP/1.1",
        b"POST /v1\0 HTTP/1.1",
        b"POST /v1\n HTTP/1.1",
        b"POST /\xe7 HTTP/1.1",
        b"PRI * HTTP/2.0",
        b"P" * 33 + b" /v1 HTTP/1.1",
    ],
    ids=range(21),
)  # fmt: skip
def test_a_request_line_of_another_form_is_refused(line: bytes) -> None:
    with pytest.raises(WireError) as refusal:
        parse_request_head(spell(line, HOST))
    assert str(refusal.value) == NO_LINE


def test_a_request_of_todays_http_names_its_host() -> None:
    with pytest.raises(WireError) as refusal:
        parse_request_head(LINE)
    assert str(refusal.value) == "the Host header stands 0 times; it must stand once"
    assert parse_request_head(b"GET / HTTP/1.0").minor == 0
    with pytest.raises(WireError, match="stands 2 times"):
        parse_request_head(spell(b"GET / HTTP/1.0", HOST, HOST))


def test_a_request_is_read_as_it_was_sent() -> None:
    head = parse_request_head(
        spell(b"POST /v1/models/a%2Fb?x=1?y HTTP/1.1", b"hOST:x", b"X-A: \t one \t", b"x-a: \xe4\xba\x8c", b"X-B:",
              b"Content-Length: 12", b"Expect: 100-Continue")
    )  # fmt: skip
    assert (head.method, head.path, head.minor, head.expects) == ("POST", "/v1/models/a%2Fb", 1, True)
    assert head.framing == Framing(12, chunked=False, keeps=True)
    assert head.values("X-A") == ["one", "二"]
    assert (head.values("x-b"), head.values("x-c")) == ([""], [])


def test_bytes_that_are_no_text_are_none_of_any_value_that_counts() -> None:
    head = parse_request_head(spell(LINE, HOST, b"Authorization: Bearer \xff"))
    assert head.values("Authorization") == ["Bearer \ufffd"]


@pytest.mark.parametrize(
    ("lines", "framing"),
    [
        ((LINE, HOST), Framing(0, chunked=False, keeps=True)),
        ((LINE, HOST, b"Transfer-Encoding: Chunked"), Framing(None, chunked=True, keeps=True)),
        ((LINE, HOST, b"Connection: Close"), Framing(0, chunked=False, keeps=False)),
        ((LINE, HOST, b"Connection: te", b"Connection: a,close ,b"), Framing(0, chunked=False, keeps=False)),
        ((b"POST / HTTP/1.0", b"Connection: keep-alive"), Framing(0, chunked=False, keeps=False)),
    ],
)  # fmt: skip
def test_how_a_body_ends_and_whether_the_connection_stays_is_read(lines: tuple[bytes, ...], framing: Framing) -> None:
    assert parse_request_head(spell(*lines)).framing == framing


def test_chunks_are_of_http_1_1_alone_and_http_1_0_waits_for_no_word() -> None:
    with pytest.raises(WireError) as refusal:
        parse_request_head(spell(b"POST / HTTP/1.0", b"Transfer-Encoding: chunked"))
    assert str(refusal.value) == NO_CHUNKS
    assert not parse_request_head(spell(b"POST / HTTP/1.0", b"Expect: 100-continue")).expects


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ((b"HTTP/2 200 OK",), "the status line is not HTTP/1.1 STATUS"),
        ((b"HTTP/1.1 600 OK",), "the status line is not HTTP/1.1 STATUS"),
        ((b"HTTP/1.1 20 OK",), "the status line is not HTTP/1.1 STATUS"),
        ((b"HTTP/1.1  200 OK",), "the status line is not HTTP/1.1 STATUS"),
        ((b"<html>",), "the status line is not HTTP/1.1 STATUS"),
        ((b"HTTP/1.1 200 OK", b"Content-Length: 1", b"Transfer-Encoding: chunked"), TOLD_TWICE),
        ((b"HTTP/1.1 200 OK", b"Content-Length: 1", b"Content-Length: 1"), NO_NUMBER),
        ((b"HTTP/1.0 200 OK", b"Transfer-Encoding: chunked"), NO_CHUNKS),
    ],
)  # fmt: skip
def test_an_answer_that_is_no_http_is_refused(lines: tuple[bytes, ...], message: str) -> None:
    with pytest.raises(WireError) as refusal:
        parse_response_head(spell(*lines))
    assert str(refusal.value) == message


@pytest.mark.parametrize(
    ("lines", "framing"),
    [
        ((b"HTTP/1.1 200 OK",), Framing(None, chunked=False, keeps=True)),
        ((b"HTTP/1.1 200", b"Content-Length: 3"), Framing(3, chunked=False, keeps=True)),
        ((b"HTTP/1.0 200 OK", b"Content-Length: 3"), Framing(3, chunked=False, keeps=False)),
        ((b"HTTP/1.1 204 No Content", b"Content-Length: 3"), Framing(0, chunked=False, keeps=True)),
        ((b"HTTP/1.1 100 Continue",), Framing(0, chunked=False, keeps=True)),
    ],
)  # fmt: skip
def test_how_an_answer_ends_is_read(lines: tuple[bytes, ...], framing: Framing) -> None:
    assert parse_response_head(spell(*lines)).framing == framing


def test_a_head_is_found_wherever_it_is_cut() -> None:
    whole = spell(LINE, HOST, b"", b"")
    for cut in range(1, len(whole)):
        finder = HeadFinder()
        assert finder.feed(whole[:cut]) is None
        assert finder.has_begun
        assert finder.feed(whole[cut:] + b"rest") == (whole[:-4], b"rest")
        assert not finder.has_begun


def feed_steps(finder: HeadFinder, data: bytes, step: int) -> list[tuple[bytes, bytes]]:
    """Feed bytes in steps; return what was found."""
    found = (finder.feed(data[at : at + step]) for at in range(0, len(data), step))
    return [item for item in found if item is not None]


@pytest.mark.parametrize("step", [1, 1000, 4097])
def test_a_head_without_end_is_refused_once_it_is_too_long(step: int) -> None:
    assert feed_steps(HeadFinder(4096), b"x" * 4096, step) == []
    with pytest.raises(WireError, match="the head is longer than 4096 bytes"):
        feed_steps(HeadFinder(4096), b"x" * 4097, step)


def test_a_head_that_is_too_long_is_refused_though_it_has_an_end() -> None:
    with pytest.raises(WireError, match="the head is longer than 4096 bytes"):
        HeadFinder(4096).feed(b"x" * 4097 + b"\r\n\r\n")


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\nHost: x\n\n", b"GET / HTTP/1.1\r\nHost: x\n\r\n", b"\n"])
@pytest.mark.parametrize("step", [1, 2, 100])
def test_lines_that_end_with_a_bare_lf_are_refused_at_once(data: bytes, step: int) -> None:
    with pytest.raises(WireError, match="a line of the head ends with a bare LF"):
        feed_steps(HeadFinder(), data, step)


def test_a_bare_lf_within_a_head_that_is_whole_is_refused_too() -> None:
    found = HeadFinder().feed(spell(LINE, HOST, b"X-A: b\nX-B: c", b"", b""))
    assert found is not None
    with pytest.raises(WireError, match="field 2 of the head is malformed"):
        parse_request_head(found[0])


FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([\t\x20-\x7e\x80-\xff]*)")
STRANGE = st.text("Host: x\t\r\n\0\x7f\xff", max_size=9).map(lambda text: text.encode("latin-1"))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from((b"Accept", b"accept", b"X-A", b"")), STRANGE).map(b"".join), max_size=4))
def test_names_that_are_usual_are_held_to_the_same_rules(fields: list[bytes]) -> None:
    lines = spell(LINE, HOST, *fields).split(b"\r\n")[1:]
    are_fine = all(FIELD.fullmatch(line) for line in lines)
    with contextlib.nullcontext() if are_fine else pytest.raises(WireError):
        head = parse_response_head(spell(b"HTTP/1.1 200 OK", *lines))
        found = [(name.lower(), value.strip(b" \t")) for name, _, value in (line.partition(b":") for line in lines)]
        assert sorted(found) == sorted((name, value) for name in head.fields for value in head.fields[name])


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200), st.lists(st.binary(max_size=40), max_size=5))
def test_whatever_comes_is_read_or_refused(line: bytes, fields: list[bytes]) -> None:
    for parse, kind in ((parse_request_head, RequestHead), (parse_response_head, ResponseHead)):
        with contextlib.suppress(WireError):
            assert isinstance(parse(spell(line, *fields)), kind)
