"""A replica whose clock is off: its logs end all the same, and their text ends with its time."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, Self

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sekisho.ledger.verify import verify_chains
from sekisho.recording.keeper import Keeper, Keeping
from sekisho.recording.keys import LogKey, write_public
from sekisho.recording.logs import Keys, LogLimits, Logs, list_logs, read_beginning
from tests.unit.recording.test_keeper import verified

TODAY = datetime(2026, 12, 1, tzinfo=UTC)
KEY = LogKey(Ed25519PrivateKey.from_private_bytes(bytes(32)))
NAME = "sekisho/gateway-0"


class Clock(datetime):
    """Stands still until it is set."""

    told = TODAY

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return cls.fromtimestamp(cls.told.timestamp(), tz)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Clock]]:
    monkeypatch.setattr("sekisho.recording.logs.datetime", Clock)
    monkeypatch.setattr("sekisho.recording.keeper.datetime", Clock)
    Clock.told = TODAY
    yield Clock
    Clock.told = TODAY


def note() -> dict[str, Any]:
    return {"kind": "opened", "at": Clock.told.isoformat(timespec="milliseconds")}


def opened(folder: Path) -> Logs:
    write_public(folder, KEY.named(NAME))
    logs = Logs(folder / "logs", NAME, Keys(KEY), LogLimits(segment_seconds=86_400))
    logs.open(note())
    return logs


def write(logs: Logs, *, days: float) -> None:
    """Write an entry as of some days after today."""
    Clock.told = TODAY + timedelta(days=days)
    logs.append([b'{"kind":"x"}'], note())


def names(folder: Path) -> list[str]:
    return [place.name[:8] for place in list_logs(folder / "logs")]


def keep(folder: Path, logs: Logs, *, days: float) -> list[str]:
    """Look after the logs as of some days after today, and return the names of those whose text was removed."""
    Clock.told = TODAY + timedelta(days=days)
    told = list[str]()
    keeping = Keeping(retention_seconds=30 * 86_400.0)
    keeper = Keeper(
        folder / "logs", keeping, note=lambda entry: told.append(entry["log"]), active=lambda: logs.active
    )  # fmt: skip
    keeper.turn()
    assert keeper._problem == ""
    return [log.rpartition("/")[2][:8] for log in told]


@pytest.mark.parametrize("restarted", [False, True])
def test_a_log_that_was_begun_ahead_of_time_ends_and_the_next_live_a_day_each(tmp_path: Path, restarted: bool) -> None:
    logs = opened(tmp_path)
    write(logs, days=0)
    write(logs, days=10_000)
    assert names(tmp_path) == ["20261201", "20540418"]
    for days in (0.1, 0.2, 0.9, 1.05, 1.2):
        if restarted:
            logs.publish()
            logs.close()
            Clock.told = TODAY + timedelta(days=days)
            logs = opened(tmp_path)
        write(logs, days=days)
    assert names(tmp_path) == ["20261201", *["20540418"] * 3]
    write(logs, days=2.4)
    logs.publish()
    assert names(tmp_path) == ["20261201", *["20540418"] * 4]
    (chain,) = verify_chains(verified(tmp_path / "logs", tmp_path))
    assert chain.beginnings == 1


def test_text_is_removed_in_time_though_the_clock_was_ahead_when_the_next_log_began(tmp_path: Path) -> None:
    logs = opened(tmp_path)
    write(logs, days=0)
    write(logs, days=10_000)
    write(logs, days=1)
    write(logs, days=3)
    logs.publish()
    assert keep(tmp_path, logs, days=30.9) == []
    assert keep(tmp_path, logs, days=31.1) == ["20261201", "20540418"]
    assert keep(tmp_path, logs, days=33.1) == ["20540418"]


def test_a_clock_that_was_behind_removes_no_text_before_its_time(tmp_path: Path) -> None:
    logs = opened(tmp_path)
    write(logs, days=0)
    write(logs, days=-10_000)
    write(logs, days=2)
    logs.publish()
    assert len(names(tmp_path)) > 1
    assert keep(tmp_path, logs, days=29) == []


@pytest.mark.parametrize("first", [b"", b"{}", b'{"at":"never"}', b'{"at":"2026-12-01T00:00:00"}'])
def test_a_name_ahead_of_time_counts_where_the_first_entry_tells_no_time(first: bytes) -> None:
    assert read_beginning(first, "20540418T000000000Z") == datetime(2054, 4, 18, tzinfo=UTC)
