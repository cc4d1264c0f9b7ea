"""The record on a disk: before the relay, after a crash, when the disk is full or gone."""

import asyncio
import os
import shutil
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sekisho.errors import Reason, RefusedError, UnavailableError
from sekisho.ledger.checkpoint import read_signed
from sekisho.ledger.notes import parse_key
from sekisho.ledger.receipt import parse_receipt
from sekisho.ledger.verify import name_key, verify_chains, verify_log
from sekisho.recording.journal import JOURNAL
from sekisho.recording.keeper import seal
from sekisho.recording.keys import BODY_KEY, PUBLIC_KEY
from sekisho.recording.logs import LOGS, Logs, list_logs
from sekisho.recording.reading import find_logs
from sekisho.recording.record import Identity, Record, RecordLimits
from tests.unit.gateway.house import House, build_house
from tests.unit.recording.reading import read_record


@asynccontextmanager
async def opened(folder: Path, **limits: Any) -> AsyncIterator[Record]:
    record = Record(
        folder, Identity("gateway-0"), limits=RecordLimits(**{"retry_seconds": 0.05, "commit_seconds": 60.0, **limits})
    )
    record.open()
    try:
        yield record
    finally:
        await record.close()


read = read_record


def journal(folder: Path, number: int = -1) -> Path:
    return list_logs(folder / LOGS)[number] / JOURNAL


async def until(is_so: Callable[[], object], *, what: str) -> None:
    for _ in range(6000):
        if is_so():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"waited 60 s for {what}")


async def test_entries_are_on_disk_when_append_returns_and_many_share_a_commit(tmp_path: Path) -> None:
    async with opened(tmp_path) as record:
        await asyncio.gather(*(record.append({"kind": "x", "n": n}) for n in range(500)))
        entries = read(tmp_path)
        assert sorted(item["n"] for item in entries if item["kind"] == "x") == list(range(500))
        assert len(entries) == 501


async def test_the_chain_goes_on_after_a_restart(tmp_path: Path) -> None:
    for number in range(3):
        async with opened(tmp_path) as record:
            await record.append({"kind": "x", "n": number})
    assert [item["kind"] for item in read(tmp_path)] == ["opened", "x"] * 3


async def test_a_torn_end_is_cut_and_noted(tmp_path: Path) -> None:
    async with opened(tmp_path) as record:
        await record.append({"kind": "x"})
    path = journal(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:40] + b"\0" * 100)
    async with opened(tmp_path) as record:
        await record.append({"kind": "y"})
    assert [(item["kind"], item.get("tornBytes")) for item in read(tmp_path)] == [
        ("opened", None), ("x", None), ("opened", 140), ("y", None),
    ]  # fmt: skip


async def refused(folder: Path) -> str:
    async with opened(folder) as record:
        with pytest.raises(UnavailableError) as refusal:
            await record.append({"kind": "w"})
    assert refusal.value.reason is Reason.RECORD_UNAVAILABLE
    assert refusal.value.message.startswith("nothing is relayed that cannot be recorded: ")
    return refusal.value.message


async def fill_some(folder: Path) -> Path:
    async with opened(folder) as record:
        await record.append({"kind": "x"})
        await record.append({"kind": "y"})
    return journal(folder)


async def test_a_broken_record_is_not_repaired_but_refuses_everything(tmp_path: Path) -> None:
    path = await fill_some(tmp_path)
    tampered = path.read_bytes().replace(b'"x"', b'"z"')
    path.write_bytes(tampered)
    told = await refused(tmp_path)
    assert "the record is broken after entry 1, byte" in told
    assert "nothing is recorded until the log's folder is moved away" in told
    assert path.read_bytes() == tampered


async def test_a_record_that_lost_what_was_signed_refuses_everything(tmp_path: Path) -> None:
    path = await fill_some(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]))
    assert "has 2 entries, 3 were signed; nothing is recorded until" in await refused(tmp_path)
    path.write_bytes(b"".join([lines[0], lines[2], lines[1]]))
    assert "the first 3 entries of sekisho/gateway-0/" in await refused(tmp_path)
    path.write_bytes(b"".join([lines[0], lines[2], lines[1], lines[1]]))
    assert "are not those that were signed" in await refused(tmp_path)


