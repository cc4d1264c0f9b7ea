"""The record on a disk: before the relay, after a crash, when the disk is full or gone."""

import asyncio
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sekisho.errors import Reason, RefusedError, UnavailableError
from sekisho.ledger.chain import verify_records
from sekisho.recording.record import KEY_FILE, Record, RecordLimits
from sekisho.recording.segments import list_lines
from tests.unit.gateway.house import House, build_house


@asynccontextmanager
async def opened(folder: Path, **limits: Any) -> AsyncIterator[Record]:
    record = Record(folder, instance="gateway-0", limits=RecordLimits(retry_seconds=0.05, **limits))
    record.open()
    try:
        yield record
    finally:
        await record.close()


def read(folder: Path) -> list[dict[str, Any]]:
    lines = list_lines(folder)
    verify_records(lines)
    return [json.loads(line) for line in lines]


async def test_entries_are_on_disk_when_append_returns_and_many_share_a_commit(tmp_path: Path) -> None:
    async with opened(tmp_path) as record:
        await asyncio.gather(*(record.append({"kind": "x", "n": n}) for n in range(500)))
        entries = read(tmp_path)
        assert sorted(item["n"] for item in entries if item["kind"] == "x") == list(range(500))
        assert record.head.seq == len(entries) == 501


async def test_the_chain_goes_on_after_a_restart(tmp_path: Path) -> None:
    for number in range(3):
        async with opened(tmp_path) as record:
            await record.append({"kind": "x", "n": number})
    assert [item["kind"] for item in read(tmp_path)] == ["opened", "x"] * 3


async def test_a_torn_end_is_cut_and_noted(tmp_path: Path) -> None:
    async with opened(tmp_path) as record:
        await record.append({"kind": "x"})
    path = tmp_path / "record-00000001.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:40] + b"\0" * 100)
    async with opened(tmp_path) as record:
        await record.append({"kind": "y"})
    assert [(item["kind"], item.get("tornBytes")) for item in read(tmp_path)] == [
        ("opened", None), ("x", None), ("opened", 140), ("y", None),
    ]  # fmt: skip


async def test_a_broken_chain_is_not_repaired_but_refuses_everything(tmp_path: Path) -> None:
    async with opened(tmp_path) as record:
        await record.append({"kind": "x"})
        await record.append({"kind": "y"})
    path = tmp_path / "record-00000001.jsonl"
    tampered = path.read_bytes().replace(b'"x"', b'"z"')
    path.write_bytes(tampered)
    async with opened(tmp_path) as record:
        with pytest.raises(UnavailableError) as refusal:
            await record.append({"kind": "w"})
        assert refusal.value.reason is Reason.RECORD_UNAVAILABLE
        assert "broken after record 1" in refusal.value.message
    assert path.read_bytes() == tampered


async def test_files_are_rotated_by_size_and_the_chain_goes_on_over_them(tmp_path: Path) -> None:
    for _ in range(2):
        async with opened(tmp_path, segment_bytes=2000) as record:
            for number in range(20):
                await record.append({"kind": "x", "n": number})
    assert len(list(tmp_path.glob("record-*.jsonl"))) > 4
    assert [item["n"] for item in read(tmp_path) if item["kind"] == "x"] == [*range(20), *range(20)]


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
        for _ in range(200):
            await asyncio.sleep(0.02)
            if record.problem is None:
                break
        await record.append({"kind": "y"})
        assert record.digest_body(b"x").startswith("hmac-sha256:")
    assert [item["kind"] for item in read(folder)] == ["opened", "y"]


async def test_digests_of_bodies_are_equal_for_equal_bodies_and_need_the_key(tmp_path: Path) -> None:
    async with opened(tmp_path) as record:
        await record.append({})
        first = record.digest_body(b"body")
        assert first == record.digest_body(b"body") != record.digest_body(b"other")
    key = tmp_path / KEY_FILE
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
        refused = [item for item in results if item is not None]
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
        verify_records(list_lines(small_disk))


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
        shutil.move(folder, moved)
        with pytest.raises(UnavailableError) as refusal:
            await record.append({"kind": "lost"})
        assert "No such file or directory" in refusal.value.message
        for _ in range(200):
            await asyncio.sleep(0.02)
            if record.problem is None:
                break
        await record.append({"kind": "y"})
    before = list_lines(moved)
    assert verify_records([*before, *list_lines(folder)]).seq == len(before) + 2
    with pytest.raises(RefusedError, match=f"line 1 is record {len(before) + 1} after"):
        verify_records(list_lines(folder))


async def append_many(record: Record, count: int) -> None:
    for number in range(count):
        await record.append({"kind": "x", "n": number})


async def test_a_record_of_the_largest_size_takes_no_more_until_finished_files_are_moved_away(tmp_path: Path) -> None:
    folder, moved = tmp_path / "record", tmp_path / "moved"
    moved.mkdir()
    async with opened(folder, segment_bytes=2000, max_bytes=8000) as record:
        await asyncio.gather(*(record.append({"kind": "x"}) for _ in range(5)))
        with pytest.raises(UnavailableError) as refusal:
            await append_many(record, 100)
        assert "8000 are allowed; move finished files away or raise SEKISHO_RECORD_MAX" in refusal.value.message
        assert sum(path.stat().st_size for path in folder.glob("record-*.jsonl")) <= 8000
        for path in sorted(folder.glob("record-*.jsonl"))[:-1]:
            path.rename(moved / path.name)
        for _ in range(200):
            await asyncio.sleep(0.02)
            if record.problem is None:
                break
        await record.append({"kind": "y"})
    async with opened(folder, segment_bytes=2000, max_bytes=8000) as record:
        await record.append({"kind": "z"})
    kinds = [json.loads(line)["kind"] for line in list_lines(folder)]
    assert kinds[-4:] == ["opened", "y", "opened", "z"]
    verify_records([*list_lines(moved), *list_lines(folder)])


WRITER = """
import asyncio, sys
from pathlib import Path
from sekisho.recording.record import Record

async def main():
    record = Record(Path(sys.argv[1]), instance="x")
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
