"""The collateral of a running process: read from a folder, again when it changes, and its ages."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sekisho.attest.verifiers.select import Collateral
from sekisho.errors import Reason, RefusedError
from sekisho.kube import collateral as module
from sekisho.kube.collateral import CollateralStore, read_folder
from tests.unit.attest.recorded import read_recorded

AT = datetime(2026, 6, 1, tzinfo=UTC)


def test_a_folder_that_is_not_there_is_empty_and_trusts_nobody(tmp_path: Path) -> None:
    store = CollateralStore(tmp_path / "none", now=lambda: AT)
    assert store.load()
    assert not store.load()
    assert list(store.ages(AT.timestamp())) == []
    assert store.loaded.collateral == Collateral()


def test_it_is_read_again_when_it_changes_and_now_and_then(tmp_path: Path) -> None:
    now = [AT]
    store = CollateralStore(tmp_path, now=lambda: now[0])
    store.load()
    (tmp_path / "notes.txt").write_bytes(b"x")
    (tmp_path / ".hidden").write_bytes(b"x")
    assert store.load()
    assert [problem.file for problem in store.problems] == ["notes.txt"]
    assert not store.load()
    now[0] += timedelta(hours=1)
    assert store.load()


def test_ages_are_those_of_the_oldest_and_of_the_first_to_end(tmp_path: Path) -> None:
    for name, product in (("amd-root.milan.pem", "milan"), ("amd-root.turin.pem", "turin")):
        pem = read_recorded(f"snp/{product}_ask_ark.pem")
        (tmp_path / name).write_bytes(pem[pem.index(b"-----BEGIN", 10) :])
    store = CollateralStore(tmp_path, now=lambda: AT)
    store.load()
    assert store.problems == ()
    kind, age, left = next(iter(store.ages(AT.timestamp())))
    assert kind == "amd-root"
    assert 3 * 365 < age / 86400 < 10 * 365
    assert 15 * 365 < left / 86400 < 25 * 365


def test_more_than_anybody_could_mean_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        (tmp_path / f"amd-ca.{number}.der").write_bytes(bytes(100))
    monkeypatch.setattr(module, "MAX_TOTAL_BYTES", 250)
    with pytest.raises(RefusedError, match="has more than 0 MiB") as caught:
        read_folder(tmp_path)
    assert caught.value.reason is Reason.COLLATERAL_INVALID
    monkeypatch.setattr(module, "MAX_FILES", 2)
    with pytest.raises(RefusedError, match="has 3 files, 2 are allowed"):
        read_folder(tmp_path)


def test_what_cannot_be_used_is_left_out(tmp_path: Path) -> None:
    pem = read_recorded("tdx/tdx_quote_collateral.json")  # no certificate, whatever its name says
    (tmp_path / "amd-root.mine.pem").write_bytes(pem)
    (tmp_path / "what.ever").write_bytes(b"x")
    store = CollateralStore(tmp_path, now=lambda: AT)
    assert store.load()
    assert store.loaded.collateral.snp is None
    assert {problem.file for problem in store.problems} == {"amd-root.mine.pem", "what.ever"}


async def test_it_follows_its_folder_and_while_that_cannot_be_read_what_was_read_before_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(message: str) -> list[str]:
        return [vars(item).get("detail", "") for item in caplog.records if item.getMessage() == message]

    async def settle(done: Callable[[], object]) -> None:
        async with asyncio.timeout(60):
            while not done():
                await asyncio.sleep(0.01)

    store = CollateralStore(tmp_path)
    store.load()
    following = asyncio.create_task(store.follow(seconds=0.01))
    (tmp_path / "notes.txt").write_bytes(b"x")
    await settle(lambda: told("a file of collateral is left out"))
    monkeypatch.setattr(module, "MAX_FILES", 0)
    await settle(lambda: told("collateral cannot be read anew"))
    assert told("collateral cannot be read anew")[0] == f"{tmp_path} has 1 files, 0 are allowed"
    assert [problem.file for problem in store.problems] == ["notes.txt"]
    monkeypatch.undo()
    (tmp_path / "others.txt").write_bytes(b"x")
    await settle(lambda: len(store.problems) == 2)
    assert not following.done()
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
