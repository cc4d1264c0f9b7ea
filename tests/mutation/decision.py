"""Run the tests of what appraises evidence and decides on releases against mutants of it: `make mutants`.

A mutant that no test kills must be explained in docs/explanation/mutants.md, by its name; any other fails the run.
Every mutant is tried in a process of its own, forked from one in which all that is not mutated is loaded.
"""

import argparse
import contextlib
import io
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.mutation.loading import Mutated
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
    "broker/proving.py": BROKER,
    "broker/decide.py": [*BROKER, *PROPERTIES],
}
SECONDS = 120


def main() -> int:
    """Try every mutant; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation.decision", description=__doc__)
    parser.add_argument("modules", nargs="*", help=f"of {', '.join(TARGETS)}; all where none is named")
    chosen = parser.parse_args().modules or list(TARGETS)
    _load_all_else()
    explained = EXPLAINED.read_text(encoding="utf-8") if EXPLAINED.exists() else ""
    bad = 0
    for module in chosen:
        if _runs(module, None) != 0:
            raise SystemExit(f"the tests of {module} fail without any mutant")
        bad += _try_module(module, explained)
    return 1 if bad else 0


def _try_module(module: str, explained: str) -> int:
    """Try every mutant of one module; return how many survive without an explanation."""
    began, survivors, count = time.monotonic(), [], 0
    for mutant in list_mutants(PACKAGE / module, root=PACKAGE):
        count += 1
        if _runs(module, mutant) == 0:
            survivors.append(mutant)
            known = "explained" if mutant.name in explained else "SURVIVES"
            print(f"{known}: line {mutant.line}: {mutant.name}", flush=True)
    unknown = [mutant for mutant in survivors if mutant.name not in explained]
    seconds = time.monotonic() - began
    killed = f"{count - len(survivors)} of {count} mutants killed, {len(survivors) - len(unknown)} explained"
    print(f"{module}: {killed}, {len(unknown)} not, in {seconds:.0f} s", flush=True)
    return len(unknown)


def _load_all_else() -> None:
    """Load what takes long and is not mutated, so that every process begins with it."""
    import sekisho.attest.devices  # noqa: PLC0415
    import sekisho.classify.rules  # noqa: PLC0415
    import sekisho.placement.requirement  # noqa: PLC0415
    import sekisho.render.digest  # noqa: F401, PLC0415
    from sekisho.api.v1alpha1 import KINDS  # noqa: F401, PLC0415

    mutated = {_name_of(module) for module in TARGETS}
    loaded = mutated & set(sys.modules)
    assert not loaded, f"{loaded} is loaded already, so that no mutant of it would be tried"


def _name_of(module: str) -> str:
    return f"sekisho.{module.removesuffix('.py').replace('/', '.')}"


def _runs(module: str, mutant: Mutant | None) -> int:
    """Return the exit status of the tests of a module in a process of their own; a mutant that hangs is killed."""
    child = os.fork()
    if child == 0:
        os._exit(_test(module, mutant))
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return 1


def _test(module: str, mutant: Mutant | None) -> int:
    if mutant is not None:
        sys.meta_path.insert(0, Mutated(_name_of(module), PACKAGE / module, mutant.code))
    words = ["-x", "-q", "-c", "/dev/null", "--rootdir", str(REPOSITORY), "--noconftest", "-p", "no:cacheprovider"]
    quiet = io.StringIO()
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
        return int(pytest.main([*words, "--import-mode=importlib", *TARGETS[module]]))


if __name__ == "__main__":
    sys.exit(main())
