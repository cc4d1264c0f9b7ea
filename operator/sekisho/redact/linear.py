"""RE2 over bytes without what its wrapper for Python adds to each call, which takes as long as a short text's pass."""

from collections.abc import Callable
from typing import Any, Final

import re2

# The tests hold these two to what the wrapper says.
_ANYWHERE: Final[Any] = re2._Anchor.UNANCHORED  # noqa: SLF001
_NOWHERE: Final = -1
Match = Callable[[Any, bytes, int, int], list[tuple[int, int]]]


class Linear:
    """An expression of RE2, without groups, which never matches nothing; time is linear in what it reads.

    Args:
        pattern: Of RE2's syntax.
        any_case: Whether upper and lower case are one, and a dot stands for the end of a line too.
        memory_bytes: What the compiled whole and its states may take.

    Raises:
        ValueError: It matches nothing.
    """

    __slots__ = ("_compiled", "_match")

    def __init__(self, pattern: str, *, any_case: bool = False, memory_bytes: int = 64 << 20) -> None:
        options = re2.Options()
        options.max_mem = memory_bytes
        options.case_sensitive = not any_case
        options.dot_nl = any_case
        # Held, since what it calls is part of it.
        self._compiled: Any = re2.compile(pattern.encode(), options)
        self._match: Match = self._compiled._regexp.Match  # noqa: SLF001
        if self.stands_in(b""):
            raise ValueError("an expression that matches nothing is found everywhere, and never to the end")

    def stands_in(self, data: bytes) -> bool:
        """Tell whether there is any match in UTF-8."""
        return self._match(_ANYWHERE, data, 0, len(data))[0][0] != _NOWHERE

    def find(self, data: bytes) -> list[tuple[int, int]]:
        """Return where matches begin and end in UTF-8, in bytes; of those that begin at one place the first written."""
        match, end, places = self._match, len(data), []
        place = match(_ANYWHERE, data, 0, end)[0]
        while place[0] != _NOWHERE:
            places.append(place)
            place = match(_ANYWHERE, data, place[1], end)[0]
        return places
