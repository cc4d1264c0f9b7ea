"""The one exception of the image builder and the way it starts other programs."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from imagebuild.store import cache_folder, locked

_TAIL_CHARACTERS = 2000


_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class ImageBuildError(RuntimeError):
    """Say what could not be built and what to do about it."""


@contextmanager
def told_failures() -> Iterator[None]:
    """Turn what the file system refuses into an error that says what to do about it.

    Raises:
        ImageBuildError: a disk is full, or this user may not write where it must.
    """
    try:
        yield
    except shutil.Error as failures:  # of a whole folder: (from, to, why) of each file
        _, target, why = failures.args[0][0]
        if not any(os.strerror(number) in why for number in _FULL | _FORBIDDEN):
            raise
        raise ImageBuildError(f"{target} could not be written: {why}. {find_remedy(why)}") from failures
    except OSError as failure:
        if failure.errno not in _FULL | _FORBIDDEN:
            raise
        raise ImageBuildError(f"{failure}. {find_remedy(str(failure))}") from failure


def find_remedy(text: str) -> str:
    """Say what helps where a disk is full or closed; nothing where neither is told."""
    if any(os.strerror(number) in text for number in _FULL):
        return f"Make room, or choose another folder than {cache_folder()} by SEKISHO_CACHE."
    if any(os.strerror(number) in text for number in _FORBIDDEN):
        return f"Choose a folder that this user may write to by SEKISHO_CACHE; now it is {cache_folder()}."
    return ""


def run_program(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    remedy: str = "",
) -> str:
    """Run a program to its end and return what it printed; where we are interrupted, all that it started ends, too.

    Raises:
        ImageBuildError: it is missing or failed; the message carries the end of its output and the remedy.
    """
    try:
        process = subprocess.Popen(
            [str(part) for part in command], cwd=cwd, env=environment, text=True, process_group=0,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
    except FileNotFoundError as missing:
        raise ImageBuildError(f"{command[0]} is not installed. {remedy}".rstrip()) from missing
    with process:
        try:
            printed, complained = process.communicate()
        except BaseException:
            with suppress(ProcessLookupError):  # all of it may have ended just now
                os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode != 0:
        tail = (complained + printed)[-_TAIL_CHARACTERS:].strip()
        if any(os.strerror(number) in tail for number in _FULL):
            remedy = find_remedy(tail)
        raise ImageBuildError(f"{command[0]} failed with code {process.returncode}: {tail} {remedy}".rstrip())
    return printed


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
    # what else on the machine installs, the system's own updates say, is waited for
    patience = ("-o", "DPkg::Lock::Timeout=120")
    install = ["apt-get", "install", *patience, "-y", "-q", "--no-install-recommends", package]
    environment = dict(os.environ) | {"DEBIAN_FRONTEND": "noninteractive"}
    with locked(cache_folder() / "apt.lock", "apt"):
        if shutil.which(program):
            return
        try:
            run_program(install, environment=environment)
        except ImageBuildError:
            run_program(["apt-get", "update", "-q"], remedy=remedy)
            run_program(install, environment=environment, remedy=remedy)
