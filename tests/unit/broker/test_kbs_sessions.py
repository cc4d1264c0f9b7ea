"""Sessions: one pod's, answered once, and not for ever."""

from datetime import UTC, datetime
from typing import Any

import pytest

from sekisho.broker.jwe import parse_guest_key
from sekisho.broker.kbs_sessions import Attested, Session, SessionBook
from sekisho.errors import Reason, RefusedError, UnavailableError
from tests.unit.broker.guest import Guest

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
GUEST = Guest()
ATTESTED = Attested((), parse_guest_key(GUEST.jwk()), GUEST.jwk())


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def book(clock: Clock) -> SessionBook:
    return SessionBook(challenge_seconds=30, session_seconds=300, clock=clock)


def begin(book: SessionBook, pod: str = "pod-1") -> Session:
    return book.begin(pod_uid=pod, tee="snp", algorithm="sha384", now=NOW)


def refused(act: Any, *args: Any, **options: Any) -> str:
    with pytest.raises(RefusedError) as caught:
        act(*args, **options)
    assert caught.value.reason is Reason.CHALLENGE_UNKNOWN
    return caught.value.message


def test_a_session_that_nobody_began_is_not_known(book: SessionBook) -> None:
    for act in (book.answer, book.use):
        assert refused(act, "unknown", pod_uid="pod-1").startswith("the session is not known here")


def test_a_session_of_another_pod_is_not_known(book: SessionBook) -> None:
    session = begin(book)
    assert refused(book.answer, session.id, pod_uid="pod-2").startswith("the session is not known here")
    book.confirm(book.answer(session.id, pod_uid="pod-1"), ATTESTED)
    assert refused(book.use, session.id, pod_uid="pod-2").startswith("the session is not known here")


def test_a_challenge_is_answered_once(book: SessionBook) -> None:
    session = begin(book)
    book.answer(session.id, pod_uid="pod-1")
    assert refused(book.answer, session.id, pod_uid="pod-1").startswith("the session was answered already")


def test_a_challenge_that_is_late_is_refused(book: SessionBook, clock: Clock) -> None:
    session = begin(book)
    clock.seconds = 30
    assert refused(book.answer, session.id, pod_uid="pod-1").startswith("the session is too old")
    assert len(book) == 0


def test_a_session_gives_nothing_before_it_is_attested(book: SessionBook) -> None:
    session = begin(book)
    assert refused(book.use, session.id, pod_uid="pod-1").startswith("the session was not attested")
    book.answer(session.id, pod_uid="pod-1")
    assert refused(book.use, session.id, pod_uid="pod-1").startswith("the session was not attested")


def test_an_attested_session_lives_from_its_challenge_on_and_no_longer(book: SessionBook, clock: Clock) -> None:
    session = begin(book)
    clock.seconds = 20
    book.confirm(book.answer(session.id, pod_uid="pod-1"), ATTESTED)
    clock.seconds = 299
    assert book.use(session.id, pod_uid="pod-1").attested == ATTESTED
    clock.seconds = 300
    assert refused(book.use, session.id, pod_uid="pod-1").startswith("the session is too old")


def test_what_was_proven_for_a_session_that_fell_out_is_forgotten(book: SessionBook, clock: Clock) -> None:
    session = book.answer(begin(book).id, pod_uid="pod-1")
    clock.seconds = 31
    begin(book, "pod-2")
    assert refused(book.confirm, session, ATTESTED).startswith("the session is not known here")


def test_a_pod_has_few_sessions_at_once(book: SessionBook) -> None:
    sessions = [begin(book) for _ in range(5)]
    assert refused(book.answer, sessions[0].id, pod_uid="pod-1").startswith("the session is not known here")
    assert book.answer(sessions[1].id, pod_uid="pod-1") == sessions[1]
    assert len(book) == 4
    assert len({session.nonce for session in sessions}) == 5


def test_too_many_sessions_are_refused_until_some_are_old(clock: Clock) -> None:
    book = SessionBook(challenge_seconds=30, session_seconds=300, most=8, clock=clock)
    for number in range(8):
        begin(book, f"pod-{number}")
    with pytest.raises(UnavailableError, match="8 sessions are open") as caught:
        begin(book, "another")
    assert caught.value.reason is Reason.OVERLOADED
    clock.seconds = 30
    begin(book, "another")
    assert len(book) == 1


def test_sessions_that_are_gone_do_not_count_against_a_pod(book: SessionBook, clock: Clock) -> None:
    old = [begin(book) for _ in range(4)]
    clock.seconds = 30
    for session in old:
        refused(book.answer, session.id, pod_uid="pod-1")
    new = [begin(book) for _ in range(4)]
    assert [book.answer(session.id, pod_uid="pod-1") for session in new] == new


def test_sessions_are_looked_through_now_and_then(clock: Clock) -> None:
    book = SessionBook(challenge_seconds=30, session_seconds=300, clock=clock)
    clock.seconds = 1
    begin(book, "pod-1")
    clock.seconds = 29
    begin(book, "pod-2")
    clock.seconds = 31
    begin(book, "pod-3")  # the look is taken: what began at 1 is gone
    assert len(book) == 2
    clock.seconds = 60
    begin(book, "pod-4")  # what began at 29 is old, but the next look is due at 61
    assert len(book) == 3
    clock.seconds = 61
    begin(book, "pod-5")
    assert len(book) == 2
