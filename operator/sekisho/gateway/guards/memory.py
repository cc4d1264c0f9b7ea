"""What was found in texts of earlier requests, by their digest under a key of this process, never the text. Pure.

Each caller has what it sent itself alone: how long a look takes tells nobody what others sent.
"""

import hashlib
from functools import lru_cache
from typing import Final, Generic, TypeVar

_MAX_KEPT: Final = 4096
# Looking at a shorter text takes no longer than remembering it.
_SHORT: Final = 128
Value = TypeVar("Value")


@lru_cache(maxsize=1024)
def name_caller(username: str) -> bytes:
    """Return 16 bytes that stand for a caller in the names of what is remembered."""
    return hashlib.blake2b(username.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class Memory(Generic[Value]):
    """A conversation brings its earlier turns along each time: what was found in one need not be looked for again.

    Args:
        key: At most 64 bytes, secret, of this process alone.
    """

    __slots__ = ("_kept", "_key")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._kept: dict[bytes, Value] = {}

    def name(self, text: str, kind: str, whose: bytes = b"") -> bytes | None:
        """Return what a text of a kind is remembered by, None where it is not worth it; `whose`: see `name_caller`."""
        if len(text) < _SHORT:
            return None
        said = text.encode("utf-8", "surrogatepass")
        return hashlib.blake2b(said, digest_size=32, key=self._key, salt=whose, person=kind.encode()).digest()

    def get(self, name: bytes | None) -> Value | None:
        """Return what is remembered, if anything is."""
        return self._kept.get(name) if name is not None else None

    def keep(self, name: bytes | None, value: Value) -> None:
        """Remember; where there is no room, the older half is forgotten."""
        if name is None:
            return
        if len(self._kept) >= _MAX_KEPT:
            self._kept = dict(list(self._kept.items())[_MAX_KEPT // 2 :])
        self._kept[name] = value

    def __len__(self) -> int:
        """Return how many texts are remembered."""
        return len(self._kept)
