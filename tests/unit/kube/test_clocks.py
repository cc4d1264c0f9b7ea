"""Clocks that are apart are told once, not with each answer."""

import logging

import pytest

from sekisho.kube.clocks import Clocks

DATE = "Tue, 01 Dec 2026 00:00:00 GMT"
AT = 1_796_083_200.0


@pytest.mark.parametrize(
    "headers", [{}, {"Date": ""}, {"Date": "yesterday"}, {"Date": "Tue, 99 Dec 2026 00:00:00 GMT"}]
)
def test_an_answer_that_tells_no_time_says_nothing(headers: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    clocks = Clocks()
    clocks.compare(headers, now=AT)
    assert clocks.ahead_seconds is None
    assert not caplog.records


@pytest.mark.parametrize("off", [-61.0, 61.0, 86_400.0])
def test_a_clock_that_is_off_is_told_once_and_once_that_it_is_right_again(
    off: float, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    clocks = Clocks()
    for now in (AT, AT + 60, AT + off, AT + off, AT - 60, AT):
        clocks.compare({"Date": DATE}, now=now)
    assert clocks.ahead_seconds == 0.0
    assert [(item.levelname, item.__dict__["ahead_seconds"]) for item in caplog.records] == [
        ("ERROR", int(off)), ("INFO", -60)
    ]  # fmt: skip
