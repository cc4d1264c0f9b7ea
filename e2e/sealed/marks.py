"""Weights that can be recognised wherever they lie, and the search for them on every disk of a cluster."""

import mmap
import secrets
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

from e2e.cluster.local import LocalCluster

MARK_BYTES = 64
CLOCK_SECONDS = 1.0
"""How far a file system's clock may be behind; it ticks some hundred times a second."""


def mark_model(file: Path) -> bytes:
    """Replace 64 bytes in the middle of a model of 16-bit floats by small random ones, and return them."""
    values = [(secrets.randbelow(9000) + 1000) / 1e6 for _ in range(MARK_BYTES // 2)]
    mark = struct.pack(f"<{len(values)}e", *values)
    place = file.stat().st_size // 2 // 32 * 32
    with file.open("r+b") as out:
        out.seek(place)
        out.write(mark)
    return mark


def find_on_disk(cluster: LocalCluster, mark: bytes, *, since: float = 0.0) -> list[Path]:
    """Return the files of nodes, registries and control plane that hold the mark; memory-backed volumes are none.

    Args:
        cluster: Whose disks.
        mark: What is looked for.
        since: Unix seconds at which nothing held it yet: a file whose status has not changed from then on, such as the
            gigabytes of an image, is not read. No process can set that time.
    """
    return [path for path in _files(cluster.directory, since - CLOCK_SECONDS) if _holds(path, mark)]


def _files(folder: Path, since: float) -> Iterator[Path]:
    """Yield every file below a folder, but one of several names once: nodes share the layers of their images.

    `find` does it, since images have hundreds of thousands of files; what vanishes meanwhile it passes over.
    """
    chosen = ("-type", "f", "-newerct", f"@{since:.3f}", "-printf", "%D:%i %p\\0")
    done = subprocess.run(("find", str(folder), *chosen), capture_output=True, check=False, env={"LC_ALL": "C"})
    complaints = [line for line in done.stderr.splitlines() if not line.endswith(b": No such file or directory")]
    assert not complaints, f"the search is not whole: {complaints[:5]}"
    lines = done.stdout.decode(errors="surrogateescape").split("\0")[:-1]
    seen = dict[str, str](line.split(" ", 1) for line in reversed(lines))
    yield from map(Path, seen.values())


def _holds(path: Path, mark: bytes) -> bool:
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return content.find(mark) >= 0
    except (OSError, ValueError):  # gone meanwhile, or empty
        return False
