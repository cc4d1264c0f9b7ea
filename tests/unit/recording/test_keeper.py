"""Logs that have ended: sealed, copied, removed after their time."""

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sekisho.errors import Reason, RefusedError, UnavailableError
from sekisho.ledger.notes import parse_key
from sekisho.ledger.verify import VerifiedLog, name_key, verify_chains, verify_log
from sekisho.recording.claim import Claim
from sekisho.recording.journal import JOURNAL
from sekisho.recording.keeper import Keeper, Keeping, Lag, seal
from sekisho.recording.logs import LOGS, list_logs
from sekisho.recording.reading import find_logs
from sekisho.recording.record import Identity, Record, RecordLimits
from tests.unit.recording.reading import read_record
from tests.unit.recording.test_record import until


class Bucket:
    """A store in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.puts: list[str] = []
        self.broken = False

    def put(self, path: str, data: bytes) -> None:
        self._check()
        self.puts.append(path)
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_bytes(data)

    def clear(self, folder: str) -> None:
        self._check()
        shutil.rmtree(self.folder / folder, ignore_errors=True)

    def _check(self) -> None:
        if self.broken:
            raise UnavailableError(Reason.RECORD_UNAVAILABLE, "the bucket is closed")


@asynccontextmanager
async def kept(folder: Path, keeping: Keeping, **limits: Any) -> AsyncIterator[tuple[Record, Callable[[], None]]]:
    """A record whose logs are looked after when a test says so."""
    bounds = RecordLimits(retry_seconds=0.05, commit_seconds=60, **limits)
    record = Record(folder, Identity("gateway-0"), limits=bounds, keeping=keeping)
    record.open()
    try:
        await record.append({"kind": "first"})
        yield record, record._keeper.turn
    finally:
        await record.close()


def never(folder: Path, **how: Any) -> Keeping:
    return Keeping(**{"seconds": 3600.0, **how})


def verified(place: Path, public: Path) -> list[VerifiedLog]:
    key = parse_key((public / "log.pub").read_text())
    return [verify_log(log.read, name_key(key, log.head.origin)) for log in find_logs(place)]


async def append_many(record: Record, count: int) -> None:
    for number in range(count):
        await record.append({"kind": "x", "n": number})


async def test_a_journal_that_does_not_make_its_checkpoint_is_not_sealed(tmp_path: Path) -> None:
    async with kept(tmp_path, never(tmp_path)) as (record, _):
        await record.append({"kind": "x"})
    (place,) = list_logs(tmp_path / LOGS)
    lines = (place / JOURNAL).read_bytes().splitlines(keepends=True)
    (place / JOURNAL).write_bytes(b"".join(lines[:-1]))
    with pytest.raises(RefusedError) as refusal:
        seal(place)
    assert refusal.value.reason is Reason.RECORD_BROKEN
    assert "has 2 entries that do not make 3 entries, root" in refusal.value.message
    assert (place / JOURNAL).exists()


async def test_logs_that_ended_are_sealed_and_verify_as_before(tmp_path: Path) -> None:
    async with kept(tmp_path, never(tmp_path), segment_bytes=1500) as (record, turn):
        await append_many(record, 30)
        before = read_record(tmp_path)
        turn()
        sealed = [place for place in list_logs(tmp_path / LOGS) if not (place / JOURNAL).exists()]
        assert len(sealed) == len(list_logs(tmp_path / LOGS)) - 1 > 1
        assert read_record(tmp_path) == before
        turn()
    async with kept(tmp_path, never(tmp_path)):
        pass
    (chain,) = verify_chains(verified(tmp_path / LOGS, tmp_path))
    assert chain.beginnings == 1


async def test_a_record_whose_last_log_is_sealed_goes_on_in_another(tmp_path: Path) -> None:
    async with kept(tmp_path, never(tmp_path)):
        pass
    seal(list_logs(tmp_path / LOGS)[0])
    async with kept(tmp_path, never(tmp_path)):
        pass
    (chain,) = verify_chains(verified(tmp_path / LOGS, tmp_path))
    assert (len(chain.logs), chain.beginnings) == (2, 1)


async def test_a_copy_grows_with_the_log_and_never_promises_what_it_has_not(tmp_path: Path) -> None:
    bucket = Bucket(tmp_path / "bucket")
    async with kept(tmp_path, never(tmp_path, store=bucket, prefix="p/"), segment_bytes=40_000) as (record, turn):
        for count in (10, 260, 1):
            await append_many(record, count)
            await record.checkpoint()
            bucket.puts.clear()
            turn()
            assert bucket.puts[-1].endswith("/checkpoint")
            assert verified(bucket.folder, tmp_path)[-1].checkpoint == record.head
        assert record.lag == Lag()
        turn()
        assert bucket.puts[-1].endswith("/checkpoint")
    (chain,) = verify_chains(verified(bucket.folder, tmp_path))
    assert (chain.after, chain.beginnings) == (None, 1)
    async with kept(tmp_path, never(tmp_path, store=bucket, prefix="p/")) as (record, turn):
        await record.checkpoint()
        turn()
    assert verified(bucket.folder, tmp_path)[-1].checkpoint == verified(tmp_path / LOGS, tmp_path)[-1].checkpoint


async def test_a_store_that_is_away_shows_as_lag_and_loses_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bucket = Bucket(tmp_path / "bucket")
    async with kept(tmp_path, never(tmp_path, store=bucket), segment_bytes=1500) as (record, turn):
        bucket.broken = True
        await append_many(record, 20)
        await record.checkpoint()
        turn()
        turn()
        lag = record.lag
        assert (lag.entries, lag.problem) == (sum(log.checkpoint.size for log in verified(tmp_path / LOGS, tmp_path)),
                                              "the bucket is closed")  # fmt: skip
        assert lag.seconds > 0
        assert [item.getMessage() for item in caplog.records].count("logs cannot be looked after") == 1
        bucket.broken = False
        turn()
        assert record.lag == Lag()
    assert [log.checkpoint for log in verified(bucket.folder, tmp_path)] == [
        log.checkpoint for log in verified(tmp_path / LOGS, tmp_path)
    ]


async def test_what_was_recorded_last_is_in_the_copy_once_the_process_has_ended(tmp_path: Path) -> None:
    bucket = Bucket(tmp_path / "bucket")
    async with kept(tmp_path, never(tmp_path, store=bucket), segment_bytes=1500) as (record, turn):
        await append_many(record, 5)
        await record.checkpoint()
        turn()
        await append_many(record, 20)
    assert [log.checkpoint for log in verified(bucket.folder, tmp_path)] == [
        log.checkpoint for log in verified(tmp_path / LOGS, tmp_path)
    ]


async def test_a_process_ends_without_its_copy_and_says_what_that_lacks(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bucket = Bucket(tmp_path / "bucket")
    async with kept(tmp_path, never(tmp_path, store=bucket)) as (record, turn):
        await record.checkpoint()
        turn()
        bucket.broken = True
        await append_many(record, 7)
    (lost,) = (item for item in caplog.records if item.getMessage() == "what was recorded last is not in the copy")
    assert lost.__dict__["entries"] == 7


async def test_a_process_that_never_had_its_logs_leaves_them_as_they_are_when_it_ends(tmp_path: Path) -> None:
    bucket = Bucket(tmp_path / "bucket")
    async with kept(tmp_path, never(tmp_path)):
        pass
    (place,) = list_logs(tmp_path / LOGS)
    (tmp_path / "log.key").unlink()
    waiting = Record(tmp_path, Identity("gateway-0"), keeping=never(tmp_path, store=bucket))
    waiting.open()
    await until(lambda: "no signature is by" in (waiting.problem or ""), what="the logs to be refused")
    await waiting.close()
    assert (place / JOURNAL).exists()
    assert not bucket.puts


async def test_nobody_else_writes_there_before_the_last_copy_is_made(tmp_path: Path) -> None:
    class Slow(Bucket):
        def put(self, path: str, data: bytes) -> None:
            super().put(path, data)
            other = Claim(tmp_path)
            with pytest.raises(OSError, match="another process still writes"):
                other.take()

    bucket = Slow(tmp_path / "bucket")
    async with kept(tmp_path, never(tmp_path, store=bucket)) as (record, _):
        await append_many(record, 3)
    assert bucket.puts
    assert record.lag.problem == ""
    free = Claim(tmp_path)
    free.take()
    free.release()


async def test_no_text_of_a_bundle_that_grew_is_left_in_the_copy_when_its_time_is_over(tmp_path: Path) -> None:
    bucket = Bucket(tmp_path / "bucket")
    keeping = never(tmp_path, store=bucket, retention_seconds=0.0)
    async with kept(tmp_path, keeping, segment_bytes=2000) as (record, turn):
        for _ in range(3):
            await append_many(record, 3)
            await record.checkpoint()
            turn()
        (grown,) = list_logs(tmp_path / LOGS)
        assert len(list((bucket.folder / grown.name / "tile/entries").rglob("*"))) > 2
        await append_many(record, 30)
        turn()
    assert [path for path in (bucket.folder / grown.name).rglob("*") if b'"n":' in read(path)] == []


def read(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


@pytest.mark.slow
async def test_text_whose_time_is_over_is_removed_and_that_is_recorded(tmp_path: Path) -> None:
    bucket = Bucket(tmp_path / "bucket")
    keeping = never(tmp_path, store=bucket, retention_seconds=0.0)
    async with kept(tmp_path, keeping, segment_bytes=20_000) as (record, turn):
        await append_many(record, 300)
        turn()
        ended = list_logs(tmp_path / LOGS)[:-1]
        assert ended
        assert not any((place / "tile/entries").exists() for place in ended)
        turn()
        removed = [item for item in read_active(tmp_path) if item["kind"] == "expired"]
        assert [item["log"].rpartition("/")[2] for item in removed] == [place.name for place in ended]
        await record.checkpoint()
        turn()
    for place in (tmp_path / LOGS, bucket.folder):
        (chain,) = verify_chains(verified(place, tmp_path))
        assert [log.expired for log in chain.logs[:-1]] == [log.checkpoint.size for log in chain.logs[:-1]]
        assert chain.beginnings == 1
    for path in bucket.folder.rglob("*"):
        assert (
            path.is_dir() or b'"n":7' not in path.read_bytes() or path.parts[-4] == list_logs(tmp_path / LOGS)[-1].name
        )


def read_active(folder: Path) -> list[dict[str, Any]]:
    for place in list_logs(folder / LOGS)[:-1]:
        shutil.move(place, folder / place.name)
    found = read_record(folder)
    for place in list_logs(folder):
        shutil.move(place, folder / LOGS / place.name)
    return found


@pytest.mark.slow
async def test_logs_that_were_copied_make_room_and_their_text_ends_with_its_time(tmp_path: Path) -> None:
    bucket = Bucket(tmp_path / "bucket")
    keeping = never(tmp_path, store=bucket, most_bytes=1, retention_seconds=3600.0)
    async with kept(tmp_path, keeping, segment_bytes=5000) as (record, turn):
        await append_many(record, 80)
        turn()
        assert len(list_logs(tmp_path / LOGS)) == 1
        assert verify_chains(verified(bucket.folder, tmp_path))[0].beginnings == 1
    async with kept(tmp_path, never(tmp_path, store=bucket, retention_seconds=0.0)) as (record, turn):
        await record.checkpoint()
        turn()
        await record.checkpoint()
        turn()
        assert not list((tmp_path / "removed").iterdir())
    (chain,) = verify_chains(verified(bucket.folder, tmp_path))
    assert chain.beginnings == 1
    *ended, active = [bool(log.expired) for log in chain.logs]
    assert (active, set(ended)) == (False, {True})


async def append_much(record: Record) -> None:
    for _ in range(100):
        await record.append({"kind": "x", "text": "x" * 1000})


@pytest.mark.slow
async def test_a_replica_that_is_full_since_its_store_was_away_goes_on_once_that_is_back(tmp_path: Path) -> None:
    bucket = Bucket(tmp_path / "bucket")
    keeping = never(tmp_path, store=bucket, most_bytes=30_000)
    async with kept(tmp_path, keeping, segment_bytes=5000, max_bytes=60_000) as (record, turn):
        bucket.broken = True
        with pytest.raises(UnavailableError, match="60000 are allowed"):
            await append_much(record)
        turn()  # what is sealed needs less room
        await until(lambda: record.problem is None, what="the record to go on with what was sealed")
        with pytest.raises(UnavailableError, match="60000 are allowed"):
            await append_much(record)
        bucket.broken = False
        turn()
        await until(lambda: record.problem is None, what="the record to go on")
        await append_many(record, 10)
    (chain,) = verify_chains(verified(bucket.folder, tmp_path))
    assert chain.beginnings == 1
    assert chain.logs[-1].checkpoint == record.head


def test_nothing_is_done_before_it_is_known_which_log_is_written(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path / "none", Keeping(seconds=0.001), note=lambda entry: None, active=lambda: None)
    keeper.open()
    keeper.turn()
    keeper.close(None)
    assert keeper.lag == Lag()


def test_a_folder_that_is_gone_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keeper = Keeper(tmp_path / "none", Keeping(), note=lambda entry: None, active=lambda: tmp_path / "none/x")
    keeper.turn()
    assert "No such file" in str(caplog.records[0].__dict__["detail"])
