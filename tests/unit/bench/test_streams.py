"""The thin caller of the gateway's benchmarks: what it reads of answers, and what it does not let pass."""

import json

import pytest

from bench.gateway.speed import check_all, check_same
from bench.gateway.streams import Heard, check_stream, find_percentile, is_whole, measure_lags, read_body, spell_stamp
from bench.harness import WrongAnswerError

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
AT = 1_000_000_000


def spell_chunk(event: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(event), event)


def build_events(numbers: list[int]) -> list[bytes]:
    deltas = [{"content": spell_stamp(number, AT + number)} for number in numbers]
    return [b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta}]}).encode() + b"\n\n" for delta in deltas]


def build_heard(numbers: list[int], *, end: bytes = b"data: [DONE]\n\n") -> Heard:
    pieces = [HEAD, *(spell_chunk(event) for event in (*build_events(numbers), end)), b"0\r\n\r\n"]
    return Heard([(AT + 5_000_000, piece) for piece in pieces])


def test_an_answer_is_whole_at_its_end_and_not_before() -> None:
    raw = build_heard([0, 1]).raw
    assert is_whole(raw)
    assert not any(is_whole(raw[:size]) for size in range(len(raw)))
    told = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
    assert is_whole(told)
    assert not is_whole(told[:-1])
    assert read_body(told) == b"{}"


def test_every_chunk_in_order_passes() -> None:
    check_all([(build_heard([0, 1, 2]), 3)])


@pytest.mark.parametrize("numbers", [[0, 1], [0, 2, 1], [0, 1, 1, 2]])
def test_a_chunk_that_is_missing_doubled_or_out_of_turn_fails(numbers: list[int]) -> None:
    with pytest.raises(WrongAnswerError, match="or not in order"):
        check_stream(build_heard(numbers), 3)


def test_a_stream_without_its_end_fails() -> None:
    with pytest.raises(WrongAnswerError, match="did not end as streams end"):
        check_stream(build_heard([0], end=build_events([1])[0]), 2)


def test_an_answer_that_is_a_refusal_or_cut_fails() -> None:
    with pytest.raises(WrongAnswerError, match=r"an answer was b'HTTP/1\.1 503"):
        read_body(b"HTTP/1.1 503 Busy\r\n\r\n")
    with pytest.raises(WrongAnswerError, match="cut"):
        read_body(build_heard([0]).raw[:-7])


def test_nothing_measured_or_something_else_told_fails() -> None:
    with pytest.raises(WrongAnswerError, match="nothing was measured"):
        check_all([])
    with pytest.raises(WrongAnswerError, match="an answer is missing"):
        check_same([])


def test_lag_is_from_the_engines_writing_to_the_arrival_even_of_what_came_in_two_pieces() -> None:
    raw = build_heard([0, 1]).raw
    cut = raw.index(b"word 1") + 12
    heard = Heard([(AT + 1_000_000, raw[:cut]), (AT + 3_000_000, raw[cut:])])
    assert measure_lags(heard) == pytest.approx([0.001, 0.003], abs=1e-8)


def test_a_percentile_is_one_of_the_values() -> None:
    assert find_percentile([float(value) for value in range(100)], 0.99) == 99
    assert find_percentile([1.0], 0.99) == 1
