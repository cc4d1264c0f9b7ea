"""Times of the API server."""

import pytest

from sekisho.api.times import MOST_AHEAD_SECONDS, believe_past, format_time, parse_time, parse_time_or_zero


@pytest.mark.parametrize("text", ["2027-01-15T08:00:00Z", "2027-01-15T08:00:00.5Z", "2027-01-15T17:00:00+09:00"])
def test_times_of_the_server_are_read(text: str) -> None:
    assert int(parse_time_or_zero(text)) == 1_800_000_000


@pytest.mark.parametrize("text", [None, "", "soon", "2027-01-15T08:00:00", 17])
def test_what_is_no_time_of_the_server_is_none(text: object) -> None:
    assert parse_time(text) is None
    assert parse_time_or_zero(text) == 0.0


def test_a_time_is_spelt_in_whole_seconds_of_utc() -> None:
    assert format_time(1_800_000_000.9) == "2027-01-15T08:00:00Z"


@pytest.mark.parametrize("at", [None, 1000.0 + MOST_AHEAD_SECONDS + 1])
def test_a_past_that_cannot_be_is_not_believed(at: float | None) -> None:
    assert believe_past(at, now_at=1000.0) is None


@pytest.mark.parametrize(("at", "believed"), [(10.0, 10.0), (1000.0, 1000.0), (1000.0 + MOST_AHEAD_SECONDS, 1000.0)])
def test_a_past_is_never_later_than_now(at: float, believed: float) -> None:
    assert believe_past(at, now_at=1000.0) == believed
