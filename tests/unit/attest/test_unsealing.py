"""What a pod may say of its weights."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.attest.unsealing import MAX_REPORT_BYTES, REPORTABLE, UnsealReport, encode_report, parse_report
from sekisho.errors import Reason, RefusedError

GOOD = {"reason": "SealBroken", "message": "a tag does not hold", "ready": False}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "it is not JSON"),
        (b"{" * 4000, "it is not JSON"),
        (b"[" * 4000, "it is not JSON"),
        (b" " * (MAX_REPORT_BYTES + 1), "it has 4097 bytes, 4096 allowed"),
        ([], "it is not an object of reason, message and ready"),
        ({"reason": "SealBroken", "message": ""}, "it is not an object of reason, message and ready"),
        (GOOD | {"more": 1}, "it is not an object of reason, message and ready"),
        (GOOD | {"message": 7}, "its message is not printable text"),
        (GOOD | {"message": "a\u0000b"}, "its message is not printable text"),
        (GOOD | {"message": "a\nb"}, "its message is not printable text"),
        (GOOD | {"message": "x" * 1025}, "of at most 1024 characters"),
        (GOOD | {"reason": "Nonsense"}, "its reason is none that a pod may give"),
        (GOOD | {"reason": ["SealBroken"]}, "its reason is none that a pod may give"),
        (GOOD | {"reason": "IsolationProven"}, "its reason is none that a pod may give"),
        (GOOD | {"reason": "WeightsMounted"}, "its reason is none that a pod may give"),
        (GOOD | {"ready": True}, "ready is True, which does not go with reason SealBroken"),
        (GOOD | {"ready": 0}, "ready is 0, which does not go with reason SealBroken"),
        (GOOD | {"reason": "WeightsAvailable"}, "ready is False, which does not go with reason WeightsAvailable"),
        (GOOD | {"reason": "WeightsAvailable", "ready": 1}, "ready is 1, which does not go with reason WeightsAv"),
    ],
)
def test_a_report_that_a_pod_may_not_give_is_refused(body: Any, message: str) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(RefusedError) as caught:
        parse_report(data)
    assert caught.value.reason is Reason.REQUEST_INVALID
    assert message in caught.value.message


def test_a_message_whose_signs_are_escaped_is_cut_until_it_fits() -> None:
    data = encode_report(UnsealReport(Reason.SEAL_BROKEN, "é" * 3000, ready=False))
    assert len(data) <= MAX_REPORT_BYTES
    assert data.isascii()
    assert parse_report(data).message == "é" * 512


@pytest.mark.parametrize(("length", "kept"), [(661, 661), (662, 331), (700, 350)])
def test_a_message_is_cut_only_where_it_would_not_fit(length: int, kept: int) -> None:
    data = encode_report(UnsealReport(Reason.SEAL_BROKEN, "é" * length, ready=False))
    assert parse_report(data).message == "é" * kept


def test_signs_that_cannot_be_printed_are_replaced() -> None:
    data = encode_report(UnsealReport(Reason.SEAL_BROKEN, "a\n\0\ud800z", ready=False))
    assert parse_report(data).message == "a???z"


def test_a_report_may_be_as_long_as_is_allowed() -> None:
    body = json.dumps(GOOD | {"message": "x" * 1024}).encode()
    assert parse_report(body.ljust(MAX_REPORT_BYTES)).message == "x" * 1024


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(sorted(REPORTABLE)), st.text(max_size=3000))
def test_every_report_that_is_spelt_can_be_read_within_its_bounds(reason: Reason, message: str) -> None:
    report = UnsealReport(reason, message, ready=reason is Reason.WEIGHTS_AVAILABLE)
    data = encode_report(report)
    assert len(data) <= MAX_REPORT_BYTES
    read = parse_report(data)
    assert (read.reason, read.ready) == (report.reason, report.ready)
    if message.isprintable() and len(message) <= 600 and message.isascii():
        assert read.message == message


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=200) | st.from_type(dict[str, str | int | bool]).map(lambda v: json.dumps(v).encode()))
def test_no_bytes_make_reading_a_report_fail_but_by_a_refusal(data: bytes) -> None:
    assert refuse(data) in {None, Reason.REQUEST_INVALID}


def refuse(data: bytes) -> Reason | None:
    try:
        parse_report(data)
    except RefusedError as error:
        return error.reason
    return None
