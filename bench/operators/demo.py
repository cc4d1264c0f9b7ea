"""D1: seconds from `make demo` to the first answer, with everything built."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from bench.harness import Count, WrongAnswerError

_REPO: Final = Path(__file__).resolve().parents[2]
_TOLD: Final = re.compile(r"first answer ([0-9]+(?:\.[0-9]+)?) s after `make demo` began")
_DEMO_SECONDS: Final = 900.0
# Not the demo that somebody looks at just now: it would be replaced, and removed.
_NAME: Final = "demo-bench"


def build_demo() -> Count:
    """Run the demo once, and remove it."""
    return Count(time_demo, repetitions=1, notes=lambda: "on this machine, warm: binaries and images built before")


def time_demo() -> float:
    """Run the demo, and return what it tells.

    Raises:
        WrongAnswerError: It failed, or told of no answer.
    """
    command, environ = [sys.executable, "-m", "e2e.demo"], {**os.environ, "SEKISHO_DEMO_NAME": _NAME}
    try:
        done = subprocess.run(
            [*command, "up"], cwd=_REPO, env=environ, capture_output=True, text=True, timeout=_DEMO_SECONDS, check=False
        )
    finally:
        subprocess.run(
            [*command, "down"], cwd=_REPO, env=environ, capture_output=True, timeout=_DEMO_SECONDS, check=False
        )
    if done.returncode != 0:
        raise WrongAnswerError(f"the demo ended with {done.returncode}: {(done.stderr or done.stdout)[-500:]}")
    return parse_seconds(done.stdout)


def parse_seconds(told: str) -> float:
    """Return the seconds to the first answer from what the demo prints.

    Raises:
        WrongAnswerError: It does not say.
    """
    found = _TOLD.search(told)
    if found is None:
        raise WrongAnswerError("the demo did not say when the first answer came")
    return float(found[1])
