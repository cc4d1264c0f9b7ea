"""Find archives that hang on the end of another file: zip is read from its end, whatever stands before it."""

from typing import BinaryIO, Final

_END, _FIRST, _LOCATOR = b"PK\x05\x06", b"PK\x01\x02", b"PK\x06\x07"
_END_BYTES: Final = 22
_LOCATOR_BYTES: Final = 20
TAIL_BYTES: Final = 65_535 + _END_BYTES


def has_zip_at_end(stream: BinaryIO, size: int) -> bool:
    """Tell whether a reader of zip archives would find one by the last 64 KiB."""
    start = max(0, size - TAIL_BYTES)
    stream.seek(start)
    tail = stream.read(TAIL_BYTES)
    place = tail.rfind(_END)
    while place >= 0:
        if len(tail) - place >= _END_BYTES and _has_directory(stream, tail, place, start):
            return True
        place = tail.rfind(_END, 0, place)
    return False


def _has_directory(stream: BinaryIO, tail: bytes, place: int, start: int) -> bool:
    """Look where the directory of such an archive would begin: four bytes of chance are not enough to call it one."""
    if tail[max(0, place - _LOCATOR_BYTES) : place].startswith(_LOCATOR):
        return True
    length = int.from_bytes(tail[place + 12 : place + 16], "little")
    if not length <= start + place:
        return False
    stream.seek(start + place - length)
    return stream.read(4) == _FIRST
