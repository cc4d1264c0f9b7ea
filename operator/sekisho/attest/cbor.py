"""Read and write the CBOR (RFC 8949) that attestation documents are made of; bounded in bytes, depth and items.

No tags, floats or strings in pieces: documents have none. A map names each key once, so that two readers of one
document cannot read two things.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from sekisho.errors import Reason, RefusedError

CborValue: TypeAlias = (
    "int | bytes | str | bool | Sequence[CborValue] | Mapping[int | str, CborValue] | None"  # what JSON lacks: bytes
)
MAX_BYTES: Final = 64 * 1024
MAX_DEPTH: Final = 8
MAX_ITEMS: Final = 4096
_BREAK: Final = 0xFF
_SIMPLE: Final[Mapping[int, bool | None]] = {20: False, 21: True, 22: None, 23: None}
_WIDTHS: Final[Mapping[int, int]] = {24: 1, 25: 2, 26: 4, 27: 8}
_INDEFINITE: Final = 31


@dataclass(slots=True)
class _Reader:
    """A place in CBOR bytes.

    Attributes:
        name: What the bytes claim to be, for refusals.
        items: How many were read so far.
    """

    data: bytes
    name: str
    place: int = 0
    items: int = 0

    def take(self, length: int) -> bytes:
        """Read exactly `length` bytes."""
        if length > len(self.data) - self.place:
            raise self.refuse(f"{length} bytes at byte {self.place} pass the end of {len(self.data)}")
        self.place += length
        return self.data[self.place - length : self.place]

    def number(self, low: int) -> int:
        """Read the number that the low five bits of a head announce."""
        if low < 24:
            return low
        if low not in _WIDTHS:
            raise self.refuse(f"a length at byte {self.place - 1} is not one that CBOR knows")
        return int.from_bytes(self.take(_WIDTHS[low]), "big")

    def ended(self) -> bool:
        """Pass over a break if one comes next."""
        if self.place < len(self.data) and self.data[self.place] == _BREAK:
            self.place += 1
            return True
        return False

    def refuse(self, what: str) -> RefusedError:
        """Say what is wrong with the bytes."""
        return RefusedError(Reason.EVIDENCE_INVALID, f"{self.name} is not CBOR that can be read: {what}")


def parse_cbor(data: bytes, *, name: str) -> CborValue:
    """Parse one value that takes all of `data`, at most 64 KiB, 8 levels and 4096 items.

    Raises:
        RefusedError: EvidenceInvalid, naming the place.
    """
    reader = _Reader(data, name)
    if len(data) > MAX_BYTES:
        raise reader.refuse(f"it has {len(data)} bytes, {MAX_BYTES} allowed")
    value = _read(reader, 0)
    if reader.place != len(data):
        raise reader.refuse(f"{len(data) - reader.place} bytes follow its end")
    return value


def encode_cbor(value: CborValue) -> bytes:
    """Spell a value in CBOR's shortest form; maps keep their order."""
    match value:
        case None:
            return b"\xf6"
        case bool():
            return b"\xf5" if value else b"\xf4"
        case int():
            return _head(0, value) if value >= 0 else _head(1, -1 - value)
        case bytes():
            return _head(2, len(value)) + value
        case str():
            text = value.encode()
            return _head(3, len(text)) + text
        case Mapping():
            parts = [encode_cbor(key) + encode_cbor(item) for key, item in value.items()]
            return _head(5, len(parts)) + b"".join(parts)
        case _:
            return _head(4, len(value)) + b"".join(encode_cbor(item) for item in value)


def _head(major: int, number: int) -> bytes:
    if number < 24:
        return bytes([major << 5 | number])
    low, width = next((low, width) for low, width in _WIDTHS.items() if number < 1 << 8 * width)
    return bytes([major << 5 | low]) + number.to_bytes(width, "big")


def _read(reader: _Reader, depth: int) -> CborValue:
    reader.items += 1
    if depth > MAX_DEPTH or reader.items > MAX_ITEMS:
        raise reader.refuse(f"it has more than {MAX_DEPTH} levels or {MAX_ITEMS} items")
    head = reader.take(1)[0]
    major, low = head >> 5, head & 0x1F
    match major:
        case 0:
            return reader.number(low)
        case 1:
            return -1 - reader.number(low)
        case 2:
            return reader.take(reader.number(low))
        case 3:
            return _read_text(reader, low)
        case 4:
            return _read_list(reader, low, depth)
        case 5:
            return _read_map(reader, low, depth)
        case 7 if low in _SIMPLE:
            return _SIMPLE[low]
        case _:
            raise reader.refuse(f"what begins with 0x{head:02x} at byte {reader.place - 1} is not taken")


def _read_text(reader: _Reader, low: int) -> str:
    try:
        return reader.take(reader.number(low)).decode()
    except UnicodeDecodeError as error:
        raise reader.refuse(f"a text before byte {reader.place} is not UTF-8") from error


def _read_list(reader: _Reader, low: int, depth: int) -> list[CborValue]:
    result: list[CborValue] = []
    more = _counted(reader, low)
    while more():
        result.append(_read(reader, depth + 1))
    return result


def _read_map(reader: _Reader, low: int, depth: int) -> dict[int | str, CborValue]:
    result: dict[int | str, CborValue] = {}
    more = _counted(reader, low)
    while more():
        key = _read(reader, depth + 1)
        if not isinstance(key, int | str) or isinstance(key, bool) or key in result:
            raise reader.refuse(f"a key of a map before byte {reader.place} is no number or text, or stands twice")
        result[key] = _read(reader, depth + 1)
    return result


def _counted(reader: _Reader, low: int) -> Callable[[], bool]:
    """Return what tells whether one more entry follows; a count is never believed beyond the bytes there are."""
    if low == _INDEFINITE:
        return lambda: not reader.ended()
    left = iter(range(reader.number(low)))
    return lambda: next(left, None) is not None
