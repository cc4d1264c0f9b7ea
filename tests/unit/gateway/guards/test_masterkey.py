"""The key of placeholders: nothing is redacted without one, and a new one counts within a second."""

from pathlib import Path

import pytest

from sekisho.errors import Reason, UnavailableError
from sekisho.gateway.guards.masterkey import MasterKey

FIRST, SECOND = b"1" * 32, b"2" * 64


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def refuse(key: MasterKey, why: str) -> None:
    with pytest.raises(UnavailableError, match=why) as refusal:
        key.read()
    assert refusal.value.reason is Reason.REDACTION_UNAVAILABLE
    assert "11" not in refusal.value.message


def test_what_is_no_key_is_refused_whenever_it_is_asked_for_and_a_key_counts_at_once(tmp_path: Path) -> None:
    path = tmp_path / "key"
    key = MasterKey(path, Clock())
    refuse(key, "there is no key of placeholders")
    path.write_bytes(b"1" * 31)
    refuse(key, "has 31 bytes, 32 are needed")
    refuse(key, "has 31 bytes, 32 are needed")
    path.write_bytes(FIRST)
    assert key.read() == FIRST


def test_a_key_that_is_taken_away_is_used_for_a_second_at_most(tmp_path: Path) -> None:
    path, clock = tmp_path / "key", Clock()
    path.write_bytes(FIRST)
    key = MasterKey(path, clock)
    assert key.read() == FIRST
    path.unlink()
    clock.now += 0.9
    assert key.read() == FIRST
    clock.now += 0.1
    refuse(key, "there is no key of placeholders")
    refuse(key, "there is no key of placeholders")
    path.write_bytes(SECOND)
    assert key.read() == SECOND


def test_a_new_key_counts_within_a_second(tmp_path: Path) -> None:
    path, clock = tmp_path / "key", Clock()
    path.write_bytes(FIRST)
    key = MasterKey(path, clock)
    assert key.read() == FIRST
    (tmp_path / "next").write_bytes(SECOND)
    (tmp_path / "next").rename(path)
    clock.now += 1.0
    assert key.read() == SECOND
