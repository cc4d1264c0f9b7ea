"""The key of placeholders: nothing is redacted without one, and whatever the file is by now counts at once."""

from pathlib import Path

import pytest

from sekisho.errors import Reason, UnavailableError
from sekisho.gateway.guards.masterkey import MasterKey

FIRST, SECOND = b"1" * 32, b"2" * 64


def refuse(key: MasterKey, why: str) -> None:
    with pytest.raises(UnavailableError, match=why) as refusal:
        key.read()
    assert refusal.value.reason is Reason.REDACTION_UNAVAILABLE
    assert "11" not in refusal.value.message


def test_what_is_no_key_is_refused_whenever_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "key"
    key = MasterKey(path)
    refuse(key, "there is no key of placeholders")
    path.write_bytes(b"1" * 31)
    refuse(key, "has 31 bytes, 32 are needed")
    refuse(key, "has 31 bytes, 32 are needed")
    path.write_bytes(FIRST)
    assert key.read() == FIRST


def test_a_key_that_is_taken_away_is_used_no_longer_and_a_new_one_counts_at_once(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(FIRST)
    key = MasterKey(path)
    assert key.read() == key.read() == FIRST
    path.unlink()
    refuse(key, "there is no key of placeholders")
    path.write_bytes(SECOND)
    assert key.read() == SECOND
    (tmp_path / "next").write_bytes(FIRST)
    (tmp_path / "next").rename(path)
    assert key.read() == FIRST
