"""Run tests against every mutant of a module: `python -m tests.mutation MODULE.py TESTS…`, one module a run.

Every mutant lives in a process of its own, forked after the slow imports, and never on disk. Survivors are printed;
each one wants a test, or a line in docs/explanation/mutants.md that says why no test can tell it.
"""

import argparse
import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import cryptography.x509.verification
import hypothesis.extra
import pytest

from tests.mutation.mutate import Mutant, find_mutants

PRELOADED = (cryptography, hypothesis)
OPTIONS = ("-x", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", "--hypothesis-seed=0", "--timeout=60",
    "-W", "ignore::pytest.PytestAssertRewriteWarning",
)  # fmt: skip


class Mutated(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Give one module a source of ours."""

    def __init__(self, name: str, path: Path, source: str) -> None:
        self.name, self.path, self.source = name, path, source

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        del path, target
        return importlib.util.spec_from_file_location(name, self.path, loader=self) if name == self.name else None

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self.source, self.path, "exec"), module.__dict__)  # noqa: S102  # that is what it is for


def try_mutant(name: str, path: Path, source: str, tests: list[str], *, most_seconds: float) -> bool:
    """Tell whether the tests fail on a source."""
    child = os.fork()
    if child == 0:
        os.setsid()
        sys.meta_path.insert(0, Mutated(name, path, source))
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
            os._exit(int(pytest.main([*OPTIONS, *tests])))
    ends = time.monotonic() + most_seconds
    while time.monotonic() < ends:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status != 0
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True  # a mutant that never ends was noticed


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutation", description="Run tests against mutants of a module."
    )
    parser.add_argument("module", type=Path)
    parser.add_argument("tests", nargs="+")
    parser.add_argument("--seconds", type=float, default=120, help="how long one mutant may take")
    parser.add_argument("--only", default="", help="pytest's -k, to leave out slow tests that others make up for")
    parser.add_argument("--warm", metavar="MODULE:FUNCTION", help="called once before all, for what is slow to make")
    given = parser.parse_args()
    if given.warm:
        module, _, function = given.warm.partition(":")
        getattr(importlib.import_module(module), function)()
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = tempfile.mkdtemp()
    path = given.module.resolve()
    name = ".".join(path.with_suffix("").parts[path.parts.index("operator") + 1 :])
    source = path.read_text()
    tests = ["-k", given.only, *given.tests]
    if try_mutant(name, path, source, tests, most_seconds=given.seconds):
        print("the tests fail without any mutant")
        return 2
    mutants = list(find_mutants(source))
    survivors: list[Mutant] = []
    for mutant in mutants:
        if not try_mutant(name, path, mutant.source, tests, most_seconds=given.seconds):
            survivors.append(mutant)
            print(f"{given.module}:{mutant.line}: {mutant.change}", flush=True)
    print(f"{name}: {len(mutants)} mutants, {len(survivors)} survived", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
