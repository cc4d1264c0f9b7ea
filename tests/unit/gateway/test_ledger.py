"""What a caller keeps of an answer, held against the ledger by the command line: from the request to the officer."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sekisho.cli.main import cli
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
