"""How long an agent waits before it asks again."""

import pytest

from sekisho.agent.waiting import Failures, is_lasting, wait_refused, wait_unavailable
from sekisho.errors import Reason, RefusedError, SekishoError, UnavailableError


@pytest.mark.parametrize(
    ("error", "lasting"),
    [
        (RefusedError(Reason.RELEASE_NOT_GRANTED, "no"), True),
        (RefusedError(Reason.WORKLOAD_MISMATCH, "no"), False),
        (RefusedError(Reason.CHIP_UNKNOWN, "no"), False),
        (UnavailableError(Reason.KMS_UNAVAILABLE, "later"), False),
    ],
)
def test_only_a_person_ends_a_refusal_but_that_of_what_is_not_shown_whole_yet(
    error: SekishoError, *, lasting: bool
) -> None:
    assert is_lasting(error) is lasting


def test_outages_do_not_make_the_first_refusal_wait_longer_nor_refusals_the_first_outage() -> None:
    failures = Failures()
    seen = []
    for refused in (False, False, False, True, True, False, False):
        failures.note(refused=refused)
        seen.append((failures.refused, failures.before))
    assert seen == [(False, 0), (False, 1), (False, 2), (True, 0), (True, 1), (False, 0), (False, 1)]


def test_a_first_refusal_counts_from_nothing() -> None:
    failures = Failures()
    failures.note(refused=True)
    assert (failures.refused, failures.before) == (True, 0)


@pytest.mark.parametrize(("before", "least", "most"), [(0, 30, 36), (1, 60, 72), (4, 300, 360), (1000, 300, 360)])
def test_refusals_wait_half_a_minute_and_longer(before: int, least: float, most: float) -> None:
    assert least <= wait_refused(before) <= most


@pytest.mark.parametrize(("before", "least", "most"), [(0, 0.8, 1), (3, 6.4, 8), (1000, 24, 30)])
def test_outages_wait_a_second_and_longer(before: int, least: float, most: float) -> None:
    assert least <= wait_unavailable(before) <= most
