"""How the command line ends as a process, for programs that read what it prints."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import click
import pytest

from sekisho.cli import main as module

ROOT = Path(__file__).parents[3]
CODE = re.compile(r"^```.*?^```|`[^`\n]+`", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?<![\w/-])sekisho ([a-z][a-z-]+)(?: ([a-z][a-z-]+))?(?![\w/-])")


def end(monkeypatch: pytest.MonkeyPatch, words: Sequence[str]) -> int | str | None:
    monkeypatch.setattr("sys.argv", ["sekisho", *words])
    monkeypatch.setattr(module.signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        module.main()
    return ended.value.code


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["ledger", "verify", "--json"], "Missing argument 'SOURCES...'."),
        (["seal", "x", "--json"], "Missing option '--class'."),
        (["nothing", "--json"], "No such command 'nothing'."),
        (["api-key", "ci", "--json", "--colour"], "No such option '--colour'."),
    ],
)
def test_wrong_usage_is_told_as_json_to_who_asked_for_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    assert end(monkeypatch, words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert json.loads(shown.err)["reason"] == "UsageInvalid"
    assert json.loads(shown.err)["message"].startswith(told)
    assert end(monkeypatch, [word for word in words if word != "--json"]) == 2
    assert "Usage: sekisho" in capsys.readouterr().err


def test_who_gives_up_at_a_question_is_told_as_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def abort(*_: object) -> None:
        raise click.Abort

    monkeypatch.setattr("sekisho.cli.main.list_signatures", abort)
    monkeypatch.setattr("sekisho.cli.main.open_sealed", abort)
    assert end(monkeypatch, ["inspect", "x", "--json"]) == 130
    assert json.loads(capsys.readouterr().err) == {"reason": "Interrupted", "message": "interrupted"}


def test_success_and_refusals_keep_their_exit_codes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert end(monkeypatch, ["api-key", "ci", "--json"]) in (0, None)
    assert json.loads(capsys.readouterr().out)["entry"]["name"] == "ci"
    assert end(monkeypatch, ["inspect", "/nowhere", "--json"]) == 3
    assert json.loads(capsys.readouterr().err)["reason"] == "NotSealed"
    assert end(monkeypatch, ["inspect", "--help", "--json"]) in (0, None)


def test_pages_name_no_command_that_is_not_there() -> None:
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]
    named = {
        (found[1], found[2] or "")
        for page in pages
        for code in CODE.findall(page.read_text())
        for found in COMMAND.finditer(re.sub(r" #.*", "", code))
    }
    assert len(named) > 20
    for name, verb in named:
        command = module.cli.commands.get(name)
        assert command is not None, f"sekisho {name}"
        assert not isinstance(command, click.Group) or verb == "" or verb in command.commands, f"sekisho {name} {verb}"
