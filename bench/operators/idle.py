"""How long one service takes when nothing else is asked for."""

import statistics
import time
from dataclasses import dataclass
from typing import Final

from bench.harness import WrongAnswerError
from bench.operators.burst import check_children, warm
from bench.operators.lab import Lab, Side
from bench.operators.requests import SERVICES, Entry, first_good

SERVICES_IN_TURN: Final = 20
_PAUSE_SECONDS: Final = 0.2
_DONE_SECONDS: Final = 30.0
_WRITES: Final = frozenset({"create", "patch"})


@dataclass(frozen=True, slots=True)
class Idle:
    """Seconds from the request for a service until its last child was there, and the CPU that a service took."""

    latencies: tuple[float, ...]
    cpu_seconds: float

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.latencies)


def run_idle(lab: Lab, side: Side, *, count: int = SERVICES_IN_TURN) -> Idle:
    """Ask for services one after another, each when the one before is done."""
    with lab.running(side) as process:
        warmed = warm(lab, side)
        namespace = lab.new_namespace()
        lab.await_rest()
        lab.await_quiet(side, process)
        lab.tail.restart()
        before = process.cpu_seconds()
        names = [f"svc-{index:04}" for index in range(count)]
        for index, name in enumerate(names, start=1):
            lab.create_services(namespace, [name], connections=1)
            lab.await_done(side, namespace, count=index, seconds=_DONE_SECONDS)
            time.sleep(_PAUSE_SECONDS)
        cpu = process.cpu_seconds() - before
        entries = list(lab.tail.entries)
    check_children(lab, namespace, names)
    lab.remove_namespaces(namespace, warmed)
    return Idle(measure_latencies(entries, side, namespace=namespace, names=names), cpu)


def measure_latencies(entries: list[Entry], side: Side, *, namespace: str, names: list[str]) -> tuple[float, ...]:
    """Return for each service the seconds from the request for it to the answer about its last child.

    Raises:
        WrongAnswerError: A service or its Deployment is not in the log.
    """
    asked = first_good(
        (entry for entry in entries if entry.request.user != side.user), resource=SERVICES, verbs=frozenset({"create"})
    )
    made = first_good(
        (entry for entry in entries if entry.request.user == side.user), resource="deployments.apps", verbs=_WRITES
    )
    try:
        return tuple(
            made[namespace, f"{name}-predictor"].answered_at - asked[namespace, name].received_at for name in names
        )
    except KeyError as error:
        raise WrongAnswerError(f"the log does not tell of {error}") from error