async def test_a_record_that_another_key_signed_refuses_everything(tmp_path: Path) -> None:
    await fill_some(tmp_path)
    (tmp_path / "log.key").unlink()
    told = await refused(tmp_path)
    assert "no signature is by sekisho/gateway-0/" in told
    assert "until the key that signed it is given as the key before" in told


async def test_an_entry_that_is_too_long_is_refused_and_harms_no_other(tmp_path: Path) -> None:
    async with opened(tmp_path) as record:
        with pytest.raises(RefusedError, match=r"an entry of the record has 70[0-9]+ bytes, 65535 are allowed"):
            await record.append({"x": "y" * 70_000})
        await record.append({"kind": "x"})
    assert [item["kind"] for item in read(tmp_path)] == ["opened", "x"]


async def test_a_receipt_is_the_logs_word_for_an_entry(tmp_path: Path) -> None:
    async with opened(tmp_path) as record:
        written = await record.append({"kind": "x"})
        receipt = parse_receipt(record.receipt(written))
    assert (written.index, receipt.entry) == (1, written)
    receipt.verify(name_key(parse_key((tmp_path / PUBLIC_KEY).read_text()), written.origin))
    with pytest.raises(UnavailableError, match="the record is not open yet"):
        Record(tmp_path, Identity("x")).receipt(written)


async def test_a_checkpoint_on_demand_covers_all_that_was_acknowledged(tmp_path: Path) -> None:
    async with opened(tmp_path, checkpoint_seconds=3600) as record:
        await asyncio.gather(*(record.append({"n": number}) for number in range(300)))
        written = await record.append({"kind": "x"})
        key = name_key(parse_key((tmp_path / PUBLIC_KEY).read_text()), written.origin)
        head, _ = read_signed(await record.checkpoint(), key)
        assert head == record.head
        assert head.size == written.index + 1 == 302
        place = journal(tmp_path).parent
        assert (place / "tile/0/000").exists()
        assert (place / "tile/0/001.p/46").exists()
        await record.append({"kind": "y"})
        await record.checkpoint()
        assert sorted(path.name for path in (place / "tile/0/001.p").iterdir()) == ["47"]


async def test_a_checkpoint_follows_by_itself(tmp_path: Path) -> None:
    async with opened(tmp_path, checkpoint_seconds=0.01) as record:
        for number in range(3):
            await record.append({"n": number})
        await until(lambda: record.head.size == 4, what="a checkpoint")


async def test_logs_follow_each_other_by_size_and_each_says_what_it_goes_on_from(tmp_path: Path) -> None:
    for _ in range(2):
        async with opened(tmp_path, segment_bytes=2000) as record:
            for number in range(20):
                await record.append({"kind": "x", "n": number})
    assert len(list_logs(tmp_path / LOGS)) > 2
    assert [item["n"] for item in read(tmp_path) if item["kind"] == "x"] == [*range(20), *range(20)]
    linked_all(tmp_path)


def linked_all(*folders: Path) -> None:
    """Every log verifies, and all of them are one chain."""
    key = parse_key((folders[0] / PUBLIC_KEY).read_text())
    found = [log for folder in folders for log in find_logs(folder / LOGS)]
    logs = [verify_log(log.read, name_key(key, log.head.origin)) for log in found]
    (chain,) = verify_chains(logs)
    assert (chain.after, chain.beginnings) == (None, 1)


async def test_logs_follow_each_other_by_age(tmp_path: Path) -> None:
    async with opened(tmp_path, segment_seconds=0.001) as record:
        for number in range(3):
            await record.append({"kind": "x", "n": number})
            await asyncio.sleep(0.01)
    assert len(list_logs(tmp_path / LOGS)) == 3


async def test_a_log_that_began_and_has_no_entry_is_begun_again(tmp_path: Path) -> None:
    before = (await fill_some(tmp_path)).parent
    empty = tmp_path / LOGS / "29990101T000000000Z"
    empty.mkdir()
    (empty / JOURNAL).write_bytes(b"torn")
    async with opened(tmp_path) as record:
        await record.append({"kind": "z"})
    assert not empty.exists()
    assert [item["kind"] for item in read(tmp_path)] == ["opened", "x", "y", "opened", "z"]
    assert list_logs(tmp_path / LOGS) == [before]


