"""`sekisho collateral`, `evidence` and `reference-values`: on files alone, as the broker reads and verifies them."""

import hashlib
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from sekisho.api.v1alpha1.evidencepolicy import EvidencePolicySpec
from sekisho.attest import collateral as collateral_module
from sekisho.attest.evidence import encode_evidence
from sekisho.attest.pins import PINS
from sekisho.cli.main import cli
from tests.simulators.hardware.tdx import AT, DEBUG, SimulatedTdx
from tests.unit.attest.recorded import read_recorded
from tests.unit.attest.test_collateral import spell

PLATFORM = SimulatedTdx()
WHEN = f"{AT:%Y-%m-%dT%H:%M:%SZ}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Collateral of a platform that tests made up, whose root counts in this test alone."""
    digest = hashlib.sha256(PLATFORM.root).hexdigest()
    defaults = collateral_module.parse_collateral.__kwdefaults__
    monkeypatch.setitem(defaults, "pins", {**PINS, "intel": frozenset({digest})})
    place = tmp_path / "collateral"
    place.mkdir()
    for name, data in spell(PLATFORM).items():
        (place / name).write_bytes(data)
    return place


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words])


def write(folder: Path, name: str, platform: SimulatedTdx, **changes: Any) -> Path:
    path = folder / name
    path.write_text(json.dumps(encode_evidence([platform.evidence(**changes)])))
    return path


def test_a_folder_is_listed_with_when_each_file_ends(folder: Path) -> None:
    done = run("collateral", "list", folder, "--at", WHEN)
    assert done.exit_code == 0, done.output
    assert "intel-tcb" in done.output
    assert "16 days" in done.output
    told = json.loads(run("collateral", "list", folder, "--at", WHEN, "--json").output)
    assert {item["kind"] for item in told["items"]} == {"intel-root", "intel-crl", "intel-tcb", "intel-qe"}


def test_what_cannot_be_used_or_has_ended_is_told_and_is_no_success(folder: Path) -> None:
    late = f"{AT + timedelta(days=60):%Y-%m-%dT%H:%M:%SZ}"
    done = run("collateral", "list", folder, "--at", late)
    assert done.exit_code == 3
    assert "CollateralExpired: 4 are not valid now" in done.stderr
    assert "ENDED" in done.stderr
    (folder / "notes.txt").write_text("x")
    done = run("collateral", "list", folder, "--at", WHEN)
    assert done.exit_code == 3
    assert "UNUSABLE  notes.txt" in done.stderr


def test_a_made_up_root_is_of_no_use_to_what_is_shipped(tmp_path: Path) -> None:
    (tmp_path / "intel-root.x.der").write_bytes(PLATFORM.root)
    done = run("collateral", "list", tmp_path)
    assert done.exit_code == 3
    assert "none of its maker's that this version knows" in done.stderr


def test_a_bundle_carries_all_that_can_be_used_and_nothing_older_replaces_what_is_there(
    folder: Path, tmp_path: Path
) -> None:
    (folder / "notes.txt").write_text("x")
    bundle, place = tmp_path / "collateral.json", tmp_path / "closed"
    done = run("collateral", "export", folder, bundle)
    assert done.exit_code == 0, done.output
    digest = done.output.strip().splitlines()[-1]
    assert "7 files, 1 left out" in done.output
    assert run("collateral", "import", bundle, place, "--digest", digest).exit_code == 0
    assert {path.name for path in place.iterdir()} == set(spell(PLATFORM))
    again = json.loads(run("collateral", "import", bundle, place, "--json").output)
    assert again["written"] == []
    newer = SimulatedTdx(list_window=(AT, AT + timedelta(days=30)))
    (place / "intel-crl.0.crl").write_bytes(newer.collateral().crls[0])
    assert json.loads(run("collateral", "import", bundle, place, "--json").output)["written"] == []


