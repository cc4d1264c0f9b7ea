"""Run tests against every mutant of a module: `python -m tests.mutation MODULE.py TESTS…`, one module a run.

Tests are collected once. Each mutant then lives in a process forked from there, which gives the module's functions the
code of the mutant; what a mutant changes in a class or a constant reaches all who look it up in its module. Survivors
are printed; each wants a test, or a line in docs/explanation/mutants.md that says why no test can tell it.
"""

import argparse
import contextlib
import importlib
import inspect
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pytest

from tests.mutation.mutate import Mutant, find_mutants

OPTIONS = ("-q", "-p", "no:randomly", "-p", "no:cacheprovider", "--hypothesis-seed=0", "--maxfail=1")


def put_code(module: ModuleType, source: str) -> None:
    """Give a loaded module the functions, methods and constants of another source of it."""
    other = ModuleType(module.__name__)
    other.__dict__.update(__file__=module.__file__, __package__=module.__package__)
    exec(compile(source, str(module.__file__), "exec"), other.__dict__)  # noqa: S102  # that is what it is for
    for name, fresh in vars(other).items():
        old, new = vars(module).get(name), fresh
        if hasattr(old, "cache_clear") and hasattr(new, "cache_clear"):
            # Others hold the very cache: it forgets what the module as it stands came to.
            old.cache_clear()
            old, new = old.__wrapped__, new.__wrapped__
        if isinstance(old, FunctionType) and old.__module__ == module.__name__:
            old.__code__, old.__defaults__, old.__kwdefaults__ = new.__code__, new.__defaults__, new.__kwdefaults__
        elif inspect.isclass(old) and old.__module__ == module.__name__:
            for part, method in vars(new).items():
                mine = vars(old).get(part)
                if isinstance(mine, classmethod | staticmethod) and isinstance(method, classmethod | staticmethod):
                    mine, method = mine.__func__, method.__func__  # noqa: PLW2901  # what decides is behind it
                if isinstance(mine, property) and isinstance(method, property):
                    mine, method = mine.fget, method.fget  # noqa: PLW2901  # what decides is behind it
                if isinstance(mine, FunctionType) and isinstance(method, FunctionType):
                    mine.__code__, mine.__defaults__, mine.__kwdefaults__ = (
                        method.__code__, method.__defaults__, method.__kwdefaults__)  # fmt: skip
        elif not name.startswith("__"):
            setattr(module, name, new)


class Trial:
    """Runs collected tests once for every mutant instead of once."""

    def __init__(self, name: str, path: Path, *, most_seconds: float) -> None:
        self.name, self.path, self.most_seconds = name, path, most_seconds
        self.count = 0
        self.survivors: list[Mutant] = []
        self.fails_alone = False

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Iterator[None]:
        source = self.path.read_text()
        session.config.option.maxfail = 1
        if self._fork(session, source):
            mutants = list(find_mutants(source))
            self.count = len(mutants)
            for mutant in mutants:
                if self._fork(session, mutant.source):
                    self.survivors.append(mutant)
                    print(f"{self.path.name}:{mutant.line}: {mutant.change}", file=sys.__stdout__, flush=True)
        else:
            self.fails_alone = True
        session.items = []
        return (yield)

    def _fork(self, session: pytest.Session, source: str) -> bool:
        """Tell whether the tests hold for a source."""
        child = os.fork()
        if child == 0:
            os.setsid()
            with Path(os.devnull).open("w") as nowhere:
                os.dup2(nowhere.fileno(), 1)
                os.dup2(nowhere.fileno(), 2)
                os._exit(self._try(session, source))
        ends = time.monotonic() + self.most_seconds
        while time.monotonic() < ends:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return status == 0
            time.sleep(0.01)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return False  # a mutant that never ends was noticed

    def _try(self, session: pytest.Session, source: str) -> int:
        try:
            put_code(sys.modules[self.name], source)
            for index, item in enumerate(session.items):
                after: Any = session.items[index + 1] if index + 1 < len(session.items) else None
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
                if session.testsfailed:
                    return 1
        except BaseException:  # noqa: BLE001  # whatever a mutant does, it was noticed
            return 1
        return 0


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutation", description="Run tests against mutants of a module."
    )
    parser.add_argument("module", type=Path)
    parser.add_argument("tests", nargs="+")
    parser.add_argument("--seconds", type=float, default=120, help="how long one mutant may take")
    given = parser.parse_args()
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = tempfile.mkdtemp()
    path = given.module.resolve()
    name = ".".join(path.with_suffix("").parts[path.parts.index("operator") + 1 :])
    trial = Trial(name, path, most_seconds=given.seconds)
    importlib.import_module(name)
    pytest.main([*OPTIONS, *given.tests], plugins=[trial])
    if trial.fails_alone or not trial.count:
        print("the tests fail without any mutant, or there is none")
        return 2
    print(f"{name}: {trial.count} mutants, {len(trial.survivors)} survived")
    return 0


if __name__ == "__main__":
    sys.exit(main())
