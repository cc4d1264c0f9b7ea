"""Scan a model file by file with bounded memory; of large weights only the header and the last 64 KiB are read."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from typing import BinaryIO, Final

from sekisho.errors import RefusedError
from sekisho.scan.arrays import check_array
from sekisho.scan.configs import check_json
from sekisho.scan.entry import HEAD_BYTES, WHOLE_BYTES, Entry, ModelFile
from sekisho.scan.findings import Check, Collector, Finding, Severity, show, spell_findings
from sekisho.scan.kinds import Kind, is_script, is_text, tell_kind
from sekisho.scan.licences import agree, read_expression
from sekisho.scan.pickles import check_pickles
from sekisho.scan.provenance import check_text
from sekisho.scan.tails import has_zip_at_end
from sekisho.scan.templates import check_template
from sekisho.scan.tensors import Told, check_tensors
from sekisho.scan.zips import open_members
from sekisho.seal.manifest import check_path

_HDF5_PIECE: Final = 4 * 1024 * 1024
_LAMBDA: Final = (b'"Lambda"', b"__lambda__")
"""As Keras spells a layer that holds code."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a scan came to.

    Attributes:
        files: How many were scanned.
        size: Their bytes in all.
        findings: At most 256, the dangerous first.
        counted: How many there were.
        digests: SHA-256 ("sha256:…") of every file that was read whole, by path.
        licence: The licence as one SPDX expression where it is one: declared, else as the model's files say.
    """

    files: int
    size: int
    findings: tuple[Finding, ...]
    counted: int
    digests: Mapping[str, str]
    told: Told
    licence: str

    @property
    def is_clean(self) -> bool:
        """Tell whether nothing was found."""
        return not self.counted

    def lines(self) -> tuple[str, ...]:
        """Spell the findings, at most 256 lines; where there were more the last one counts the rest."""
        return spell_findings(self.findings, self.counted)


def scan_model(
    files: Iterable[ModelFile], *, licence: str | None = None, before: Sequence[Finding] = (),
    advance: Callable[[int], None] = lambda _: None,
) -> Report:  # fmt: skip
    """Scan every file of a model.

    Args:
        files: The files, in any order; each is opened once.
        licence: What the owner declares; held against what the files say.
        before: Findings of whoever listed the files: links, devices.
        advance: Told the size of each file that is done.
    """
    found, told, digests = Collector(), Told(), dict[str, str]()
    for finding in before:
        found.add(finding)
    # ONNX first: it names files that hold nothing but weights.
    ordered = sorted(files, key=lambda file: (not file.path.lower().endswith(".onnx"), file.path))
    for file in ordered:
        with file.open() as stream:
            digest = _scan_file(file, stream, found, told)
        if digest:
            digests[file.path] = digest
        advance(file.size)
    _check_external({file.path for file in ordered}, found, told)
    spelt = _check_licence(licence, found, told)
    size = sum(file.size for file in ordered)
    return Report(len(ordered), size, found.kept(), found.counted, digests, told, spelt)


def _scan_file(file: ModelFile, stream: BinaryIO, found: Collector, told: Told) -> str:
    head = stream.read(min(HEAD_BYTES, file.size))
    entry = Entry(file.path, "", file.size, head, stream, found)
    try:
        check_path(file.path, name="its path")
    except RefusedError as error:
        entry.report(Check.LINK, Severity.DANGER, error.message)
    digest = ""
    if (data := entry.read_whole()) is not None:
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        entry = replace(entry, stream=BytesIO(data))
    elif file.size <= WHOLE_BYTES:
        entry.report(Check.FORMAT, Severity.SUSPECT, f"it was listed with {file.size} bytes and has another size")
        return ""
    kind, what = tell_kind(entry.name, head)
    # An ONNX model may name any file as its weights: only what could be nothing else is taken for that.
    if file.path in told.external and kind in {Kind.PICKLE, Kind.UNKNOWN} and not is_text(head):
        check_pickles(entry, certain=False, broken=True)
    else:
        _check_kind(entry, kind, what, told)
    if kind is not Kind.ZIP and has_zip_at_end(entry.stream, entry.size):
        entry.report(
            Check.POLYGLOT, Severity.DANGER, "a zip archive hangs on its end: another reader sees other content"
        )
    return digest


def _check_kind(entry: Entry, kind: Kind, what: str, told: Told) -> None:
    """Do the check that belongs to a kind of file."""
    if kind is Kind.TENSORS:
        check_tensors(entry, what, told)
    elif kind is Kind.ZIP:
        _check_zip(entry, told)
    elif kind is Kind.ARRAY:
        check_array(entry)
    elif kind is Kind.PICKLE:
        check_pickles(entry, certain=True)
    elif kind is Kind.HDF5:
        _check_hdf5(entry)
    elif kind in {Kind.EXECUTABLE, Kind.CODE} or is_script(entry.head):
        what = "a script" if kind not in {Kind.EXECUTABLE, Kind.CODE} else what
        entry.report(Check.CODE, Severity.DANGER, f"{what}; a model needs none: remove it")
    else:
        _check_plain(entry, kind, what, told)


def _check_plain(entry: Entry, kind: Kind, what: str, told: Told) -> None:
    if kind is Kind.JSON:
        check_json(entry, told)
    elif kind is Kind.TEMPLATE:
        _check_template_file(entry, told)
    elif kind is Kind.ARCHIVE:
        entry.report(Check.ARCHIVE, Severity.SUSPECT, f"{what}: it is not looked into; unpack or remove it")
    elif is_text(entry.head):
        # Also where the name promises bytes: a pickle of protocol 0 is text.
        if check_pickles(entry, certain=kind is Kind.PICKLE):
            return
        check_text(entry, told)
    elif kind is Kind.TEXT:
        entry.report(Check.UNKNOWN, Severity.SUSPECT, f"no text in UTF-8, though its name ends in {what}")
    elif kind is Kind.OPAQUE:
        check_pickles(entry, certain=False, broken=True)
    elif not check_pickles(entry, certain=False, broken=True):
        entry.report(Check.UNKNOWN, Severity.SUSPECT, f"bytes {what} that nothing here can look into; remove it")


def _check_template_file(entry: Entry, told: Told) -> None:
    data = entry.read_whole()
    try:
        text = None if data is None else data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = None
    if text is None:
        entry.report(Check.TEMPLATE, Severity.SUSPECT, "no template in UTF-8")
        return
    told.templates += 1
    check_template(entry, text, "")


def _check_zip(entry: Entry, told: Told) -> None:
    if entry.member:
        entry.report(Check.ARCHIVE, Severity.SUSPECT, "an archive inside an archive")
        return
    for member in open_members(entry):
        kind, what = tell_kind(member.name, member.head)
        _check_kind(member, kind, what, told)


def _check_hdf5(entry: Entry) -> None:
    entry.report(
        Check.FORMAT, Severity.SUSPECT, "HDF5, in which code can hide; save the weights as safetensors and remove it"
    )
    entry.stream.seek(0)
    rest = b""
    while piece := entry.stream.read(_HDF5_PIECE):
        if any(word in rest + piece for word in _LAMBDA):
            entry.report(Check.CODE, Severity.DANGER, "a Lambda layer of Keras, which holds code")
            return
        rest = piece[-16:]


def _check_external(paths: set[str], found: Collector, told: Told) -> None:
    for place, by in sorted(told.external.items()):
        if place not in paths:
            text = f"its tensors stand in {show(place, 80)}, which is not part of the model"
            found.add(Finding(by, Check.FORMAT, Severity.DANGER, "", text))


def _check_licence(declared: str | None, found: Collector, told: Told) -> str:
    """Hold what the files say against what is declared or, where nothing is, against the first of them."""
    read = read_expression(declared) if declared else None
    if declared and read is None:
        text = f'"{show(declared, 60)}" is no SPDX licence expression; write "Apache-2.0" or "LicenseRef-…"'
        found.add(Finding("", Check.LICENCE, Severity.SUSPECT, "", text))
    source = "declared is"
    for place, text in told.licences:
        other = read_expression(text)
        if other is None:
            continue
        if read is None:
            read, source = other, f"{show(place, 60)} says"
        elif not agree(read[1], other[1]):
            says = f"it says {show(text, 60)}, {source} {show(read[0], 60)}"
            found.add(Finding(place, Check.LICENCE, Severity.SUSPECT, "", says))
    return read[0] if read else ""
