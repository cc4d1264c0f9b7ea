"""Collateral of confidential machines (roots, revocation lists, TCB statements) from a mounted folder."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sekisho.attest.collateral import MAX_FILE_BYTES, MAX_FILES, Loaded, parse_collateral
from sekisho.attest.verifiers.select import Collateral

_LOG: Final = logging.getLogger(__name__)
_FOLLOW_SECONDS: Final = 30.0
Stamp = tuple[tuple[str, int, int], ...]


@dataclass(slots=True)
class HardwareFolder:
    """Files as `attest/collateral.py` names them; one that cannot be used is left out, and told of.

    Attributes:
        folder: It may be missing: then no evidence but that of TPMs can be verified.
        loaded: What the last reading brought.
    """

    folder: Path
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    loaded: Loaded = field(default_factory=lambda: Loaded(Collateral(), (), ()))
    _stamp: Stamp | None = None

    def load(self) -> bool:
        """Read the folder if it changed; blocking. Returns whether it was read."""
        paths = sorted(path for path in self.folder.glob("[!.]*") if path.is_file())[:MAX_FILES]
        stamp = tuple((path.name, path.stat().st_mtime_ns, path.stat().st_size) for path in paths)
        if stamp == self._stamp:
            return False
        self.loaded = parse_collateral({path.name: _read(path) for path in paths}, at=self.now())
        self._stamp = stamp
        for problem in self.loaded.problems[:32]:
            _LOG.warning("a file of collateral is left out", extra={"file": problem.file, "detail": problem.message})
        return True

    async def follow(self) -> None:
        """Look at the folder again and again; while it cannot be read, what was read before goes on."""
        while True:
            await asyncio.sleep(_FOLLOW_SECONDS)
            try:
                await asyncio.to_thread(self.load)
            except OSError as error:
                _LOG.error("collateral cannot be read anew", extra={"detail": error.strerror})


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_FILE_BYTES + 1)
