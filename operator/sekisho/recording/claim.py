"""One process a folder: two that write one log would each sign a tree without the other's entries."""

import errno
import fcntl
import os
from pathlib import Path
from typing import Final

LOCK: Final = "lock"


class Claim:
    """A folder that this process alone writes; a kill gives it back, since the kernel holds it.

    Args:
        folder: Made where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor = -1

    def take(self) -> None:
        """Take the folder; nothing happens where it is taken already.

        Raises:
            OSError: The disk; EBUSY while another process has it, such as a pod that was replaced before it ended.
        """
        if self._descriptor >= 0:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise OSError(
                errno.EBUSY, "another process still writes this record; it goes on once that has ended"
            ) from None
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the folder back."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