async def test_a_name_that_is_later_than_the_clock_is_followed_by_a_later_one(tmp_path: Path) -> None:
    place = (await fill_some(tmp_path)).parent
    late = place.with_name("29990101T000000000Z")
    seal(place)
    place.rename(late)
    text = (late / "checkpoint").read_text()
    assert text.startswith("sekisho/gateway-0/")
    assert "the checkpoint is of log" in await refused(tmp_path)


async def test_a_folder_that_cannot_be_used_refuses_and_is_tried_again(tmp_path: Path) -> None:
    folder = tmp_path / "record"
    folder.write_text("a file where a folder must be")
    async with opened(folder) as record:
        with pytest.raises(UnavailableError) as refusal:
            await record.append({"kind": "x"})
        assert refusal.value.reason is Reason.RECORD_UNAVAILABLE
        with pytest.raises(UnavailableError):
            record.digest_body(b"x")
        folder.unlink()
        await until(lambda: record.problem is None, what="the record to be open")
        await record.append({"kind": "y"})
        assert record.digest_body(b"x").startswith("hmac-sha256:")
    assert [item["kind"] for item in read(folder)] == ["opened", "y"]


async def test_a_folder_has_one_writer_and_the_next_goes_on_once_that_has_ended(tmp_path: Path) -> None:
    async with opened(tmp_path) as first:
        await first.append({"kind": "x"})
        async with opened(tmp_path) as second:
            with pytest.raises(UnavailableError) as refusal:
                await second.append({"kind": "lost"})
            assert refusal.value.reason is Reason.RECORD_UNAVAILABLE
            assert "another process still writes this record" in refusal.value.message
            await first.append({"kind": "y"})
            await first.close()
            await until(lambda: second.problem is None, what="the next to have the folder")
            await second.append({"kind": "z"})
    assert [item["kind"] for item in read(tmp_path)] == ["opened", "x", "y", "opened", "z"]


async def test_digests_of_bodies_are_equal_for_equal_bodies_and_need_the_key(tmp_path: Path) -> None:
    async with opened(tmp_path) as record:
        await record.append({})
        first = record.digest_body(b"body")
        assert first == record.digest_body(b"body") != record.digest_body(b"other")
    key = tmp_path / BODY_KEY
    assert key.stat().st_mode & 0o777 == 0o600
    async with opened(tmp_path) as record:
        await record.append({})
        assert record.digest_body(b"body") == first
    key.write_bytes(b"short")
    async with opened(tmp_path) as record:
        with pytest.raises(UnavailableError, match="has 5 bytes, 32 expected"):
            await record.append({})


async def test_more_entries_than_may_wait_are_refused(tmp_path: Path) -> None:
    async with opened(tmp_path, max_waiting=10) as record:
        results = await asyncio.gather(*(record.append({"n": n}) for n in range(50)), return_exceptions=True)
        refused = [item for item in results if isinstance(item, UnavailableError)]
        assert 0 < len(refused) <= 40
        assert "the disk does not keep up" in str(refused[0]) or "not open yet" in str(refused[0])
    assert len(read(tmp_path)) == 1 + 50 - len(refused)


def fill(folder: Path) -> None:
    with (folder / "ballast").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            pass


@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    """A real disk of 1 MiB that can be filled; needs root."""
    folder = tmp_path / "record"
    folder.mkdir()
    if os.geteuid() != 0 or os.system(f"mount -t tmpfs -o size=1m,nr_inodes=64 none {folder} 2>/dev/null"):  # noqa: S605
        pytest.skip("a small disk can be mounted by root alone")
    yield folder
    os.system(f"umount {folder}")  # noqa: S605


