"""The collateral that a process verifies with: read from a folder, again when the folder changes. Never fetched."""

import asyncio
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sekisho.attest.collateral import MAX_FILE_BYTES, MAX_FILES, MAX_TOTAL_BYTES, Loaded, Problem, parse_collateral
from sekisho.attest.verifiers.select import Collateral
from sekisho.errors import Reason, RefusedError, SekishoError

_LOG: Final = logging.getLogger(__name__)
_CHECK_SECONDS: Final = 10.0
_RELOAD_SECONDS: Final = 3600.0
Stamp = tuple[tuple[str, int, int], ...]


class CollateralStore:
    """The files of one folder. The kubelet replaces those of ConfigMaps as a whole; a claim's are taken as they are.

    Attributes:
        loaded: What the last reading brought; replaced as a whole, so verifications under way keep theirs.
    """

    def __init__(self, folder: Path, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._folder, self._now = folder, now
        self._stamp: Stamp | None = None
        self._read_at: datetime | None = None
        self.loaded = Loaded(Collateral(), (), ())

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Files that are left out."""
        return self.loaded.problems

    def load(self) -> bool:
        """Read the folder if it changed, or was read long ago; blocking. Tells whether it was read.

        Raises:
            RefusedError: CollateralInvalid; there is more in it than anybody could mean.
            OSError: It cannot be looked into.
        """
        now, stamp = self._now(), _stamp(self._folder)
        fresh = self._read_at is not None and (now - self._read_at).total_seconds() < _RELOAD_SECONDS
        if stamp == self._stamp and fresh:
            return False
        files, skipped = read_folder(self._folder)
        loaded = parse_collateral(files, at=now)
        self.loaded = replace(loaded, problems=(*skipped, *loaded.problems))
        self._stamp, self._read_at = stamp, now
        return True

    async def follow(self, *, seconds: float = _CHECK_SECONDS) -> None:
        """Look at the folder again and again; what cannot be used is logged once for each reading.

        While the folder cannot be read, what was read before goes on.
        """
        self._tell()
        while True:
            await asyncio.sleep(seconds)
            try:
                if await asyncio.to_thread(self.load):
                    self._tell()
            except (SekishoError, OSError) as error:
                _LOG.error("collateral cannot be read anew", extra={"detail": str(error)})

    def ages(self, now: float) -> Iterator[tuple[str, float, float]]:
        """Yield for each kind how old its oldest item is, and how long its first to end is still good, in seconds."""
        kinds: dict[str, tuple[float, float]] = {}
        for item in self.loaded.items:
            if item.window is not None:
                begun, left = now - item.window.not_before.timestamp(), item.window.not_after.timestamp() - now
                oldest, first = kinds.get(item.kind, (begun, left))
                kinds[item.kind] = max(oldest, begun), min(first, left)
        for kind, (oldest, first) in sorted(kinds.items()):
            yield kind, oldest, first

    def _tell(self) -> None:
        for problem in self.problems[:32]:
            _LOG.warning("a file of collateral is left out", extra={"file": problem.file, "detail": problem.message})
        _LOG.info("collateral was read", extra={"items": len(self.loaded.items), "unusable": len(self.problems)})


def read_folder(folder: Path) -> tuple[dict[str, bytes], list[Problem]]:
    """Read the files of a folder within bounds; those beyond them are problems. A folder that is missing is empty.

    Raises:
        RefusedError: CollateralInvalid; there is more than anybody could mean.
    """
    files: dict[str, bytes] = {}
    problems: list[Problem] = []
    total = 0
    for path in _list(folder):
        try:
            with path.open("rb") as handle:
                data = handle.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            problems.append(Problem(path.name, f"it cannot be read: {error.strerror}"))
            continue
        total += len(data)
        if total > MAX_TOTAL_BYTES:
            raise RefusedError(Reason.COLLATERAL_INVALID, f"{folder} has more than {MAX_TOTAL_BYTES >> 20} MiB")
        files[path.name] = data
    return files, problems


def _list(folder: Path) -> list[Path]:
    """Return the files of a folder; the kubelet's own links in it are passed over."""
    try:
        found = [Path(item.path) for item in os.scandir(folder) if not item.name.startswith(".") and item.is_file()]
    except FileNotFoundError:
        return []
    if len(found) > MAX_FILES:
        raise RefusedError(Reason.COLLATERAL_INVALID, f"{folder} has {len(found)} files, {MAX_FILES} are allowed")
    return sorted(found)


def _stamp(folder: Path) -> Stamp:
    """Return what tells one state of a folder from another."""
    stats = ((path, path.stat()) for path in _list(folder))
    return tuple((path.name, stat.st_mtime_ns, stat.st_size) for path, stat in stats)
