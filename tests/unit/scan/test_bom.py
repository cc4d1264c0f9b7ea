import dataclasses
import json
from typing import Any

import pytest

from sekisho.errors import Reason, RefusedError
from sekisho.scan.bom import BomFile, Subject, render_bom
from sekisho.seal.facts import ScanSummary
from tests.unit.scan.models import as_json, scan
from tests.unit.scan.schema import find_problem

CARD = b"---\nlicense: llama3.1\nbase_model: org/base\ndatasets: [one, two]\n---\n"
MODEL = {"README.md": CARD, "config.json": as_json({"architectures": ["LlamaForCausalLM"]})}
DECLARED = {
    "licence": "LicenseRef-llama3.1",
    "capabilities": ["契約書の要約", "summarise"],
    "risk": "High",
    "evaluations": [{"name": "mmlu", "score": "71.4 %", "at": "2026-11-20T00:00:00Z"}],
}


def build_subject(**changes: Any) -> Subject:
    declared = changes.get("declared", DECLARED)
    subject = Subject(
        name="legal/reviewer", version="7", declared=declared, tool="0.1.0",
        files=(BomFile("README.md", 3, "sha256:" + "ab" * 32), BomFile("あ/b.bin", 2**40, "sha256:" + "0" * 64)),
        report=scan(MODEL, licence=declared.get("licence")),
        scan=ScanSummary(result="Clean", scanner="sekisho 0.1.0", at="2026-11-25T06:00:00Z", findings=()),
    )  # fmt: skip
    return dataclasses.replace(subject, **changes)


def read(subject: Subject) -> dict[str, Any]:
    data = render_bom(subject)
    problem = find_problem(data.decode())
    assert problem is None, problem
    return dict(json.loads(data))


def test_a_bill_of_more_than_16_mib_is_refused() -> None:
    files = tuple(BomFile("x" * 1000 + str(place), 1, "sha256:" + "0" * 64) for place in range(8192))
    with pytest.raises(RefusedError, match="bytes, 16777216 are allowed") as caught:
        render_bom(build_subject(files=files))
    assert caught.value.reason is Reason.SEAL_INVALID


def test_the_schema_would_refuse_a_bill_that_is_wrong() -> None:
    bom = read(build_subject())
    bom["metadata"]["component"]["modelCard"]["surprise"] = 1
    assert find_problem(json.dumps(bom)) is not None


def test_the_bill_tells_of_the_model_its_files_and_what_was_declared() -> None:
    bom = read(build_subject())
    model = bom["metadata"]["component"]
    assert (model["type"], model["name"], model["version"]) == ("machine-learning-model", "legal/reviewer", "7")
    assert model["licenses"] == [{"expression": "LicenseRef-llama3.1", "acknowledgement": "declared"}]
    assert [ancestor["name"] for ancestor in model["pedigree"]["ancestors"]] == ["org/base"]
    card = model["modelCard"]
    assert card["considerations"] == {
        "useCases": ["契約書の要約", "summarise"], "ethicalConsiderations": [{"name": "Risk: High"}]
    }  # fmt: skip
    assert card["quantitativeAnalysis"]["performanceMetrics"] == [{"type": "mmlu", "value": "71.4 %"}]
    assert card["properties"] == [{"name": "sekisho:evaluated:mmlu", "value": "2026-11-20T00:00:00Z"}]
    assert card["modelParameters"]["modelArchitecture"] == "LlamaForCausalLM"
    assert [dataset["name"] for dataset in card["modelParameters"]["datasets"]] == ["one", "two"]
    assert bom["metadata"]["timestamp"] == "2026-11-25T06:00:00Z"
    assert [(file["name"], file["hashes"][0]["content"]) for file in bom["components"]] == [
        ("README.md", "ab" * 32), ("あ/b.bin", "0" * 64)
    ]  # fmt: skip
    assert {"name": "sekisho:licence:README.md", "value": "llama3.1"} in model["properties"]


def test_the_same_model_has_the_same_bytes_and_another_one_another_serial_number() -> None:
    subject = build_subject()
    assert render_bom(subject) == render_bom(build_subject())
    other = dataclasses.replace(subject, version="8")
    assert read(subject)["serialNumber"] != read(other)["serialNumber"]


def test_findings_stand_in_the_bill() -> None:
    summary = ScanSummary(result="Findings", scanner="s", at="2026-11-25T06:00:00Z", findings=("danger code: a.py: x",))
    properties = read(build_subject(scan=summary))["metadata"]["component"]["properties"]
    assert {"name": "sekisho:scan:finding", "value": "danger code: a.py: x"} in properties


@pytest.mark.parametrize(
    ("declared", "card", "licences"),
    [
        ({}, b"---\nlicense: mit\n---", [{"expression": "MIT", "acknowledgement": "concluded"}]),
        ({"licence": "our own"}, b"", [{"license": {"name": "our own"}}]),
        ({"licence": "our own"}, b"---\nlicense: mit\n---", [{"expression": "MIT", "acknowledgement": "concluded"}]),
        ({}, CARD, [{"license": {"name": "llama3.1"}}]),
        ({}, b"", None),
    ],
)
def test_the_licence_is_an_expression_where_it_is_one(
    declared: dict[str, Any], card: bytes, licences: list[Any] | None
) -> None:
    report = scan({"README.md": card}, licence=declared.get("licence"))
    model = read(build_subject(declared=declared, report=report, version=""))["metadata"]["component"]
    assert model.get("licenses") == licences
    assert "version" not in model
