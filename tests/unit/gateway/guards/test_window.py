"""Of an answer nothing goes on that was not looked into, and what must not be told is not told."""

import json
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.errors import Reason, RefusedError, UnavailableError
from sekisho.gateway.dialects.answers import Channel
from sekisho.gateway.guards import window
from sekisho.gateway.guards.answering import MAX_HELD_BYTES, AnswerFilter, HeldAnswerer
from sekisho.gateway.guards.window import MAX_HELD, WINDOW, Watch, Whole, Window
from sekisho.redact.categories import Category
from sekisho.redact.detect import Detector
from sekisho.redact.spans import Span

FIND = Detector(frozenset({Category.EMAIL, Category.CARD, Category.SECRET_KEY})).detect
MAIL = "taro@example.co.jp"
PEM = "-----BEGIN PRIVATE KEY-----\n" + "MIIEvQIBADANBgkq\n" * 60 + "-----END PRIVATE KEY-----"


def pieces_of(text: str, cuts: list[int]) -> list[str]:
    edges = [0, *sorted({cut % (len(text) + 1) for cut in cuts}), len(text)]
    return [text[a:b] for a, b in pairwise(edges)]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(["word ", MAIL + " ", "これは", "4111 1111 1111 1111, ", "long " * 50]), max_size=12),
    st.lists(st.integers(0, 4000), max_size=30),
)
def test_however_an_answer_is_cut_the_same_is_taken_out(words: list[str], cuts: list[int]) -> None:
    text = "".join(words)
    watch, whole = Watch(FIND), Whole(Watch(FIND), in_json=False)
    pane = Window(watch)
    told = "".join(pane.feed(piece) for piece in pieces_of(text, cuts)) + pane.finish()
    assert MAIL not in told
    assert "4111" not in told
    assert told == whole.feed(text) + whole.finish()
    assert sum(watch.counts.values()) == words.count(MAIL + " ") + words.count("4111 1111 1111 1111, ")


def test_an_item_longer_than_the_window_is_held_from_its_beginning() -> None:
    watch = Watch(FIND)
    pane = Window(watch)
    text = "x" * 300 + "\n" + PEM + "\nbye"
    told = "".join(pane.feed(sign) for sign in text) + pane.finish()
    assert told == "x" * 300 + "\n[secret-key]\nbye"
    assert watch.describe() == {"secret-key": 1}


def test_an_item_without_end_is_looked_into_as_it_grows_and_not_at_each_piece() -> None:
    looked = list[int]()

    def find(text: str) -> Sequence[Span]:
        looked.append(len(text))
        return FIND(text)

    pane = Window(Watch(find))
    told = "".join(pane.feed(piece) for piece in ["hello ", "sk-", *["abcd"] * 25_000])
    assert told == "hello "
    assert sum(looked) < 20 * 100_000
    assert pane.feed(" plain words" * 2_000).startswith("[secret-key] plain words")


def test_at_most_the_window_and_a_step_are_held_back() -> None:
    pane, fed, told = Window(Watch(FIND)), 0, 0
    for _ in range(200):
        told += len(pane.feed("plain words "))
        fed += 12
        assert fed - told < WINDOW + 64 + 12


def test_an_answer_that_must_not_hold_it_ends_before_any_of_it_is_told() -> None:
    watch = Watch(FIND, ends=True)
    pane = Window(watch)
    told = pane.feed("harmless " * 60)
    with pytest.raises(RefusedError) as refused:
        told += pane.feed(f"{MAIL} " * 20)
    assert refused.value.reason is Reason.ANSWER_REFUSED
    assert refused.value.message == "the answer held email, which answers of this class may not hold; it ends here"
    assert "taro" not in told
    assert watch.counts[Category.EMAIL] > 0


def test_what_hangs_together_without_end_ends_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "MAX_HELD", 1000)
    pane = Window(Watch(FIND))
    pane.feed("sk-" + "a" * 900)
    with pytest.raises(RefusedError, match="cannot be told apart"):
        pane.feed("a" * 300)
    whole = Whole(Watch(FIND), in_json=False)
    with pytest.raises(RefusedError, match="is longer than the 1000 characters"):
        whole.feed("a" * 1001)
    assert MAX_HELD > 1000


def test_arguments_of_tools_stay_json() -> None:
    answer = AnswerFilter(watch=Watch(FIND))
    channel = Channel(0, "tool_arguments", 0)
    text = json.dumps({"to": MAIL, "card": 4111111111111111, "text": 'a "quote"'})
    assert "".join(answer.feed(channel, sign) for sign in text) == ""
    assert json.loads(answer.finish(channel)) == {"to": "[email]", "card": "[card]", "text": 'a "quote"'}


def test_arguments_that_are_no_json_end_an_answer_in_which_something_is_found() -> None:
    answer = AnswerFilter(watch=Watch(FIND))
    channel = Channel(0, "tool_arguments", 0)
    answer.feed(channel, f"{{{MAIL}")
    with pytest.raises(RefusedError, match="not a JSON document"):
        answer.finish(channel)


def test_placeholders_are_no_finds_and_their_originals_are_the_callers_own() -> None:
    name = "[[EML-7Q0C2M9XK4BD]]"
    answer = AnswerFilter({name: MAIL}, Watch(FIND), held=True)
    channel = Channel(0, "content")
    assert answer.feed(channel, f"write to {name} or eve@example.com") == ""
    assert answer.finish(channel) == f"write to {MAIL} or [email]"


class Echo:
    """An answerer that says what it is fed."""

    def feed(self, data: bytes) -> bytes:
        if b"bad" in data:
            raise UnavailableError(Reason.UPSTREAM_FAILED, "bad event")
        return data

    def end(self) -> bytes:
        return b"end"

    def fail(self, reason: Reason, message: str) -> bytes:
        return f"{reason}: {message}".encode()

    def complain(self, words: str) -> str:
        return words.upper()

    def whole(self, body: bytes) -> bytes:
        return body


def test_an_answer_that_is_held_says_nothing_before_its_end() -> None:
    held = HeldAnswerer(Echo())
    assert held.feed(b"a") + held.feed(b"b") == b""
    assert held.end() == b"abend"
    assert held.whole(b"{}") == b"{}"
    assert held.complain("no") == "NO"
    assert held.fail(Reason.UPSTREAM_FAILED, "x") == b"UpstreamFailed: x"
    with pytest.raises(UnavailableError):
        held.feed(b"bad")
    with pytest.raises(RefusedError, match="bytes that are held"):
        held.feed(b"x" * (MAX_HELD_BYTES + 1))
