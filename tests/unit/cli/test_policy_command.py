"""`sekisho policy test`: a recorded release decided again, as it was or under other rules."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from sekisho.broker.replay import encode_facts
from sekisho.cli.main import cli
from tests.unit.broker.release_cases import EVIDENCE, LAW, OWNER, TENANT, build_facts, build_site

RELEASED = build_facts()
HEAD = {"apiVersion": "inference.sekisho.dev/v1alpha1"}


@pytest.fixture
def facts(tmp_path: Path) -> Path:
    path = tmp_path / "facts.json"
    path.write_text(json.dumps(encode_facts(RELEASED)))
    return path


def run(path: Path, *words: str) -> Result:
    return CliRunner().invoke(cli, ["policy", "test", str(path), *words])


def write(folder: Path, *objects: Any) -> str:
    path = folder / "rules.yaml"
    path.write_text(yaml.safe_dump_all(objects))
    return str(path)


def build(kind: str, name: str, spec: Any, *, namespace: str = "") -> dict[str, Any]:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {**HEAD, "kind": kind, "metadata": metadata, "spec": dict(spec)}


def test_a_refusal_is_told_in_its_words_and_by_the_exit_code(tmp_path: Path) -> None:
    path = tmp_path / "facts.json"
    path.write_text(json.dumps(encode_facts(build_facts(workload={"users": frozenset({"group:web"})}))))
    done = run(path)
    assert done.exit_code == 3
    assert done.stderr == (
        "NotAllowed: KeyReleasePolicy owners/reviewer: users does not name group:web, whom spec.users of legal/chat "
        "names\n"
    )
    told = json.loads(run(path, "--json").stderr)
    assert told["reason"] == "NotAllowed"


def test_a_refusal_that_was_expected_is_success_and_another_is_not(tmp_path: Path, facts: Path) -> None:
    path = tmp_path / "refused.json"
    path.write_text(json.dumps(encode_facts(build_facts(workload={"users": frozenset()}))))
    done = run(path, "--expect", "NotAllowed")
    assert done.exit_code == 0
    assert done.stdout.startswith("refused: NotAllowed: legal/chat names nobody in spec.users")
    assert json.loads(run(path, "--expect", "NotAllowed", "--json").stdout)["verdict"] == "NotAllowed"
    other = run(path, "--expect", "GrantExpired")
    assert other.exit_code == 3
    assert other.stderr.endswith("(expected was GrantExpired)\n")
    released = run(facts, "--expect", "GrantExpired")
    assert released.exit_code == 3
    assert released.stderr == "AppraisalFailed: the key is released, GrantExpired was expected\n"


def test_a_release_is_told_with_everything_it_rests_on(facts: Path) -> None:
    done = run(facts, "--expect", "Released")
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert lines[0] == ("released: pod legal/chat-predictor-1 may open the key of legal/reviewer version 7 for 600 s")
    assert "  KeyReleasePolicy  owners/reviewer" in lines
    assert "  DataGrant         legal/contracts" in lines
    assert "  key               openbao:transit/legal, version 4 or newer" in lines
    told = json.loads(run(facts, "--json").stdout)
    assert (told["verdict"], told["leaseSeconds"], told["evidencePolicies"]) == ("Released", 600, ["genoa"])


def test_a_line_of_the_record_is_taken_as_it_stands(facts: Path) -> None:
    facts.write_text(json.dumps({"kind": "decision", "facts": json.loads(facts.read_text())}))
    assert run(facts).exit_code == 0


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (build("KeyReleasePolicy", "reviewer", {**OWNER, "suspended": True}, namespace="owners"), "GrantSuspended"),
        (build("DataGrant", "contracts", {**TENANT, "users": ["group:web"]}, namespace="legal"), "NotAllowed"),
        (
            build("EvidencePolicy", "genoa", {"anyOf": [{**EVIDENCE["anyOf"][0], "sites": ["osaka"]}]}),
            "AppraisalFailed",
        ),
        (build("ClassificationPolicy", "default", {**LAW, "keyOwners": []}), "KeyNotOwned"),
        (build("Site", "tokyo", build_site(tier="OwnCloud").model_dump(by_alias=True)), "TierNotAllowed"),
        (build("DataGrant", "second", {**TENANT, "suspended": True}, namespace="legal"), "Released"),
    ],
    ids=["owner", "tenant", "evidence", "law", "site", "another grant"],
)
def test_other_rules_can_be_tried(facts: Path, tmp_path: Path, changed: Any, reason: str) -> None:
    done = run(facts, "--with", write(tmp_path, changed, None), "--expect", reason)
    assert done.exit_code == 0, done.stderr


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("KeyReleasePolicy/owners/reviewer", "ReleaseNotGranted"),
        ("DataGrant/legal/contracts", "ReleaseNotGranted"),
        ("EvidencePolicy/genoa", "PolicyMissing"),
        ("ClassificationPolicy/default", "PolicyMissing"),
        ("Site/tokyo", "NoSite"),
    ],
)
def test_rules_can_be_left_out(facts: Path, name: str, reason: str) -> None:
    done = run(facts, "--without", name, "--expect", reason)
    assert done.exit_code == 0, done.stderr


def test_another_time_can_be_tried(facts: Path, tmp_path: Path) -> None:
    ending = {**OWNER, "expiresAt": "2026-12-01T00:00:00Z"}
    rules = write(tmp_path, build("KeyReleasePolicy", "reviewer", ending, namespace="owners"))
    assert run(facts, "--with", rules, "--at", "2026-11-30T23:00:00Z", "--expect", "Released").exit_code == 0
    assert run(facts, "--with", rules, "--at", "2026-12-01T00:00:00Z", "--expect", "GrantExpired").exit_code == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--at", "tomorrow"], 'RequestInvalid: --at "tomorrow" is no time such as 2026-12-01T00:00:00Z'),
        (["--at", "2026-12-01T00:00:00"], "is no time such as 2026-12-01T00:00:00Z"),
        (["--without", "DataGrant/legal/other"], 'the facts have no "DataGrant/legal/other" that could be left out'),
        (["--without", "Node/tk-1"], 'the facts have no "Node/tk-1" that could be left out'),
        (["--with", "rules.yaml"], "No such file or directory"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(facts: Path, words: list[str], told: str) -> None:
    done = run(facts, *words)
    assert done.exit_code != 0
    assert told in done.stderr


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "kind: Pod",
            "holds something else than ClassificationPolicy, Site, EvidencePolicy, KeyReleasePolicy, DataGrant",
        ),
        ("- 1", "holds something else than ClassificationPolicy"),
        ("{", "rules.yaml is not YAML"),
        ("{kind: DataGrant, metadata: {name: d}, spec: {}}", "DataGrant d: spec.services: Field required"),
        ("kind: DataGrant", "InvalidSpec: "),
        ("\udcff", "rules.yaml is not text in UTF-8"),
    ],
    ids=["another kind", "a list", "no YAML", "an empty spec", "no spec", "no text"],
)
def test_rules_that_cannot_be_read_are_refused(facts: Path, tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "rules.yaml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    done = run(facts, "--with", str(path))
    assert done.exit_code == 3
    assert told in done.stderr


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "facts.json is not JSON"),
        ("[]", 'RequestInvalid: the facts of the release cannot be read: "format" is not "sekisho-release-facts-v1"'),
        ("[" * 100_000, "facts.json is not JSON"),
        (" " * ((8 << 20) + 1), "RequestTooLarge: "),
    ],
    ids=["half", "a list", "deep", "large"],
)
def test_facts_that_cannot_be_read_are_refused(facts: Path, text: str, told: str) -> None:
    facts.write_text(text)
    done = run(facts)
    assert done.exit_code == 3
    assert told in done.stderr
