"""Scan a plain model on disk: what is sealed afterwards is what was scanned."""

import hashlib
import io
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO, Final

from sekisho import __version__
from sekisho.cli.failures import refuse
from sekisho.cli.layout import PlainFile, list_plain_files, take_file, walk_model
from sekisho.cli.pipeline import open_plain
from sekisho.cli.progress import Meter, describe_bytes
from sekisho.errors import Reason, RefusedError
from sekisho.scan.bom import BomFile, Subject, render_bom
from sekisho.scan.findings import Check, Finding, Severity, show
from sekisho.scan.scanner import Report, scan_model
from sekisho.seal.facts import MAX_FILES, ModelIdentity, ScanSummary, SealedFile

_PIECE: Final = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Scanned:
    """What a scan of files on disk came to, and when."""

    report: Report
    summary: ScanSummary

    def check_same(self, files: Iterable[SealedFile]) -> None:
        """Compare what was sealed with what was scanned, for every file that the scan read whole.

        Larger files are held together by their time of change, which scan and sealing both compare with the listing.

        Raises:
            RefusedError: A file changed between the two.
        """
        for file in files:
            if self.report.digests.get(file.path, file.digest) != file.digest:
                raise refuse(
                    f"{file.path} changed between scan and sealing; seal when nothing writes to the model",
                    reason=Reason.SOURCE_INVALID,
                )

    def render_bom(self, model: ModelIdentity, files: Sequence[SealedFile], declared: Mapping[str, Any]) -> bytes:
        """Render the bill of materials of what was sealed."""
        listed = [BomFile(file.path, file.size, file.digest) for file in files]
        return self.render(model.name, str(model.version), listed, declared)

    def render(self, name: str, number: str, files: Sequence[BomFile], declared: Mapping[str, Any]) -> bytes:
        """Render a bill of materials."""
        subject = Subject(
            name=name, version=number, files=files, declared=declared, report=self.report, scan=self.summary,
            tool=__version__,
        )  # fmt: skip
        return render_bom(subject)


@dataclass(frozen=True, slots=True)
class _Opened:
    """A file as the scan takes it."""

    file: PlainFile

    @property
    def path(self) -> str:
        return self.file.path

    @property
    def size(self) -> int:
        return self.file.size

    def open(self) -> BinaryIO:
        raw = open_plain(self.file)
        facts = os.fstat(raw.fileno())
        if (facts.st_size, facts.st_ctime_ns) != (self.file.size, self.file.changed_ns):
            raw.close()
            raise refuse(f"{self.file.place} changed before it was scanned", reason=Reason.SOURCE_INVALID)
        return io.BufferedReader(raw)  # type: ignore[type-var]


def scan_files(
    files: Sequence[PlainFile], *, licence: str | None, meter: Meter, before: Sequence[Finding] = ()
) -> Scanned:
    """Scan files that were listed.

    Raises:
        RefusedError: A file changed since it was listed.
    """
    logging.getLogger("picklescan").setLevel(logging.CRITICAL)  # what it says is told as findings
    meter.start("scanning", sum(file.size for file in files))
    try:
        report = scan_model([_Opened(file) for file in files], licence=licence, before=before, advance=meter.advance)
    finally:
        meter.finish()
    scanner = f"sekisho {__version__}, picklescan {version('picklescan')}, jinja2 {version('jinja2')}"
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    lines = report.lines()
    result = ScanSummary(result="Findings" if lines else "Clean", scanner=scanner, at=at, findings=lines)
    return Scanned(report, result)


@dataclass(frozen=True, slots=True)
class Inspector:
    """Scan before sealing, and refuse what has findings."""

    licence: str | None
    allow_findings: bool

    def inspect(self, files: Sequence[PlainFile], meter: Meter) -> Scanned:
        """Scan.

        Raises:
            RefusedError: ScanFindings, with the worst of them.
        """
        scanned = scan_files(files, licence=self.licence, meter=meter)
        if scanned.report.counted and not self.allow_findings:
            lines = "\n".join(f"  {line}" for line in scanned.summary.findings[:10])
            count = _count(scanned.report.counted, "finding")
            raise RefusedError(
                Reason.SCAN_FINDINGS,
                f"the scan has {count} and the model is not sealed; remove what is found, or "
                f"pass --allow-findings to seal them into the manifest. All of them: sekisho scan. The first:\n{lines}",
            )
        return scanned


