"""What is remembered of texts: bounded, by a key of the process, and never the text."""

import pytest

from sekisho.gateway.guards import memory
from sekisho.gateway.guards.memory import Memory, name_caller

LONG = "taro@example.co.jp " * 20


def test_a_short_text_is_not_remembered() -> None:
    kept: Memory[int] = Memory(b"k" * 32)
    name = kept.name("taro@example.co.jp", "said")
    assert name is None
    kept.keep(name, 1)
    assert kept.get(name) is None
    assert len(kept) == 0


def test_a_text_is_remembered_by_its_kind_under_a_key_and_not_as_text() -> None:
    one, other = Memory[int](b"k" * 32), Memory[int](b"l" * 32)
    name = one.name(LONG, "said")
    one.keep(name, 1)
    assert one.get(one.name(LONG, "said")) == 1
    assert one.get(one.name(LONG, "tool")) is None
    assert one.get(one.name(LONG + "!", "said")) is None
    assert other.name(LONG, "said") != name
    assert len({name, *(one.name(LONG, "said", name_caller(who)) for who in ("a", "b", "\ud800"))}) == 4
    assert one.name("\ud800" * 200, "said") != one.name("\ud801" * 200, "said")
    assert b"taro" not in (name or b"")


def test_what_is_remembered_is_bounded_and_the_newer_half_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_MAX_KEPT", 10)
    kept: Memory[int] = Memory(b"")
    for at in range(25):
        kept.keep(kept.name(f"{LONG}{at}", "said"), at)
        assert len(kept) <= 10
    assert kept.get(kept.name(f"{LONG}24", "said")) == 24
    assert kept.get(kept.name(f"{LONG}0", "said")) is None
