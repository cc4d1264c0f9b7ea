"""Where the test cluster keeps what it builds and what it runs: never inside the source tree."""

import os
from pathlib import Path

from e2e.cluster.errors import ClusterError

SOURCES = Path(__file__).parent
GO_SOURCES = SOURCES / "go"
MANIFESTS = SOURCES / "manifests"


def cache_dir() -> Path:
    """Return `$SEKISHO_CACHE`, else `sekisho` in the user's cache directory."""
    if explicit := os.environ.get("SEKISHO_CACHE"):
        return Path(explicit).absolute()
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base).absolute() / "sekisho"


def run_dir() -> Path:
    """Return the directory that holds one folder for each running cluster."""
    return cache_dir() / "run"


def make_run_dir() -> Path:
    """Return the same, made where it is missing and closed to everybody else: keys of administrators lie there.

    Raises:
        ClusterError: It cannot be made.
    """
    try:
        run_dir().mkdir(parents=True, exist_ok=True, mode=0o700)
        if run_dir().stat().st_mode & 0o077:
            run_dir().chmod(0o700)
    except OSError as error:
        raise ClusterError(
            f"{run_dir()} cannot be made: {error.strerror}",
            remedy="set SEKISHO_CACHE to a directory that this user may write to",
        ) from error
    return run_dir()
