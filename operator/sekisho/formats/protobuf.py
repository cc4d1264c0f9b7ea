"""The wire format of protobuf, walked field by field without a schema; what nobody asks for is passed over unread."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sekisho.errors import RefusedError
from sekisho.formats.cursor import Cursor
from sekisho.formats.layout import refuse

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAX_FIELDS: Final = 2 * 1024 * 1024


@dataclass(slots=True)
class Wire:
    """A walk through one file, and how many fields it may still pass."""

    cursor: Cursor
    fields_left: int = MAX_FIELDS

    def fields(self, end: int) -> Iterator[tuple[int, int, int]]:
        """Yield (field, wire type, length or value) up to `end`; the caller consumes the bytes of a length."""
        while self.cursor.place < end:
            self.fields_left -= 1
            if self.fields_left < 0:
                raise self._refuse(f"it has more than {MAX_FIELDS} fields")
            tag = self.varint()
            number, wire = tag >> 3, tag & 7
            if number == 0:
                raise self._refuse(f"the field before byte {self.cursor.place} has the number 0")
            value = self._read_value(wire, end)
            yield number, wire, value
        if self.cursor.place != end:
            raise self._refuse(f"a part ends at byte {end}, its last field at {self.cursor.place}")

    def _read_value(self, wire: int, end: int) -> int:
        if wire == VARINT:
            return self.varint()
        if wire == BYTES:
            length = self.varint()
            if length > end - self.cursor.place:
                raise self._refuse(f"a field of {length} bytes at byte {self.cursor.place} passes the end at {end}")
            return length
        if wire not in (FIXED32, FIXED64):
            raise self._refuse(
                f"the field before byte {self.cursor.place} has the wire type {wire}, which is not known"
            )
        return self.cursor.number(4 if wire == FIXED32 else 8, what="a number")

    def varint(self) -> int:
        """Read a number of up to 10 bytes."""
        value = 0
        for shift in range(0, 70, 7):
            byte = self.cursor.number(1, what="a number")
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value & (2**64 - 1)
        raise self._refuse(f"the number before byte {self.cursor.place} has more than 10 bytes")

    def text(self, length: int, *, most: int) -> str:
        """Read a text of `length` bytes, at most `most`."""
        try:
            return self.cursor.take(length, most=most, what="a text").decode()
        except UnicodeDecodeError as error:
            raise self._refuse(f"the text before byte {self.cursor.place} is not UTF-8") from error

    def skip(self, wire: int, length: int) -> None:
        """Pass over what stands behind a length; a number was consumed already."""
        if wire == BYTES:
            self.cursor.skip(length, what="a field")

    def _refuse(self, text: str) -> RefusedError:
        return refuse(self.cursor.kind, text)