@pytest.mark.slow
async def test_a_full_disk_relays_nothing_and_recovers_when_there_is_room(tmp_path: Path, small_disk: Path) -> None:
    async with build_house(tmp_path) as house:
        assert (await house.chat()).status == 200
        await house.entries()
        fill(small_disk)
        answer = await refused_for_the_record(house)
        assert answer.headers["Retry-After"] == "5"
        assert "No space left on device" in answer.message
        asked = len(house.engine.requests)
        assert (await house.chat()).status == 503
        assert len(house.engine.requests) == asked
        assert "No space left on device" in str((await house.ready())[1]["problems"])
        (small_disk / "ballast").unlink()

        async def works() -> bool:
            return (await house.chat()).status == 200

        await house.settle(works, what="the record to be written again")
        read(small_disk)


@pytest.mark.slow
async def test_a_full_disk_is_told_for_as_long_as_it_is_full_whether_or_not_somebody_asks(small_disk: Path) -> None:
    async with opened(small_disk) as record:
        await record.append({"kind": "x"})
        fill(small_disk)
        with pytest.raises(UnavailableError, match="No space left on device"):
            await append_many(record, 400)
        for _ in range(50):  # many times as long as it takes to open the log again
            assert "No space left on device" in (record.problem or "it is told that all is well")
            await asyncio.sleep(0.02)
        (small_disk / "ballast").unlink()
        await until(lambda: record.problem is None, what="the record to be open, without a request")
        await record.append({"kind": "y"})
    assert read(small_disk)[-1]["kind"] == "y"
    assert sorted(path.name for path in small_disk.iterdir()) == ["body.key", "lock", "log.key", "log.pub", "logs"]


async def refused_for_the_record(house: House) -> Any:
    """Ask until the last free bytes of the disk are used and a refusal comes."""
    for _ in range(400):
        answer = await house.chat()
        if answer.status != 200:
            assert (answer.status, answer.code) == (503, "record_unavailable")
            return answer
    raise AssertionError("the disk did not get full")


async def test_files_that_vanish_leave_a_gap_that_shows(tmp_path: Path) -> None:
    folder, moved = tmp_path / "record", tmp_path / "moved"
    async with opened(folder, segment_bytes=1) as record:
        await record.append({"kind": "x"})
        await record.checkpoint()
        shutil.move(folder / LOGS, moved / LOGS)
        with pytest.raises(UnavailableError) as refusal:
            await record.append({"kind": "lost"})
        assert "No such file or directory" in refusal.value.message
        await until(lambda: record.problem is None, what="the record to be open")
        await record.append({"kind": "y"})
    first, *_ = read(folder)
    assert first["previous"]["size"] == len(list_logs(moved / LOGS)) == 2


async def append_many(record: Record, count: int) -> None:
    for number in range(count):
        await record.append({"kind": "x", "n": number})


async def test_a_record_of_the_largest_size_takes_no_more_until_finished_logs_are_moved_away(tmp_path: Path) -> None:
    folder, moved = tmp_path / "record", tmp_path / "moved"
    async with opened(folder, segment_bytes=2000, max_bytes=12_000) as record:
        with pytest.raises(UnavailableError) as refusal:
            await append_many(record, 200)
        assert "12000 are allowed; move finished logs away, have them replicated, or raise SEKISHO_RECORD_MAX" in (
            refusal.value.message
        )
        (moved / LOGS).mkdir(parents=True)
        for path in list_logs(folder / LOGS)[:-1]:
            shutil.move(path, moved / LOGS / path.name)
        await until(lambda: record.problem is None, what="the record to be open")
        await record.append({"kind": "y"})
    async with opened(folder, segment_bytes=2000, max_bytes=12_000) as record:
        await record.append({"kind": "z"})
    kinds = [item["kind"] for item in read(folder)]
    assert kinds[-1] == "z"
    assert "y" in kinds
    linked_all(folder, moved)


WRITER = """
import asyncio, sys
from pathlib import Path
from sekisho.recording.reading import find_logs
from sekisho.recording.record import Identity, Record

async def main():
    record = Record(Path(sys.argv[1]), Identity("gateway-0"))
    record.open()
    async def work(worker):
        number = 0
        while True:
            await record.append({"kind": "x", "mark": f"{worker}-{number}"})
            print(f"{worker}-{number}", flush=True)
            number += 1
    await asyncio.gather(*map(work, range(8)))

asyncio.run(main())
"""


