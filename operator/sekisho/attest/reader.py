"""Read little-endian fields of something that came from outside, never past its end."""

from sekisho.errors import Reason, RefusedError


class Reader:
    """A place in some bytes.

    Args:
        data: What is read.
        name: What it is, for messages: "the quote".
    """

    __slots__ = ("_at", "_data", "_name")

    def __init__(self, data: bytes, name: str) -> None:
        self._data = data
        self._name = name
        self._at = 0

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes.

        Raises:
            RefusedError: EvidenceInvalid; there are fewer.
        """
        if size > len(self._data) - self._at:
            raise RefusedError(
                Reason.EVIDENCE_INVALID,
                f"{self._name} has {len(self._data)} bytes and ends within {size} that begin at byte {self._at}",
            )
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self, size: int) -> int:
        """Return the next `size` bytes as a number, lowest byte first.

        Raises:
            RefusedError: EvidenceInvalid; there are fewer.
        """
        return int.from_bytes(self.take(size), "little")

    @property
    def at(self) -> int:
        """How many bytes were read."""
        return self._at

    def rest(self) -> bytes:
        """Return all that was not read yet."""
        return self.take(len(self._data) - self._at)
