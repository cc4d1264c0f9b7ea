"""Findings: what a scan holds against a file, bounded and printable."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from sekisho.seal.facts import MAX_FINDINGS

MAX_LINE_BYTES: Final = 256
_MOST_DETAIL: Final = 160


class Severity(StrEnum):
    """How bad it is.

    Attributes:
        DANGER: It runs code, escapes its folder, or breaks a reader.
        SUSPECT: Nobody can vouch for it by looking at it.
    """

    DANGER = "danger"
    SUSPECT = "suspect"


class Check(StrEnum):
    """Which check found it."""

    ARCHIVE = "archive"
    CODE = "code"
    CONFIG = "config"
    FORMAT = "format"
    LICENCE = "licence"
    LINK = "link"
    PICKLE = "pickle"
    POLYGLOT = "polyglot"
    TEMPLATE = "template"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found in one file.

    Attributes:
        path: The file, relative to the model's folder; empty for the model as a whole.
        where: Place inside it: "byte 20", "line 3", "archive/data.pkl: byte 2"; may be empty.
        detail: What it is and, where that is not plain, what to do.
    """

    path: str
    check: Check
    severity: Severity
    where: str
    detail: str

    def line(self) -> str:
        """Spell it in one printable line of at most 256 bytes of UTF-8."""
        place = ", ".join(part for part in (self.path, self.where) if part) or "the model"
        text = f"{self.severity} {self.check}: {place}: {self.detail}"
        return clip(text, MAX_LINE_BYTES)


@dataclass(slots=True)
class Collector:
    """Findings of one scan; beyond the limit they are only counted.

    Attributes:
        most: How many of each severity are kept.
    """

    most: int = MAX_FINDINGS
    counted: int = 0
    _seen: set[Finding] = field(default_factory=set)
    _kept: dict[Severity, list[Finding]] = field(default_factory=lambda: {severity: [] for severity in Severity})

    def add(self, finding: Finding) -> None:
        """Keep or count one finding; the same one twice counts once."""
        if finding in self._seen:
            return
        self.counted += 1
        kept = self._kept[finding.severity]
        if len(kept) < self.most:
            kept.append(finding)
            self._seen.add(finding)

    def kept(self) -> tuple[Finding, ...]:
        """List what was kept, the dangerous first, at most `most`."""
        return tuple(finding for severity in Severity for finding in self._kept[severity])[: self.most]


def spell_findings(findings: tuple[Finding, ...], counted: int) -> tuple[str, ...]:
    """Spell findings as lines, at most 256; where there were more, the last line counts the rest."""
    lines = tuple(finding.line() for finding in findings)
    if counted <= min(len(lines), MAX_FINDINGS):
        return lines
    shown = lines[: MAX_FINDINGS - 1]
    return (*shown, f"and {counted - len(shown)} more findings")


def show(text: str, most: int = _MOST_DETAIL) -> str:
    """Make text from a file printable and short."""
    return clip("".join(sign if sign.isprintable() else "?" for sign in text[:most]), most)


def clip(text: str, most: int) -> str:
    """Cut text to `most` bytes of UTF-8, printable signs only; a cut shows as "…"."""
    printable = "".join(sign if sign.isprintable() else "?" for sign in text[: most + 1])
    data = printable.encode(errors="replace")
    return printable if len(data) <= most else f"{data[: most - 3].decode(errors='ignore')}…"
