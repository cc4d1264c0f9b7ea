"""What a caller keeps of an answer, held against the ledger by the command line: from the request to the officer."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from click.testing import CliRunner, Result

from sekisho.cli.main import cli
from sekisho.errors import Reason, UnavailableError
from sekisho.ledger.receipt import Written
from sekisho.recording.record import Record
from tests.unit.gateway.engine import Engine, answer_well
from tests.unit.gateway.house import build_house, build_service

SECRET_TEXT = "What is a class? 秘密"


def run(folder: Path, *words: object) -> Result:
    record = folder / "record"
    head, *rest = words
    return CliRunner().invoke(
        cli, ["ledger", str(head), str(record / "logs"), "--key", str(record / "log.pub"), *map(str, rest)]
    )


@pytest.mark.slow
async def test_a_receipt_of_an_answer_is_found_in_the_ledger_and_proven(tmp_path: Path) -> None:
    service = build_service()
    service["status"]["placement"] = {"site": "closed"}
    async with build_house(tmp_path, service=service) as house:
        answers = [await house.chat() for _ in range(3)]
        await house.entries()
    receipt = tmp_path / "receipt"
    receipt.write_text(answers[1].headers["sekisho-receipt"])
    verified = run(tmp_path, "verify", "--receipt", receipt)
    assert verified.exit_code == 0, verified.output
    assert "7 records," in verified.stdout
    assert ", one unforked log, 1 receipt kept\n" in verified.stdout
    proven = run(tmp_path, "prove", "--receipt", receipt, "-o", tmp_path / "out.tlog-proof")
    assert proven.exit_code == 0, proven.output
    words = ["ledger", "verify", str(tmp_path / "out.tlog-proof"), "--key", str(tmp_path / "record/log.pub"), "--json"]
    told = json.loads(CliRunner().invoke(cli, words).stdout)
    assert (told["entry"]["kind"], told["entry"]["decision"]) == ("request", "relayed")
    for path in (tmp_path / "record").rglob("*"):
        assert path.is_dir() or SECRET_TEXT.encode() not in path.read_bytes()
    searched = json.loads(run(tmp_path, "search", "--class", ">=internal", "--left-closed-network", "--json").stdout)
    assert (searched["matching"], searched["hits"]) == (3, 0)
    assert (searched["closed"], searched["unknown"]) == (3, 0)


async def test_a_receipt_is_signed_once_and_while_the_engine_has_not_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign: Callable[[Record, Written], str] = Record.receipt
    signed: list[str] = []

    def note(record: Record, written: Written) -> str:
        signed.append(sign(record, written))
        return signed[-1]

    monkeypatch.setattr(Record, "receipt", note)
    thought = asyncio.Event()

    async def think(engine: Engine, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        await thought.wait()
        return await answer_well(engine, request, body)

    async with build_house(tmp_path) as house:
        house.engine.behave = think
        asked = asyncio.create_task(house.chat())
        await house.settle(lambda: signed and house.engine.requests, what="a receipt while the engine thinks")
        thought.set()
        answer = await asked
    assert (answer.status, signed) == (200, [answer.headers["sekisho-receipt"]])


async def test_an_answer_whose_receipt_cannot_be_signed_is_not_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(record: Record, written: Written) -> str:
        raise UnavailableError(Reason.RECORD_UNAVAILABLE, "nothing is relayed that cannot be recorded: no key")

    monkeypatch.setattr(Record, "receipt", fail)
    async with build_house(tmp_path) as house:
        answer = await house.chat()
        assert (answer.status, answer.code) == (503, "record_unavailable")
        assert answer.message == "nothing is relayed that cannot be recorded: no key"
        assert (await house.entries())[-1]["reason"] == "RecordUnavailable"
