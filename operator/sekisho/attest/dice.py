"""Find the firmware identifiers that a device's boot ROM wrote into its certificate (TCG DICE).

The extension comes under two names and in several forms: Hopper's is older than the standard, Blackwell's is the
standard's DiceTcbInfo. All hold the digest of the firmware as a sequence of SHA-384's OID and 48 bytes. Those are
looked for; what else stands there is not needed.
"""

from collections.abc import Iterator
from typing import Final

from sekisho.errors import Reason, RefusedError

DICE_OIDS: Final = ("2.23.133.5.4.1", "2.23.133.5.4.1.1")
FWID_BYTES: Final = 48
MAX_EXTENSION_BYTES: Final = 4096
_MAX_DEPTH: Final = 8
_OBJECT_ID: Final = 0x06
_OCTETS: Final = 0x04
_CONSTRUCTED: Final = 0x20
_SHA384: Final = bytes.fromhex("608648016503040202")


def find_fwids(extension: bytes) -> tuple[bytes, ...]:
    """Return the SHA-384 firmware identifiers in the value of the extension, in their order.

    Raises:
        RefusedError: EvidenceInvalid; not DER, too long or too deep.
    """
    if len(extension) > MAX_EXTENSION_BYTES:
        raise _invalid(f"it has {len(extension)} bytes, {MAX_EXTENSION_BYTES} allowed")
    return tuple(_walk(extension, 0))


def _walk(data: bytes, depth: int) -> Iterator[bytes]:
    if depth > _MAX_DEPTH:
        raise _invalid(f"it is deeper than {_MAX_DEPTH} levels")
    items = tuple(_split(data))
    if [tag for tag, _ in items] == [_OBJECT_ID, _OCTETS] and items[0][1] == _SHA384 and len(items[1][1]) == FWID_BYTES:
        yield items[1][1]
    for tag, value in items:
        if tag & _CONSTRUCTED:
            yield from _walk(value, depth + 1)


def _split(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Split DER into tags of one byte and values of definite length."""
    place = 0
    while place < len(data):
        head = data[place : place + 2]
        length, more = (head[1], 0) if len(head) == 2 else (0x80, 0)
        if length & 0x80:
            more = length & 0x7F
            if not 1 <= more <= 2 or len(data) < place + 2 + more:
                raise _invalid(f"a length at byte {place} cannot be read")
            length = int.from_bytes(data[place + 2 : place + 2 + more], "big")
        start = place + 2 + more
        place = start + length
        if place > len(data):
            raise _invalid(f"{length} bytes at byte {start} pass its end")
        yield head[0], data[start:place]


def _invalid(what: str) -> RefusedError:
    return RefusedError(Reason.EVIDENCE_INVALID, f"the firmware identifier of the certificate cannot be read: {what}")
