"""The collateral of a running broker: read from a folder, again when it changes, and its ages."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sekisho.attest.evidence import UnverifiedEvidence
from sekisho.broker import collateral as module
from sekisho.broker.collateral import CollateralStore, read_folder
from sekisho.errors import Reason, RefusedError
from tests.unit.attest.recorded import read_recorded

AT = datetime(2026, 6, 1, tzinfo=UTC)


def test_a_folder_that_is_not_there_is_empty_and_trusts_nobody(tmp_path: Path) -> None:
    store = CollateralStore(tmp_path / "none", now=lambda: AT)
    assert store.load()
    assert not store.load()
    assert list(store.ages(AT.timestamp())) == []
    with pytest.raises(RefusedError, match="there is no collateral for snp evidence") as caught:
        store.verify(UnverifiedEvidence("snp", b""), AT, frozenset())
    assert caught.value.reason is Reason.COLLATERAL_MISSING


def test_a_quote_from_a_node_that_is_not_enrolled_is_of_no_known_machine(tmp_path: Path) -> None:
    store = CollateralStore(tmp_path, now=lambda: AT)
    with pytest.raises(RefusedError, match="the pod's node is enrolled with no TPM") as caught:
        store.verify(UnverifiedEvidence("tpm", b""), AT, frozenset())
    assert caught.value.reason is Reason.CHIP_UNKNOWN
    with pytest.raises(RefusedError) as caught:
        store.verify(UnverifiedEvidence("tpm", b""), AT, frozenset({b"\x00\x0b" + bytes(32)}))
    assert caught.value.reason is Reason.EVIDENCE_INVALID


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


async def test_it_follows_its_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = CollateralStore(tmp_path)
    store.load()
    following = asyncio.create_task(store.follow(seconds=0.01))
    (tmp_path / "notes.txt").write_bytes(b"x")
    async with asyncio.timeout(60):
        while not store.problems:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
    following.cancel()
    assert any(item.getMessage() == "a file of collateral is left out" for item in caplog.records)
