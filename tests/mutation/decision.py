"""Run the tests of what appraises evidence and decides on releases against mutants of it: `make mutants`.

A mutant that no test kills must be explained in docs/explanation/mutants.md, by its name; any other fails the run. The
tests of a module are collected once; each mutant is tried in a fork of that process, where the functions of the module
are given the mutant's code in place.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import pytest

from tests.mutation.mutants import Mutant, list_mutants

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "operator" / "sekisho"
EXPLAINED = REPOSITORY / "docs" / "explanation" / "mutants.md"
ATTEST = ["tests/unit/attest/test_rules.py", "tests/unit/attest/test_appraise.py", "tests/unit/plan/test_evidence.py"]
BROKER = ["tests/unit/broker/test_grants.py", "tests/unit/broker/test_decide.py", "tests/unit/broker/test_proving.py"]
PROPERTIES = ["tests/unit/broker/test_decide_properties.py"]
TARGETS: dict[str, list[str]] = {
    "attest/rules.py": ATTEST,
    "attest/appraise.py": ATTEST,
    "plan/evidence.py": ["tests/unit/plan/test_evidence.py"],
    "plan/grants.py": ["tests/unit/plan/test_grants.py"],
    "broker/grants.py": [*BROKER, *PROPERTIES],
    "broker/proving.py": [*BROKER, *PROPERTIES],
    "broker/decide.py": [*BROKER, *PROPERTIES],
}
SECONDS = 180


def main() -> int:
    """Try every mutant; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation.decision", description=__doc__)
    parser.add_argument("modules", nargs="*", help=f"of {', '.join(TARGETS)}; all where none is named")
    chosen = parser.parse_args().modules or list(TARGETS)
    # A process for each module: pytest collects into the one it runs in.
    return max(_in_fork(lambda module=module: _try_module(module), seconds=None) for module in chosen)


def _try_module(module: str) -> int:
    words = [
        "-q",
        "-s",
        "--tb=no",
        "-c",
        os.devnull,
        "--rootdir",
        str(REPOSITORY),
        "--noconftest",
        "-p",
        "no:cacheprovider",
    ]
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    loop = Loop(module)
    code = pytest.main([*words, "--import-mode=importlib", *TARGETS[module]], plugins=[loop])
    return int(code) or int(loop.unexplained > 0)


class Loop:
    """Tries mutants of one module instead of running the tests that were collected once."""

    def __init__(self, module: str) -> None:
        self.module = module
        self.unexplained = 0

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run the tests without a mutant, then with each."""
        began, killed, count, told = time.monotonic(), 0, 0, EXPLAINED.read_text(encoding="utf-8")
        assert _in_fork(lambda: _run(session), seconds=None) == 0, "the tests fail without any mutant"
        for mutant in list_mutants(PACKAGE / self.module, root=PACKAGE):
            count += 1
            if _in_fork(lambda mutant=mutant: self._try(session, mutant), seconds=SECONDS) != 0:
                killed += 1
                continue
            known = mutant.name in told
            self.unexplained += not known
            print(f"{'explained' if known else 'LIVES'}: line {mutant.line}: {mutant.name}", flush=True)
        lived = f"{count - killed - self.unexplained} explained, {self.unexplained} not"
        print(f"{self.module}: {killed} of {count} killed, {lived}, in {time.monotonic() - began:.0f} s", flush=True)
        return True

    def _try(self, session: pytest.Session, mutant: Mutant) -> int:
        name = f"sekisho.{self.module.removesuffix('.py').replace('/', '.')}"
        mutate_module(sys.modules[name], mutant.code)
        return _run(session)


def _run(session: pytest.Session) -> int:
    """Run the collected tests until one fails; return 1 where one does."""
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    for index, item in enumerate(session.items):
        following = session.items[index + 1] if index + 1 < len(session.items) else None
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.testsfailed:
            return 1
    return 0


def _in_fork(work: Any, *, seconds: float | None) -> int:
    """Return what some work comes to in a process of its own; one that does not end is ended, which counts as 1."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = work()
        finally:
            os._exit(status)
    if seconds is None:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return 1


def mutate_module(module: ModuleType, code: str) -> None:
    """Give a loaded module other code in place, so that whoever holds one of its functions or classes has it, too."""
    fresh: dict[str, Any] = {"__name__": module.__name__, "__file__": module.__file__}
    exec(compile(code, str(module.__file__), "exec"), fresh)  # noqa: S102 - that is what it is for
    held = vars(module)
    for name, new in fresh.items():
        old = held.get(name)
        if getattr(new, "__module__", None) == module.__name__ and isinstance(new, FunctionType | type):
            for before, after in _functions(old, new):
                _swap(before, after)
        elif not name.startswith("__") and old is not new:
            for other in [item for key, item in sys.modules.items() if key.startswith(("sekisho.", "tests."))]:
                if vars(other).get(name) is old:
                    vars(other)[name] = new


def _functions(old: Any, new: Any) -> Iterator[tuple[FunctionType, FunctionType]]:
    if isinstance(new, FunctionType):
        yield old, new
        return
    for name, after in vars(new).items():
        before, both = vars(old).get(name), after
        if isinstance(after, property) and isinstance(before, property):
            before, both = before.fget, after.fget
        if isinstance(both, FunctionType) and isinstance(before, FunctionType):
            yield before, both


def _swap(old: FunctionType, new: FunctionType) -> None:
    old.__code__, old.__defaults__, old.__kwdefaults__ = new.__code__, new.__defaults__, new.__kwdefaults__
    for before, after in zip(old.__closure__ or (), new.__closure__ or (), strict=True):
        try:
            content = after.cell_contents
        except ValueError:
            continue
        if not isinstance(content, type):
            before.cell_contents = content


if __name__ == "__main__":
    sys.exit(main())