BAD_BUNDLES: dict[str, tuple[bytes, str]] = {
    "no JSON": (b"x", "is not JSON"),
    "another format": (b'{"files":{"a":"eA=="},"format":"x"}', "this is no bundle of format"),
    "no files": (b'{"files":{},"format":"sekisho-collateral/1"}', "this is no bundle of format"),
    "no base64": (b'{"files":{"a":"!"},"format":"sekisho-collateral/1"}', "is not base64"),
    "a way out": (b'{"files":{"../a":"eA=="},"format":"sekisho-collateral/1"}', "cannot be the name of a file"),
    "a hidden file": (b'{"files":{".a":"eA=="},"format":"sekisho-collateral/1"}', "cannot be the name of a file"),
    "a file of no use": (b'{"files":{"a":"eA=="},"format":"sekisho-collateral/1"}', "a cannot be used"),
}


@pytest.mark.parametrize("case", BAD_BUNDLES)
def test_a_bundle_that_is_none_writes_nothing(case: str, tmp_path: Path) -> None:
    data, message = BAD_BUNDLES[case]
    (tmp_path / "b").write_bytes(data)
    done = run("collateral", "import", tmp_path / "b", tmp_path / "place")
    assert done.exit_code == 3
    assert message in done.stderr
    assert not (tmp_path / "place").exists()


def test_another_bundle_than_the_one_that_was_meant_is_refused(folder: Path, tmp_path: Path) -> None:
    run("collateral", "export", folder, tmp_path / "b")
    done = run("collateral", "import", tmp_path / "b", tmp_path / "place", "--digest", "sha256:" + "0" * 64)
    assert done.exit_code == 4
    assert "DigestMismatch" in done.stderr
    assert not (tmp_path / "place").exists()


def test_nothing_cannot_be_exported(tmp_path: Path) -> None:
    done = run("collateral", "export", tmp_path, tmp_path / "b")
    assert (done.exit_code, "has nothing that can be used" in done.stderr) == (3, True)
    assert "is no folder" in run("collateral", "export", tmp_path / "none", tmp_path / "b").stderr


def test_evidence_is_verified_and_what_it_claims_is_told(folder: Path, tmp_path: Path) -> None:
    path = write(tmp_path, "evidence.json", PLATFORM)
    done = run("evidence", "verify", path, "--collateral", folder, "--at", WHEN)
    assert done.exit_code == 0, done.output
    assert f"measurement: {PLATFORM.mr_td.hex()}" in done.output
    told = json.loads(run("evidence", "verify", path, "--collateral", folder, "--at", WHEN, "--json").output)
    assert told["claims"][0]["tee"] == "tdx"
    assert told["claims"][0]["registers"]["rtmr0"] == "a0" * 48


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--at", "2027-01-01T00:00:00Z"), "CollateralExpired"),
        (("--at", "soon"), "RequestInvalid"),
        (("--at", "2026-06-15"), "RequestInvalid"),
        (("--at", WHEN, "--enrolled", "xy"), "RequestInvalid"),
    ],
)
def test_evidence_that_does_not_verify_is_refused(
    folder: Path, tmp_path: Path, words: tuple[str, ...], reason: str
) -> None:
    path = write(tmp_path, "evidence.json", PLATFORM)
    done = run("evidence", "verify", path, "--collateral", folder, *words)
    assert done.exit_code == 3
    assert done.stderr.startswith(f"{reason}: ")


def test_a_file_that_holds_no_evidence_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "x").write_text("{")
    done = run("evidence", "verify", tmp_path / "x", "--collateral", folder)
    assert "EvidenceInvalid" in done.stderr
    (tmp_path / "x").write_text(json.dumps({"evidence": encode_evidence([PLATFORM.evidence()])}))
    assert run("evidence", "verify", tmp_path / "x", "--collateral", folder, "--at", WHEN).exit_code == 0


def policy(folder: Path, spec: Any) -> Path:
    path = folder / "policy.yaml"
    path.write_text(yaml.safe_dump({"kind": "EvidencePolicy", "metadata": {"name": "prod"}, "spec": spec}))
    return path