def scan_source(
    source: Path, declared: Mapping[str, Any], bom: Path | None, meter: Meter
) -> tuple[dict[str, Any], str]:
    """Scan a folder or file; what cannot be listed is a finding.

    Returns:
        The facts for machines, and the text for people.
    """
    files, before = _list(source)
    scanned = scan_files(files, licence=declared.get("licence"), meter=meter, before=before)
    if bom is not None:
        hashed = _hash_all(files, scanned.report.digests, meter)
        bom.write_bytes(scanned.render(source.absolute().name, "", hashed, declared))
    report = scanned.report
    facts = {
        "result": scanned.summary.result, "scanner": scanned.summary.scanner, "at": scanned.summary.at,
        "files": report.files, "bytes": report.size, "counted": report.counted, "licence": report.licence,
        "declared": dict(declared), "baseModels": list(report.told.base_models),
        "datasets": list(report.told.datasets), "findings": [_spell(finding) for finding in report.findings],
    }  # fmt: skip
    return facts, "\n".join([describe_report(report), *(f"  {line}" for line in scanned.summary.findings)])


def describe_report(report: Report) -> str:
    """Say in one line what was looked at and what came of it."""
    bad = {finding.check for finding in report.findings}
    parts = [f"{_count(report.files, 'file')}, {describe_bytes(report.size)}"]
    parts += [f"{kind} {'NOT ok' if Check.FORMAT in bad else 'ok'}" for kind in sorted(report.told.tensors)]
    parts += ["CODE FILES" if Check.CODE in bad else "no code files"]
    if report.told.templates:
        parts += [f"chat template {'NOT ok' if Check.TEMPLATE in bad else 'ok'}"]
    parts += [f"licence {report.licence or 'not told'}"]
    if report.counted:
        parts += [_count(report.counted, "finding")]
    return f"  {'   '.join(parts)}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _list(source: Path) -> tuple[list[PlainFile], list[Finding]]:
    """List all that can be scanned; a link or a device is a finding here, while sealing refuses it."""
    if source.is_symlink() or not source.is_dir():
        return list(list_plain_files(source)), []
    files: list[PlainFile] = []
    findings: list[Finding] = []
    for place, path in walk_model(source):
        try:
            files.append(take_file(place, path))
        except RefusedError as error:
            findings.append(Finding(show(path), Check.LINK, Severity.DANGER, "", show(error.message)))
        if len(files) + len(findings) > MAX_FILES:
            raise refuse(f"{source} holds more than {MAX_FILES} files; {MAX_FILES} are allowed in one model")
    if not files and not findings:
        raise refuse(f"{source} holds no files", reason=Reason.SOURCE_NOT_FOUND)
    return files, findings


def _hash_all(files: Sequence[PlainFile], known: Mapping[str, str], meter: Meter) -> list[BomFile]:
    meter.start("hashing", sum(file.size for file in files if file.path not in known))
    hashed = []
    try:
        for file in sorted(files, key=lambda file: file.path):
            digest = known.get(file.path) or _hash(file, meter)
            hashed.append(BomFile(file.path, file.size, digest))
    finally:
        meter.finish()
    return hashed


def _hash(file: PlainFile, meter: Meter) -> str:
    digest = hashlib.sha256()
    with _Opened(file).open() as stream:
        while piece := stream.read(_PIECE):
            digest.update(piece)
            meter.advance(len(piece))
    return f"sha256:{digest.hexdigest()}"


def _spell(finding: Finding) -> dict[str, str]:
    return {
        "path": finding.path, "check": finding.check.value, "severity": finding.severity.value,
        "where": finding.where, "detail": finding.detail,
    }  # fmt: skip
