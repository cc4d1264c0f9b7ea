"""Read SPDM 1.1 measurements (DMTF DSP0274): a request for all signed measurements of a device, and its answer.

The two messages, one after the other and without the signature at the end, are what the device signs (the standard's
L1/L2). The nonce of the request is the asker's; the nonce of the answer is the device's own.
"""

from dataclasses import dataclass
from typing import Final

from sekisho.errors import Reason, RefusedError

MAX_REPORT_BYTES: Final = 64 * 1024
NONCE_BYTES: Final = 32
REQUEST_BYTES: Final = 37
_VERSION: Final = 0x11
_GET_MEASUREMENTS: Final = 0xE0
_MEASUREMENTS: Final = 0x60
_SIGNED: Final = 0x01
_ALL: Final = 0xFF
_MAX_SLOT: Final = 7
_DMTF: Final = 0x01
_RAW: Final = 0x80
_MAX_VALUE: Final = 1024
_LAST_MEASUREMENT: Final = 0xEF  # indexes above are reserved for other things
_PADDING: Final = b"\0\0\0"


@dataclass(frozen=True, slots=True)
class Block:
    """One measurement.

    Attributes:
        index: 1 to 239; what stands there is the vendor's to say.
        kind: DMTF's kind: 0 immutable ROM, 1 mutable firmware, 2 hardware configuration, 3 firmware configuration, …
        raw: Whether the value is the thing itself, not its digest.
    """

    index: int
    kind: int
    raw: bool
    value: bytes


@dataclass(frozen=True, slots=True)
class SpdmReport:
    """A request and its answer; unverified.

    Attributes:
        nonce: Of the request, 32 bytes.
        blocks: All measurements, in the device's order; every index stands once.
        opaque: What the vendor adds.
        signed: The bytes that are signed.
        signature: What follows them.
    """

    nonce: bytes
    blocks: tuple[Block, ...]
    opaque: bytes
    signed: bytes
    signature: bytes


def parse_spdm(data: bytes, *, signature_bytes: int) -> SpdmReport:
    """Parse a request of 37 bytes and the answer after it.

    Up to three zero bytes may follow: some drivers round the size up. They are not signed, and nothing else may stand
    there.

    Raises:
        RefusedError: EvidenceInvalid; another version or message, not signed, not all measurements, or cut.
    """
    if len(data) > MAX_REPORT_BYTES:
        raise refuse(f"it has {len(data)} bytes, {MAX_REPORT_BYTES} allowed")
    nonce, slot = _parse_request(data[:REQUEST_BYTES])
    cursor = Cursor(data, REQUEST_BYTES)
    head = cursor.take(4, "the head of the answer")
    if (head[0], head[1]) != (_VERSION, _MEASUREMENTS):
        raise refuse(f"the answer is message 0x{head[1]:02x} of version 0x{head[0]:02x}, not MEASUREMENTS of SPDM 1.1")
    if head[3] & 0x0F != slot:
        raise refuse(f"the answer is of certificate slot {head[3] & 0x0F}, slot {slot} was asked")
    count = cursor.number(1, "the number of measurements")
    blocks = _parse_blocks(cursor.take(cursor.number(3, "the size of the measurements"), "the measurements"), count)
    cursor.take(NONCE_BYTES, "the nonce of the answer")
    opaque = cursor.take(cursor.number(2, "the size of the opaque data"), "the opaque data")
    signed = data[: cursor.place]
    signature = cursor.take(signature_bytes, "the signature")
    if not _PADDING.startswith(data[cursor.place :]):
        raise refuse(f"{len(data) - cursor.place} bytes that nobody signed follow its signature")
    return SpdmReport(nonce, blocks, opaque, signed, signature)


@dataclass(slots=True)
class Cursor:
    """A place in a report; lengths are held against what is left."""

    data: bytes
    place: int = 0

    def take(self, length: int, what: str) -> bytes:
        """Read exactly `length` bytes."""
        if length > len(self.data) - self.place:
            raise refuse(f"{what} of {length} bytes at byte {self.place} passes the end of {len(self.data)}")
        self.place += length
        return self.data[self.place - length : self.place]

    def number(self, width: int, what: str) -> int:
        """Read an unsigned little-endian number."""
        return int.from_bytes(self.take(width, what), "little")

    def left(self) -> int:
        """Tell how many bytes there are still."""
        return len(self.data) - self.place


def refuse(what: str) -> RefusedError:
    """Say what is wrong with a report."""
    return RefusedError(Reason.EVIDENCE_INVALID, f"the device's SPDM report cannot be used: {what}")


def _parse_request(data: bytes) -> tuple[bytes, int]:
    """Return nonce and certificate slot of a request for all measurements, signed."""
    if len(data) != REQUEST_BYTES:
        raise refuse(f"its request has {len(data)} bytes, not {REQUEST_BYTES}")
    if (data[0], data[1]) != (_VERSION, _GET_MEASUREMENTS):
        raise refuse(
            f"its request is message 0x{data[1]:02x} of version 0x{data[0]:02x}, not GET_MEASUREMENTS of SPDM 1.1"
        )
    if data[2] & _SIGNED == 0 or data[3] != _ALL:
        raise refuse("its request does not ask for all measurements with a signature")
    if data[36] > _MAX_SLOT:
        raise refuse(f"its request names certificate slot {data[36]}, slots are 0 to {_MAX_SLOT}")
    return data[4:36], data[36]


def _parse_blocks(data: bytes, count: int) -> tuple[Block, ...]:
    cursor, blocks = Cursor(data), dict[int, Block]()
    for _ in range(count):
        block = _parse_block(cursor)
        if block.index in blocks:
            raise refuse(f"measurement {block.index} stands twice")
        blocks[block.index] = block
    if cursor.left():
        raise refuse(f"{cursor.left()} bytes of the measurements belong to none of the {count}")
    if not blocks:
        raise refuse("it has no measurements")
    return tuple(blocks.values())


def _parse_block(cursor: Cursor) -> Block:
    index = cursor.number(1, "the index of a measurement")
    if not 1 <= index <= _LAST_MEASUREMENT:
        raise refuse(f"a measurement has index {index}, 1 to {_LAST_MEASUREMENT} are measurements")
    if cursor.number(1, "the specification of a measurement") != _DMTF:
        raise refuse(f"measurement {index} is not spelt as DMTF specifies")
    size = cursor.number(2, "the size of a measurement")
    kind = cursor.number(1, "the kind of a measurement")
    length = cursor.number(2, "the length of a measurement's value")
    if length != size - 3 or not 0 < length <= _MAX_VALUE:
        raise refuse(f"measurement {index} has {length} bytes in {size}, 1 to {_MAX_VALUE} and three for its head fit")
    return Block(index, kind & ~_RAW, bool(kind & _RAW), cursor.take(length, f"measurement {index}"))
