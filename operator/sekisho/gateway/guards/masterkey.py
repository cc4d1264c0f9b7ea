"""The key that placeholders are made from: a file of a mounted Secret, read again when it changes."""

import os
from pathlib import Path
from typing import Final

from sekisho.errors import Reason, UnavailableError
from sekisho.redact.placeholders import MIN_MASTER_BYTES

_MAX_BYTES: Final = 4096


class MasterKey:
    """Reads the key; without one nothing that must be redacted is relayed.

    Args:
        path: Of the file; its bytes are the key as they are.
    """

    def __init__(self, path: Path) -> None:
        self._path = os.fspath(path)
        self._seen: tuple[int, int, int] | None = None
        self._key = b""

    def read(self) -> bytes:
        """Return the key as it is by now; secret.

        Raises:
            UnavailableError: `RedactionUnavailable`, there is no file, or it is no key.
        """
        try:
            stat = os.stat(self._path)  # noqa: PTH116 - with each request, and half the time
            seen = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
            if seen != self._seen:
                with Path(self._path).open("rb") as file:
                    self._key = file.read(_MAX_BYTES)
                self._seen = seen
        except OSError:
            self._seen = None
            raise _unavailable("there is no key of placeholders") from None
        if len(self._key) < MIN_MASTER_BYTES:
            raise _unavailable(f"the key of placeholders has {len(self._key)} bytes, {MIN_MASTER_BYTES} are needed")
        return self._key


def _unavailable(why: str) -> UnavailableError:
    return UnavailableError(
        Reason.REDACTION_UNAVAILABLE,
        f"this request may only leave redacted, and nothing can be redacted: {why}; the administrators create the "
        "Secret that the chart's gateway.placeholders names",
    )
