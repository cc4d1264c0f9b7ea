"""Reports of SEV-SNP and TDX through the kernel's configfs-tsm (its ABI: configfs-tsm-report). Blocking."""

from pathlib import Path
from typing import Final

from sekisho.attest.certtable import MAX_TABLE_BYTES, read_certificate_chain
from sekisho.attest.evidence import UnverifiedEvidence
from sekisho.errors import Reason, RefusedError, UnavailableError

KINDS: Final = {"sev_guest": "snp", "tdx_guest": "tdx"}
_ENTRY: Final = "sekisho-attester"
_MAX_REPORT: Final = 32 * 1024


def read_report(root: Path, data: bytes) -> UnverifiedEvidence:
    """Have the firmware sign 64 bytes; only one call may run at a time.

    Args:
        root: /sys/kernel/config/tsm.
        data: The report data.

    Raises:
        RefusedError: EvidenceMissing where the firmware is of a kind that nobody verifies, or refuses; EvidenceInvalid
            where the host's table of certificates cannot be read.
        UnavailableError: EvidenceMissing; somebody else wrote into the entry.
    """
    entry = root / "report" / _ENTRY
    try:
        try:
            entry.mkdir()
        except FileExistsError:  # left by a process that was killed; one attester runs on a node
            entry.rmdir()
            entry.mkdir()
        try:
            (entry / "inblob").write_bytes(data)
            report = _read(entry / "outblob", _MAX_REPORT)
            provider = _read(entry / "provider", 64).decode("ascii", "replace").strip()
            # Only what comes from a host has more to say; others do not even show the file.
            table = _read(entry / "auxblob", MAX_TABLE_BYTES) if (entry / "auxblob").exists() else b""
            writes = _read(entry / "generation", 16).strip()
        finally:
            entry.rmdir()
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise RefusedError(Reason.EVIDENCE_MISSING, f"the firmware gives no report at {root}: {why}") from error
    if writes != b"1":
        raise UnavailableError(Reason.EVIDENCE_MISSING, "somebody else wrote into the report's entry; ask again")
    if provider not in KINDS:
        raise RefusedError(Reason.EVIDENCE_MISSING, f"reports of {provider[:32]!r} are of no known kind")
    return UnverifiedEvidence(KINDS[provider], report, certificates=read_certificate_chain(table))


def _read(path: Path, most: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(f"{path.name} is longer than {most} bytes")
    return data