@pytest.mark.slow
async def test_whatever_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    acknowledged: set[str] = set()
    for _ in range(3):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WRITER, str(tmp_path), stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )  # fmt: skip
        assert process.stdout is not None
        for _ in range(200):
            acknowledged.add((await asyncio.wait_for(process.stdout.readline(), 60)).decode().strip())
        process.kill()
        rest, _ = await process.communicate()
        acknowledged |= set(rest.decode().split("\n")[:-1])
    async with opened(tmp_path) as record:
        await record.append({"kind": "end"})
    assert acknowledged <= {item.get("mark", "") for item in read(tmp_path)} | {""}


async def test_what_nobody_waits_for_is_written_soon_by_itself_or_with_the_next(tmp_path: Path) -> None:
    async with opened(tmp_path, lazy_seconds=0.02) as record:
        await until(lambda: record.problem is None, what="the record to be open")
        record.put({"kind": "end", "n": 1})
        await until(lambda: len(read(tmp_path)) == 2, what="an entry that nobody waits for")
        record.put({"kind": "end", "n": 2})
        await record.append({"kind": "x"})
        assert [item["kind"] for item in read(tmp_path)] == ["opened", "end", "end", "x"]
        record.put({"kind": "end", "n": 3})
    assert [item.get("n") for item in read(tmp_path)] == [None, 1, 2, None, 3]
    with pytest.raises(UnavailableError, match="the record is not open yet"):
        Record(tmp_path, Identity("x")).put({"kind": "end"})


async def test_what_nobody_waits_for_and_is_lost_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with opened(tmp_path, lazy_seconds=30) as record:
        await record.append({"kind": "x"})
        record.put({"kind": "end"})
        shutil.move(tmp_path / LOGS, tmp_path / "moved")
        assert record._logs is not None
        record._logs.close()
        (tmp_path / LOGS).write_text("a file where a folder must be")
        with pytest.raises(UnavailableError):
            await asyncio.gather(*(record.append({"kind": "y"}) for _ in range(2)), record.checkpoint())
    assert "entries that nobody waited for were not recorded" in [item.getMessage() for item in caplog.records]


@pytest.mark.parametrize("what", ["append", "publish"])
async def test_what_nobody_foresaw_is_a_problem_that_is_told_and_the_record_goes_on(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sound, failed = getattr(Logs, what), threading.Event()

    def fail(logs: Logs, *given: Any) -> Any:
        sound(logs, *given)
        monkeypatch.setattr(Logs, what, sound)
        failed.set()
        raise RuntimeError("nobody foresaw this")

    async with opened(tmp_path, checkpoint_seconds=0.05, retry_seconds=0.5) as record:
        await record.append({"kind": "x", "n": 0})
        monkeypatch.setattr(Logs, what, fail)
        (told,) = await asyncio.gather(record.append({"kind": "x", "n": 1}), return_exceptions=True)
        assert what == "publish" or (isinstance(told, UnavailableError) and "RuntimeError" in told.message)
        await until(failed.is_set, what="the failure")
        # Its problem may not be told yet: an entry is refused, or the record is open again.
        while isinstance(
            (await asyncio.gather(record.append({"kind": "x", "n": 2}), return_exceptions=True))[0], Exception
        ):
            await until(lambda: record.problem is None, what="the record to be open again")
        entries = [item["n"] for item in read(tmp_path) if item["kind"] == "x"]
        # A checkpoint may be due, and fail, before the entry is looked at.
        refused = what == "publish" and isinstance(told, UnavailableError)
        assert entries == ([0, 2] if refused else [0, 1, 2])
    found = find_logs(tmp_path / LOGS)
    key = parse_key((tmp_path / PUBLIC_KEY).read_text().splitlines()[0])
    verify_chains([verify_log(log.read, name_key(key, log.head.origin)) for log in found])


async def test_receipts_of_one_commit_share_a_signature(tmp_path: Path) -> None:
    async with opened(tmp_path) as record:
        written = await asyncio.gather(*(record.append({"n": number}) for number in range(20)))
        receipts = [parse_receipt(record.receipt(item)) for item in written]
    key = parse_key((tmp_path / PUBLIC_KEY).read_text())
    for receipt in receipts:
        receipt.verify(name_key(key, receipt.entry.origin))
    assert len({receipt.signature for receipt in receipts}) < 20
