import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from sekisho.cli.layout import list_plain_files
from sekisho.cli.main import cli
from sekisho.cli.progress import Lines
from sekisho.cli.scanning import Inspector, scan_files
from sekisho.errors import Reason, RefusedError
from sekisho.seal.facts import BlobFacts, SealedFile
from sekisho.seal.manifest import digest_of, parse_manifest
from tests.unit.cli.parts import Bench, build_bench, read_refusal, run_cli
from tests.unit.scan.schema import find_problem

DECLARED = ("--licence", "Apache-2.0", "--capability", "要約", "--risk", "High")
EVALUATED = ("--evaluation", "mmlu=71.4@2026-11-20T00:00:00Z")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return build_bench(tmp_path, big=100_000)


def scan(bench: Bench, *more: str) -> Any:
    return CliRunner().invoke(cli, ["scan", str(bench.model), *more])


def seal(bench: Bench, *more: str) -> Any:
    return CliRunner().invoke(cli, bench.seal_words(*more))


def read_bom(place: Path) -> dict[str, Any]:
    data = place.read_text()
    problem = find_problem(data)
    assert problem is None, problem
    return dict(json.loads(data))


# What is refused


def test_findings_are_shown_and_end_with_their_own_exit_code(bench: Bench) -> None:
    (bench.model / "modeling.py").write_text("import os")
    done = scan(bench)
    assert done.exit_code == 7
    assert "CODE FILES" in done.stdout
    assert "danger code: modeling.py: code (.py); a model needs none: remove it" in done.stdout
    facts = json.loads(scan(bench, "--json").stdout)
    assert (facts["result"], facts["counted"]) == ("Findings", 1)
    assert facts["findings"][0]["check"] == "code"


def test_a_link_is_a_finding_of_the_scan(bench: Bench) -> None:
    (bench.model / "link").symlink_to("/etc/hostname")
    done = scan(bench)
    assert done.exit_code == 7
    assert "danger link: link: " in done.stdout
    assert "is a symbolic link" in done.stdout


def test_a_name_that_no_manifest_takes_is_found_by_the_scan_and_refused_by_sealing(bench: Bench) -> None:
    (bench.model / os.fsdecode(b"caf\xe9\n.txt")).write_text("x")
    done = scan(bench)
    assert done.exit_code == 7
    assert "danger link: caf??.txt: the name 'caf\\udce9\\n.txt' has signs that no manifest takes" in done.stdout
    sealed = seal(bench)
    assert sealed.exit_code == 3
    assert "rename the file" in sealed.stderr


def test_a_model_with_findings_is_not_sealed(bench: Bench) -> None:
    (bench.model / "modeling.py").write_text("import os")
    done = seal(bench)
    assert done.exit_code == 7
    reason, message = json.loads(done.stderr.splitlines()[-1]).values()
    assert reason == "ScanFindings"
    assert "the scan has 1 finding and the model is not sealed" in message
    assert "danger code: modeling.py" in message
    assert not bench.out.exists()
    assert not bench.out.with_name("model.sealed.partial").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--risk", "Whatever"), 'risk "Whatever" is not known; one of Minimal, Limited, High'),
        (("--evaluation", "mmlu"), '"mmlu" is no evaluation; write NAME=SCORE@TIME'),
        (("--evaluation", "mmlu=1@yesterday"), "the options.evaluations[0].at"),
        ((*EVALUATED, *EVALUATED), "two evaluations have one name"),
        (("--capability", "x" * 300), "the options.capabilities[0] has 300 bytes"),
        (("--declarations", "missing.yaml"), "No such file"),
    ],
)
def test_a_declaration_that_the_manifest_would_not_take_is_refused_before_anything_is_read(
    bench: Bench, words: tuple[str, ...], message: str
) -> None:
    for done in (scan(bench, *words), seal(bench, *words)):
        assert done.exit_code in {3, 9}
        assert message in done.stderr.replace("\\", "")
    assert not bench.out.with_name("model.sealed.partial").exists()


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.yaml", "a: [", "cannot be read as YAML or JSON"),
        ("a.json", "{", "cannot be read as YAML or JSON"),
        ("a.yaml", "- a", "holds no mapping"),
        ("a.yaml", "licence: [MIT]", "licence is a list, text is needed"),
        ("a.yaml", "unknown: 1", 'has the field "unknown", which this format does not know'),
        ("a.yaml", "a: " + "x" * 600_000, "has more than 524288 bytes"),
    ],
)
def test_a_file_of_declarations_that_is_none_is_refused(bench: Bench, name: str, text: str, message: str) -> None:
    (bench.folder / name).write_text(text)
    done = scan(bench, "--declarations", str(bench.folder / name))
    assert done.exit_code == 3
    assert message in done.stderr


