"""Reports of SEV-SNP and TDX through the kernel's configfs-tsm (its ABI: configfs-tsm-report). Blocking."""

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sekisho.attest.evidence import UnverifiedEvidence
from sekisho.errors import Reason, RefusedError, UnavailableError

KINDS: Final = {"sev_guest": "snp", "tdx_guest": "tdx"}
_ENTRY: Final = "sekisho-attester"
_MAX_REPORT: Final = 32 * 1024
_MAX_TABLE: Final = 32 * 1024
_ROW: Final = 24
# AMD GHCB specification, clause 4.1.8.1: VCEK and VLEK come first, then who signed them.
_CERTIFICATES: Final = tuple(
    uuid.UUID(text)
    for text in (
        "63da758d-e664-4564-adc5-f4b93be8accd",
        "a8074bc2-a25a-483e-aae6-39c045a0b8a1",
        "4ab7b379-bbac-4fe4-a02f-05aef327c782",
        "c0b406a4-a803-4952-9743-3fb6014cd0ae",
    )
)


def read_report(root: Path, data: bytes, *, make: Callable[[Path], None] = Path.mkdir) -> UnverifiedEvidence:
    """Have the firmware sign 64 bytes; only one call may run at a time.

    Args:
        root: /sys/kernel/config/tsm.
        data: The report data.
        make: Makes an entry; the kernel fills it.

    Raises:
        RefusedError: EvidenceMissing; the firmware is of a kind that nobody verifies, or refuses.
        UnavailableError: EvidenceMissing; somebody else wrote into the entry.
    """
    entry = root / "report" / _ENTRY
    try:
        make(entry)
        try:
            (entry / "inblob").write_bytes(data)
            report = _read(entry / "outblob", _MAX_REPORT)
            provider = _read(entry / "provider", 64).decode("ascii", "replace").strip()
            table = _read(entry / "auxblob", _MAX_TABLE)
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
    return UnverifiedEvidence(KINDS[provider], report, certificates=parse_certificate_table(table))


def parse_certificate_table(table: bytes) -> tuple[bytes, ...]:
    """Return the certificates of AMD's table, VCEK or VLEK first; what is not as it must be is left out."""
    found: dict[uuid.UUID, bytes] = {}
    for at in range(0, len(table) - _ROW + 1, _ROW):
        row = table[at : at + _ROW]
        begin, size = int.from_bytes(row[16:20], "little"), int.from_bytes(row[20:], "little")
        if not any(row):
            break
        content = table[begin : begin + size]
        if size and len(content) == size:
            found[uuid.UUID(bytes=row[:16])] = content
    return tuple(found[name] for name in _CERTIFICATES if name in found)


def _read(path: Path, most: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise OSError(f"{path.name} is longer than {most} bytes")
    return data
