"""Challenges: bounded, short, good once."""

import base64
from typing import Any

import pytest

from sekisho.broker.challenges import Challenge, ChallengeBook
from sekisho.errors import Reason, RefusedError, UnavailableError
from tests.unit.broker.parts import START, Clock

MADE: dict[str, Any] = {"purpose": "release", "question_digest": "q", "policy_digest": "p", "now": START}


def take(book: ChallengeBook, challenge: Challenge, **changes: str) -> Challenge:
    made = {"purpose": "release", "pod_uid": challenge.pod_uid, "question_digest": "q", **changes}
    return book.take(challenge.id, **made)


def test_no_two_are_alike_and_each_is_taken_once() -> None:
    book = ChallengeBook(seconds=30, clock=Clock())
    made = [book.issue(pod_uid=f"u{number}", **MADE) for number in range(50)]
    assert len({item.id for item in made}) == len({item.nonce for item in made}) == 50
    assert all(len(item.nonce) == 32 for item in made)
    assert all(take(book, item) == item for item in made)
    assert len(book) == 0
    with pytest.raises(RefusedError, match="answered already") as caught:
        take(book, made[0])
    assert caught.value.reason is Reason.CHALLENGE_UNKNOWN


def test_the_oldest_of_a_pod_falls_out_and_no_other_pods_does() -> None:
    book = ChallengeBook(seconds=30, clock=Clock())
    other = book.issue(pod_uid="other", **MADE)
    made = [book.issue(pod_uid="u", **MADE) for _ in range(6)]
    assert len(book) == 5
    for challenge in made[:2]:
        with pytest.raises(RefusedError):
            take(book, challenge)
    assert [take(book, challenge) for challenge in made[2:]] == made[2:]
    assert take(book, other) == other


def test_too_many_are_refused_until_some_are_too_old() -> None:
    clock = Clock()
    book = ChallengeBook(seconds=30, most=3, clock=clock)
    for number in range(3):
        book.issue(pod_uid=f"u{number}", **MADE)
    with pytest.raises(UnavailableError, match="3 challenges wait for an answer; ask again later") as caught:
        book.issue(pod_uid="u9", **MADE)
    assert caught.value.reason is Reason.OVERLOADED
    clock.seconds = 30
    book.issue(pod_uid="u9", **MADE)
    assert len(book) == 1


@pytest.mark.parametrize("seconds", [0.5, 30, 60])
def test_a_challenge_is_good_until_its_end_and_not_at_it(seconds: float) -> None:
    clock = Clock()
    book = ChallengeBook(seconds=seconds, clock=clock)
    early, late, later = (book.issue(pod_uid=f"u{number}", **MADE) for number in range(3))
    clock.seconds = seconds - 0.25
    assert take(book, early) == early
    for clock.seconds, challenge in ((seconds, late), (seconds + 1, later)):
        with pytest.raises(RefusedError, match=f"was good for {seconds:.0f} s and is too old") as caught:
            take(book, challenge)
        assert caught.value.reason is Reason.CHALLENGE_UNKNOWN
        with pytest.raises(RefusedError, match="answered already"):
            take(book, challenge)


def test_a_challenge_is_named_by_192_random_bits() -> None:
    assert len(base64.urlsafe_b64decode(ChallengeBook(seconds=30).issue(pod_uid="u", **MADE).id)) == 24


@pytest.mark.parametrize("seconds", [0, -1, 60.5])
def test_a_life_of_more_than_a_minute_cannot_be_set(seconds: float) -> None:
    with pytest.raises(ValueError, match="a challenge lives up to 60 seconds"):
        ChallengeBook(seconds=seconds)


@pytest.mark.parametrize("change", [{"purpose": "renew"}, {"pod_uid": "v"}, {"question_digest": "r"}])
def test_a_challenge_that_is_tried_for_something_else_is_gone(change: dict[str, str]) -> None:
    book = ChallengeBook(seconds=30, clock=Clock())
    challenge = book.issue(pod_uid="u", **MADE)
    with pytest.raises(RefusedError, match="was made for another pod, purpose or question"):
        take(book, challenge, **change)
    with pytest.raises(RefusedError, match="answered already"):
        take(book, challenge)
