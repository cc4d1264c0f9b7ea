"""The one exception of the image builder and the way it starts other programs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from imagebuild.store import cache_folder, locked

_TAIL_CHARACTERS = 2000


class ImageBuildError(RuntimeError):
    """Say what could not be built and what to do about it."""


def run_program(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    remedy: str = "",
) -> str:
    """Run a program to its end and return what it printed.

    Raises:
        ImageBuildError: it is missing or failed; the message carries the end of its output and the remedy.
    """
    try:
        done = subprocess.run(
            [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
        )
    except FileNotFoundError as missing:
        raise ImageBuildError(f"{command[0]} is not installed. {remedy}".rstrip()) from missing
    if done.returncode != 0:
        tail = (done.stderr + done.stdout)[-_TAIL_CHARACTERS:].strip()
        raise ImageBuildError(f"{command[0]} failed with code {done.returncode}: {tail} {remedy}".rstrip())
    return done.stdout


def ensure_program(program: str, *, package: str) -> None:
    """Install a program's Debian package where the program is missing and this is root.

    Raises:
        ImageBuildError: it is missing and cannot be installed.
    """
    if shutil.which(program):
        return
    remedy = f"Install the package {package} by hand."
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise ImageBuildError(f"{program} is not installed. {remedy}")
    install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", package]
    environment = dict(os.environ) | {"DEBIAN_FRONTEND": "noninteractive"}
    with locked(cache_folder() / "apt.lock", "apt"):
        if shutil.which(program):
            return
        try:
            run_program(install, environment=environment)
        except ImageBuildError:
            run_program(["apt-get", "update", "-q"], remedy=remedy)
            run_program(install, environment=environment, remedy=remedy)