def test_reference_values_of_two_versions_make_a_policy_that_both_satisfy(folder: Path, tmp_path: Path) -> None:
    old, new = PLATFORM, SimulatedTdx(mr_td=b"\x7e" * 48)
    files = [write(tmp_path, "old.json", old), write(tmp_path, "new.json", new)]
    done = run("reference-values", *files, "--collateral", folder, "--at", WHEN, "--registers", "rtmr1")
    assert done.exit_code == 0, done.output
    spec = yaml.safe_load(done.output)
    assert spec["anyOf"][0]["evidence"][0]["measurements"] == ["7d" * 48, "7e" * 48]
    EvidencePolicySpec.model_validate(spec)
    path = policy(tmp_path, spec)
    for file in files:
        done = run("evidence", "explain", file, "--policy", path, "--collateral", folder, "--at", WHEN)
        assert done.exit_code == 0, done.output
        assert 'EvidencePolicy "prod" holds for this tdx evidence' in done.output
    third = write(tmp_path, "third.json", SimulatedTdx(mr_td=b"\x01" * 48))
    done = run("evidence", "explain", third, "--policy", path, "--collateral", folder, "--at", WHEN)
    assert done.exit_code == 3
    assert done.stderr.startswith("MeasurementUnknown: ")


def test_no_values_are_taken_from_what_no_policy_may_accept(folder: Path, tmp_path: Path) -> None:
    file = write(tmp_path, "debug.json", SimulatedTdx(td_attributes=DEBUG))
    for words in (("reference-values", file), ("evidence", "explain", file, "--policy", policy(tmp_path, {"anyOf": [
        {"name": "a", "evidence": [{"tee": "tdx", "measurements": ["7d" * 48]}]}]}))):  # fmt: skip
        done = run(*words, "--collateral", folder, "--at", WHEN)
        assert done.exit_code == 3
        assert done.stderr.startswith("DebugEnabled: ")


def test_a_register_that_is_not_there_is_named_with_those_that_are(folder: Path, tmp_path: Path) -> None:
    file = write(tmp_path, "e.json", PLATFORM)
    done = run("reference-values", file, "--collateral", folder, "--at", WHEN, "--registers", "pcr4")
    assert done.exit_code == 3
    assert "tdx evidence has no register pcr4; it has rtmr0, rtmr1" in done.stderr


@pytest.mark.parametrize("text", ["", "kind: Site", "kind: EvidencePolicy\nmetadata: {name: a}\nspec: {}", "{"])
def test_a_policy_that_cannot_be_read_is_refused(folder: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "p.yaml").write_text(text)
    file = write(tmp_path, "e.json", PLATFORM)
    done = run("evidence", "explain", file, "--policy", tmp_path / "p.yaml", "--collateral", folder, "--at", WHEN)
    assert (done.exit_code, done.stderr.partition(":")[0]) == (3, "InvalidSpec")


def test_recorded_evidence_of_a_real_chip_verifies_by_recorded_collateral(tmp_path: Path) -> None:
    from sekisho.attest.evidence import UnverifiedEvidence  # noqa: PLC0415 - used here alone

    pems = read_recorded("snp/milan_ask_ark.pem").split(b"-----END CERTIFICATE-----\n")
    ask, ark = (pem + b"-----END CERTIFICATE-----\n" for pem in pems[:2])
    (tmp_path / "amd-root.milan.pem").write_bytes(ark)
    (tmp_path / "amd-ca.milan.pem").write_bytes(ask)
    report = bytes.fromhex(read_recorded("snp/milan_v2_report.hex").decode().strip())
    piece = UnverifiedEvidence("snp", report, (read_recorded("snp/milan_v2_vcek.der"),))
    (tmp_path / "e.json").write_text(json.dumps(encode_evidence([piece])))
    place = tmp_path / "collateral"
    place.mkdir()
    for name in ("amd-root.milan.pem", "amd-ca.milan.pem"):
        (tmp_path / name).rename(place / name)
    done = run("reference-values", tmp_path / "e.json", "--collateral", place, "--at", "2024-06-01T00:00:00Z")
    assert done.exit_code == 0, done.stderr
    rule = yaml.safe_load(done.output)["anyOf"][0]["evidence"][0]
    assert rule["measurements"][0].startswith("7a1e5c266c0108db")
    assert {"component": "microcode", "version": 115} in rule["minimumTcb"]
