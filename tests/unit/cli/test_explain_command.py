"""`sekisho explain`: what kubectl printed, told as people read it."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from sekisho.cli import explain_command
from sekisho.cli.main import cli
from sekisho.plan.inferenceservice import plan
from tests.unit.plan.worlds import build_service, build_world

OBJECT = build_service(classification={"level": "confidential"}, placement={"sites": ["osaka-cloud"]})


def printed(**status: Any) -> dict[str, Any]:
    told = status or dict(plan(OBJECT, build_world()).status)
    return {"kind": "InferenceService", "metadata": {"name": "review", "namespace": "legal"}, "status": told}


def run(text: str | bytes, *words: str) -> Result:
    return CliRunner().invoke(cli, ["explain", "-", *words], input=text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "- holds no InferenceService; give what kubectl get inferenceservices -o yaml printed"),
        ("items: []", "- holds no InferenceService"),
        ("kind: Pod", "- holds something else than InferenceServices"),
        ("No resources found", "- holds something else than InferenceServices"),
        ("a: [", "- is neither YAML nor JSON"),
        (b"\xff\xfe\x00", "- is neither YAML nor JSON"),
        ("[" * 100_000, "- is neither YAML nor JSON"),
        ("kind: InferenceService", "- holds an InferenceService that no API server has taken"),
        (json.dumps(printed(conditions=[{"type": "Accepted", "status": "True"}], placement={"rejected": [{}]})),
         "- holds an InferenceService that no API server has taken"),
    ],
)  # fmt: skip
def test_what_is_no_service_is_refused_in_words(text: str | bytes, told: str) -> None:
    done = run(text)
    assert (done.exit_code, done.stdout) == (3, "")
    assert told in done.stderr
    assert told in json.loads(run(text, "--json").stderr)["message"]


def test_more_than_is_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explain_command, "_MAX_BYTES", 8)
    assert run("kind: Pod").stderr == "RequestTooLarge: - has more than 8 bytes\n"


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["explain", str(tmp_path / "none")])
    assert (done.exit_code, done.stderr) == (9, f"LocalFailure: No such file or directory ({tmp_path / 'none'})\n")


def test_one_service_or_many_are_explained_as_kubectl_printed_them() -> None:
    one = run(json.dumps(printed()))
    assert one.exit_code == 0
    assert one.stdout.startswith("legal/review is not placed: no site may and can run class confidential.\n")
    assert "osaka-cloud   tier not allowed   class confidential allows Closed" in one.stdout
    unseen = {"kind": "InferenceService", "metadata": {"name": "new"}}
    many = run(yaml.safe_dump({"kind": "List", "items": [printed(), unseen]}))
    assert many.stdout == f"{one.stdout}\ndefault/new has not been looked at yet.\n"
    told = json.loads(run(yaml.safe_dump_all([printed(), unseen]), "--json").stdout)["services"]
    assert [(item["namespace"], item["name"]) for item in told] == [("legal", "review"), ("default", "new")]
