"""The certificate table that a host hands to SNP guests: GHCB specification, SNP extended guest request."""

import struct
import uuid
from typing import Final

from sekisho.errors import Reason, RefusedError

MAX_TABLE_BYTES: Final = 64 * 1024
MAX_CERTIFICATE_BYTES: Final = 16 * 1024
_MAX_ENTRIES: Final = 16
_ENTRY: Final = struct.Struct("<16sII")
_ORDER: Final = (
    "63da758d-e664-4564-adc5-f4b93be8accd",  # VCEK
    "a8074bc2-a25a-483e-aae6-39c045a0b8a1",  # VLEK
    "4ab7b379-bbac-4fe4-a02f-05aef327c782",  # ASK, or ASVK
    "c0b406a4-a803-4952-9743-3fb6014cd0ae",  # ARK
)


def read_certificate_chain(table: bytes) -> tuple[bytes, ...]:
    """Return the certificates of a table, leaf first, DER; what else it holds is passed over. Nothing is verified.

    Raises:
        RefusedError: EvidenceInvalid; it is too large, not ended, or points outside of itself.
    """
    if len(table) > MAX_TABLE_BYTES:
        raise _invalid(f"has {len(table)} bytes, {MAX_TABLE_BYTES} allowed")
    if not table.strip(b"\0"):
        return ()
    found: dict[str, bytes] = {}
    for index in range(_MAX_ENTRIES + 1):
        if (index + 1) * _ENTRY.size > len(table):
            raise _invalid("does not end")
        name, offset, length = _ENTRY.unpack_from(table, index * _ENTRY.size)
        if not any(name):
            return tuple(found[item] for item in _ORDER if item in found)
        if offset + length > len(table) or not 0 < length <= MAX_CERTIFICATE_BYTES:
            raise _invalid(f"names {length} bytes at {offset}, which it does not have")
        found[str(uuid.UUID(bytes=name))] = table[offset : offset + length]
    raise _invalid(f"has more than {_MAX_ENTRIES} entries")


def _invalid(what: str) -> RefusedError:
    return RefusedError(Reason.EVIDENCE_INVALID, f"the certificate table {what}")
