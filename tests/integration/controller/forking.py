"""Starts processes of ours as forks of one that has imported them already: of a short life that is most of the CPU.

A fork is a process like any other: it begins at `main`, with an environment of its own, and is killed like any other.
But all forks share one seed of hashes: what must hold whatever the seed is tried with processes that start anew.
"""

import importlib
import multiprocessing
import os
from collections.abc import Mapping
from multiprocessing.context import ForkServerProcess
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["sekisho.controller.main", "sekisho.depot.main"])


def fork(module: str, *, folder: Path, environment: Mapping[str, str], log: Path) -> ForkServerProcess:
    """Start a module's `main` in a folder, with this environment alone; what it prints is appended to a file."""
    process = _CONTEXT.Process(target=_become, args=(module, folder, dict(environment), log), daemon=True)
    process.start()
    return process


def _become(module: str, folder: Path, environment: Mapping[str, str], log: Path) -> None:
    printed = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(printed, stream)
    os.close(printed)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    raise SystemExit(importlib.import_module(module).main())
