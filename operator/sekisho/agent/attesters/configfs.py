"""Reports of confidential guests from the kernel: configfs-tsm, for SEV-SNP and TDX.

As Documentation/ABI/testing/configfs-tsm-report has it: make a folder, write 64 bytes into `inblob`, read `outblob`;
`generation` tells whether somebody else wrote in between.
"""

import contextlib
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sekisho.attest.binding import Binding
from sekisho.attest.certtable import read_certificate_chain
from sekisho.attest.eventlog import MAX_AREA_BYTES, trim_padding
from sekisho.attest.evidence import UnverifiedEvidence
from sekisho.errors import Reason, SekishoError, UnavailableError

REPORTS: Final = Path("/sys/kernel/config/tsm/report")
CCEL: Final = Path("/sys/firmware/acpi/tables/data/CCEL")
MAX_REPORT_BYTES: Final = 64 * 1024
MAX_LOG_BYTES: Final = 192 * 1024
_ATTEMPTS: Final = 5
_PROVIDERS: Final = {"sev_guest": "snp", "tdx_guest": "tdx"}


@dataclass(frozen=True, slots=True)
class TsmReports:
    """The kernel's reports.

    Attributes:
        root: The folder of reports; not there where the kernel has none, or where this pod may not see it.
        event_log: The log behind a TDX guest's measurements, where it can be read.
    """

    root: Path = REPORTS
    event_log: Path = CCEL

    @property
    def kinds(self) -> frozenset[str]:
        """Name what kernels give."""
        return frozenset(_PROVIDERS.values())

    def collect(self, binding: Binding) -> tuple[UnverifiedEvidence, ...]:
        """Return the guest's report over the 64 bytes of the binding (see the Protocol)."""
        if not self.root.is_dir():
            return ()
        try:
            with _make_entry(self.root) as entry:
                return self._read(entry, binding.digest(64))
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "its answer cannot be read"
            raise UnavailableError(
                Reason.EVIDENCE_MISSING, f"the kernel gives no report at {self.root}: {why}"
            ) from error

    def _read(self, entry: Path, report_data: bytes) -> tuple[UnverifiedEvidence, ...]:
        kind = _PROVIDERS.get(_read_text(entry / "provider"))
        if kind is None:
            return ()
        for _ in range(_ATTEMPTS):
            written = int(_read_text(entry / "generation")) + 1
            _write(entry / "inblob", report_data)
            report = _read_blob(entry / "outblob", most=MAX_REPORT_BYTES)
            aux = _read_blob(entry / "auxblob", most=MAX_REPORT_BYTES) if kind == "snp" else b""
            if int(_read_text(entry / "generation")) == written:
                return (UnverifiedEvidence(kind, report, _read_chain(aux), self._read_log(kind)),)
        raise UnavailableError(
            Reason.EVIDENCE_MISSING, f"somebody else wrote at {self.root} in each of {_ATTEMPTS} attempts"
        )

    def _read_log(self, kind: str) -> tuple[tuple[str, bytes], ...]:
        if kind != "tdx":
            return ()
        with contextlib.suppress(OSError, ValueError):  # containers seldom see it; a policy may do without
            log = trim_padding(_read_blob(self.event_log, most=MAX_AREA_BYTES))
            return (("eventLog", log),) if len(log) <= MAX_LOG_BYTES else ()
        return ()


@contextlib.contextmanager
def _make_entry(root: Path) -> Iterator[Path]:
    entry = root / f"sekisho-{secrets.token_hex(8)}"
    entry.mkdir(mode=0o700)
    try:
        yield entry
    finally:
        with contextlib.suppress(OSError):
            entry.rmdir()


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        if os.write(descriptor, data) != len(data):  # the kernel takes it in one piece or not at all
            raise ValueError
    finally:
        os.close(descriptor)


def _read_text(path: Path) -> str:
    with path.open(encoding="ascii") as file:
        return file.read(256).strip()


def _read_blob(path: Path, *, most: int) -> bytes:
    with path.open("rb", buffering=0) as file:
        data = b""
        while len(data) <= most and (chunk := file.read(most + 1 - len(data))):
            data += chunk
    if not 0 < len(data) <= most and path.name != "auxblob":
        raise ValueError
    return data[:most]


def _read_chain(aux: bytes) -> tuple[bytes, ...]:
    """Read what came along; where it cannot be read nothing did, and the broker takes its own collateral."""
    try:
        return read_certificate_chain(aux)
    except SekishoError:
        return ()
