"""Render the bill of materials of a model: CycloneDX 1.6, the same bytes for the same model."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sekisho.errors import Reason, RefusedError
from sekisho.scan.licences import read_expression
from sekisho.scan.scanner import Report
from sekisho.seal.facts import MAX_BOM_BYTES, ScanSummary

SPEC_VERSION: Final = "1.6"


@dataclass(frozen=True, slots=True)
class BomFile:
    """One file of the model.

    Attributes:
        digest: SHA-256 of its plaintext, "sha256:…".
    """

    path: str
    size: int
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a bill of materials is written about.

    Attributes:
        version: Of the model, as text; may be empty.
        files: In the order of the manifest.
        declared: What the owner declares, as it stands in the manifest.
        scan: What the scan came to; its time is that of the bill.
        tool: Version of sekisho.
    """

    name: str
    version: str
    files: Sequence[BomFile]
    declared: Mapping[str, Any]
    report: Report
    scan: ScanSummary
    tool: str


def render_bom(subject: Subject) -> bytes:
    """Render the bill; nothing in it comes from a clock or from chance.

    Raises:
        RefusedError: It has more than 16 MiB.
    """
    bom: dict[str, Any] = {
        "$schema": f"http://cyclonedx.org/schema/bom-{SPEC_VERSION}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "version": 1,
        "metadata": {
            "timestamp": subject.scan.at,
            "tools": {"components": [{"type": "application", "name": "sekisho", "version": subject.tool}]},
            "component": _render_model(subject),
        },
        "components": [_render_file(file) for file in subject.files],
    }
    digest = hashlib.sha256(_spell(bom)).digest()
    data = _spell(bom | {"serialNumber": UUID(bytes=digest[:16], version=5).urn})
    if len(data) > MAX_BOM_BYTES:
        raise RefusedError(
            Reason.SEAL_INVALID, f"the bill of materials has {len(data)} bytes, {MAX_BOM_BYTES} are allowed"
        )
    return data


def _spell(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def _render_model(subject: Subject) -> dict[str, Any]:
    told = subject.report.told
    parts: dict[str, Any] = {
        "version": subject.version,
        "licenses": _render_licence(subject),
        "pedigree": {"ancestors": [_render_ancestor(name) for name in told.base_models]} if told.base_models else {},
        "properties": _render_properties(subject),
    }
    return {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": subject.name,
        "modelCard": _render_card(subject),
        **_filled(parts),
    }


def _render_ancestor(name: str) -> dict[str, str]:
    return {"type": "machine-learning-model", "name": name}


def _render_licence(subject: Subject) -> list[dict[str, Any]]:
    declared = subject.declared.get("licence")
    if subject.report.licence:
        kind = "declared" if declared and read_expression(declared) else "concluded"
        return [{"expression": subject.report.licence, "acknowledgement": kind}]
    names = [text for text in (declared, *(text for _, text in subject.report.told.licences)) if text]
    return [{"license": {"name": names[0]}}] if names else []


def _render_properties(subject: Subject) -> list[dict[str, str]]:
    scan = subject.scan
    pairs = [("sekisho:scan:result", scan.result), ("sekisho:scan:scanner", scan.scanner)]
    pairs += [("sekisho:scan:finding", line) for line in scan.findings]
    pairs += [(f"sekisho:licence:{place}", text) for place, text in subject.report.told.licences]
    return [{"name": name, "value": value} for name, value in pairs]


def _render_card(subject: Subject) -> dict[str, Any]:
    told, declared = subject.report.told, subject.declared
    evaluations = declared.get("evaluations", ())
    parameters: dict[str, Any] = {
        "modelArchitecture": told.architecture,
        "datasets": [{"type": "dataset", "name": name} for name in told.datasets],
    }
    considerations: dict[str, Any] = {
        "useCases": list(declared.get("capabilities", ())),
        "ethicalConsiderations": [{"name": f"Risk: {declared['risk']}"}] if "risk" in declared else [],
    }
    metrics = [{"type": item["name"], "value": item["score"]} for item in evaluations]
    card = {
        "modelParameters": _filled(parameters),
        "quantitativeAnalysis": _filled({"performanceMetrics": metrics}),
        "considerations": _filled(considerations),
        "properties": [{"name": f"sekisho:evaluated:{item['name']}", "value": item["at"]} for item in evaluations],
    }
    return _filled(card)


def _filled(parts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parts.items() if value}


def _render_file(file: BomFile) -> dict[str, Any]:
    return {
        "type": "file",
        "bom-ref": f"file:{file.path}",
        "name": file.path,
        "hashes": [{"alg": "SHA-256", "content": file.digest.removeprefix("sha256:")}],
        "properties": [{"name": "sekisho:size", "value": str(file.size)}],
    }