def test_a_folder_without_files_and_one_that_is_not_there_are_refused(bench: Bench) -> None:
    empty = bench.folder / "empty"
    empty.mkdir()
    for place, message in ((empty, "holds no files"), (bench.folder / "none", "is no folder and no file")):
        done = CliRunner().invoke(cli, ["scan", str(place)])
        assert done.exit_code == 3
        assert message in done.stderr


def test_a_declared_licence_that_the_files_contradict_is_a_finding(bench: Bench) -> None:
    (bench.model / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    done = scan(bench, "--licence", "MIT")
    assert done.exit_code == 7
    assert "suspect licence: README.md: it says cc-by-nc-4.0, declared is MIT" in done.stdout


def set_back(place: Path, facts: os.stat_result) -> None:
    os.utime(place, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def test_a_file_that_was_exchanged_before_it_was_scanned_is_refused_though_its_times_were_set_back(
    bench: Bench,
) -> None:
    place = bench.model / "model.safetensors"
    facts = place.stat()
    files = list_plain_files(bench.model)
    place.write_bytes(place.read_bytes()[::-1])
    set_back(place, facts)
    with pytest.raises(RefusedError, match=r"model\.safetensors changed before it was scanned") as caught:
        scan_files(files, licence=None, meter=Lines(as_json=True))
    assert caught.value.reason is Reason.SOURCE_INVALID


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_file_that_was_exchanged_between_scan_and_sealing_is_refused(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    place = bench.model / name

    def exchange(inspector: Inspector, files: Any, meter: Any) -> Any:
        scanned = scan_files(files, licence=None, meter=meter)
        facts = place.stat()
        place.write_bytes(place.read_bytes()[::-1])
        set_back(place, facts)
        return scanned

    monkeypatch.setattr(Inspector, "inspect", exchange)
    done = seal(bench)
    assert done.exit_code == 3
    reason, message = json.loads(done.stderr.splitlines()[-1]).values()
    assert reason == "SourceInvalid"
    assert f"{name} changed" in message
    assert not bench.out.exists()


def test_what_was_scanned_is_held_against_the_digests_of_what_was_sealed(bench: Bench) -> None:
    scanned = scan_files(list_plain_files(bench.model), licence=None, meter=Lines(as_json=True))
    assert "config.json" in scanned.report.digests
    other = SealedFile(
        path="config.json", size=2, digest=digest_of(b"[]"), salt=bytes(32), segments=1, stored_as="files/00000.sealed",
        ciphertext=BlobFacts(size=2, digest=digest_of(b"")),
    )  # fmt: skip
    with pytest.raises(RefusedError, match=r"config\.json changed between scan and sealing") as caught:
        scanned.check_same([other])
    assert caught.value.reason is Reason.SOURCE_INVALID


# What passes


def test_a_clean_model_is_told_in_one_line(bench: Bench) -> None:
    (bench.model / "README.md").write_text("---\nlicense: apache-2.0\nbase_model: org/base\n---\n")
    (bench.model / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    done = scan(bench)
    assert done.exit_code == 0
    assert (
        done.stdout == "  5 files, 97.8 KiB   safetensors ok   no code files   chat template ok   licence Apache-2.0\n"
    )
    facts = json.loads(scan(bench, "--json", *DECLARED).stdout)
    assert (facts["result"], facts["findings"], facts["baseModels"]) == ("Clean", [], ["org/base"])
    assert facts["declared"] == {"licence": "Apache-2.0", "capabilities": ["要約"], "risk": "High"}


def test_one_file_is_scanned_by_itself(bench: Bench) -> None:
    done = CliRunner().invoke(cli, ["scan", str(bench.model / "model.safetensors")])
    assert done.exit_code == 0
    assert "1 file, " in done.stdout
    assert "licence not told" in done.stdout


def test_the_progress_of_a_scan_is_shown_with_rate_and_remaining_time(bench: Bench) -> None:
    done = run_cli(["scan", str(bench.model), "--json"])
    event = json.loads(done.stderr.splitlines()[-1])
    assert (event["phase"], event["doneBytes"] == event["totalBytes"]) == ("scanning", True)
    assert {"bytesPerSecond", "secondsLeft"} <= set(event)


@pytest.mark.slow
def test_sealing_signs_the_scan_the_declarations_and_the_bill_into_the_manifest(bench: Bench) -> None:
    assert seal(bench, *DECLARED, *EVALUATED).exit_code == 0
    manifest = parse_manifest((bench.out / "sekisho.json").read_bytes())
    assert manifest.scan is not None
    assert (manifest.scan.result, manifest.scan.findings) == ("Clean", ())
    assert manifest.scan.scanner.startswith("sekisho ")
    assert dict(manifest.declared) == {
        "licence": "Apache-2.0", "capabilities": ["要約"], "risk": "High",
        "evaluations": [{"at": "2026-11-20T00:00:00Z", "name": "mmlu", "score": "71.4"}],
    }  # fmt: skip
    bom = bench.out / "bom.cdx.json"
    assert manifest.bom == BlobFacts(size=bom.stat().st_size, digest=digest_of(bom.read_bytes()))
    read = read_bom(bom)
    assert {file["name"]: f"sha256:{file['hashes'][0]['content']}" for file in read["components"]} == {
        file.path: file.digest for file in manifest.files
    }
    model = read["metadata"]["component"]
    assert (model["name"], model["version"]) == ("legal/reviewer", "7")
    assert bench.verify_tags().returncode == 0


def test_findings_are_sealed_in_where_that_is_asked_for(bench: Bench) -> None:
    (bench.model / "modeling.py").write_text("import os")
    assert seal(bench, "--allow-findings").exit_code == 0
    scan = parse_manifest((bench.out / "sekisho.json").read_bytes()).scan
    assert scan is not None
    assert scan.result == "Findings"
    assert scan.findings == ("danger code: modeling.py: code (.py); a model needs none: remove it",)


def test_without_a_scan_the_manifest_says_so(bench: Bench) -> None:
    (bench.model / "modeling.py").write_text("import os")
    partial = bench.out.with_name("model.sealed.partial")
    partial.mkdir()
    (partial / "bom.cdx.json").write_text("of an earlier try")
    assert seal(bench, "--no-scan").exit_code == 0
    manifest = parse_manifest((bench.out / "sekisho.json").read_bytes())
    assert (manifest.scan, manifest.bom) == (None, None)
    assert not (bench.out / "bom.cdx.json").exists()
    assert bench.verify().returncode == 0


def test_a_file_of_declarations_counts_where_no_option_speaks(bench: Bench) -> None:
    place = bench.folder / "declarations.yaml"
    place.write_text(
        "licence: MIT\nrisk: Limited\ncapabilities: [a, b]\n"
        "evaluations:\n- {name: mmlu, score: '70', at: 2026-11-20T00:00:00Z}\n"
    )
    declared = json.loads(scan(bench, "--json", "--declarations", str(place), "--risk", "High").stdout)["declared"]
    assert (declared["licence"], declared["risk"], declared["capabilities"]) == ("MIT", "High", ["a", "b"])
    assert declared["evaluations"][0]["name"] == "mmlu"
    as_json = bench.folder / "declarations.json"
    as_json.write_text(json.dumps(declared))
    assert json.loads(scan(bench, "--json", "--declarations", str(as_json)).stdout)["declared"] == declared


def test_the_bill_of_a_scan_has_the_digest_of_every_file(bench: Bench) -> None:
    place = bench.folder / "bom.json"
    with (bench.model / "large.safetensors").open("wb") as file:  # larger than what a scan reads whole
        header = json.dumps({"a": {"dtype": "U8", "shape": [17 << 20], "data_offsets": [0, 17 << 20]}}).encode()
        file.write(len(header).to_bytes(8, "little") + header + bytes(17 << 20))
    assert scan(bench, "--bom", str(place), *DECLARED).exit_code == 0
    names = {file["name"]: file["hashes"][0]["content"] for file in read_bom(place)["components"]}
    assert {name: f"sha256:{content}" for name, content in names.items()} == {
        path: digest_of((bench.model / path).read_bytes())
        for path in ("config.json", "large.safetensors", "model.safetensors", "sub/empty.txt")
    }


def test_the_refusal_of_a_real_process_ends_with_the_code_of_scans(bench: Bench) -> None:
    (bench.model / "a.pkl").write_bytes(b"cos\nsystem\n(S'id'\ntR.")
    done = run_cli(bench.seal_words())
    assert done.returncode == 7
    assert "danger pickle: a.pkl" in read_refusal(done)[1]
