"""How long one service takes when nothing else is asked for."""

import statistics
import time
from dataclasses import dataclass
from typing import Final

from bench.harness import WrongAnswerError
from bench.operators.answers import Children, check_children
from bench.operators.lab import Lab, Side
from bench.operators.process import OperatorProcess
from bench.operators.requests import SERVICES, Entry, first_good

SERVICES_IN_TURN: Final = 10
# They open the operator's connections and fill its caches, and nobody measures them.
_WARM_SERVICES: Final = 5
_PAUSE_SECONDS: Final = 0.15
_DONE_SECONDS: Final = 30.0
_WRITES: Final = frozenset({"create", "patch"})


@dataclass(frozen=True, slots=True)
class Idle:
    """Seconds from the request for a service until its last child was there, and the CPU that all took."""

    latencies: tuple[float, ...]
    cpu_seconds: float
    children: Children

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.latencies)


def run_idle(lab: Lab, side: Side) -> Idle:
    """Start the operator, ask it for services one after another, and remove everything."""
    with lab.running(side) as process:
        idle, namespace = measure_idle(lab, side, process)
    lab.remove_namespaces(namespace)
    return idle


def measure_idle(lab: Lab, side: Side, process: OperatorProcess, *, count: int = SERVICES_IN_TURN) -> tuple[Idle, str]:
    """Ask for services one after another, each when the one before is done; the first few are not measured.

    Returns:
        What the others took, and the namespace of all, which is there still.
    """
    namespace = lab.new_namespace()
    names = [f"svc-{index:04}" for index in range(_WARM_SERVICES + count)]
    _ask_in_turn(lab, side, namespace, names[:_WARM_SERVICES])
    before = process.cpu_seconds()
    alone = names[_WARM_SERVICES:]
    _ask_in_turn(lab, side, namespace, alone)
    cpu, entries = process.cpu_seconds() - before, list(lab.tail.entries)
    children = check_children(lab, namespace, names)
    return Idle(measure_latencies(entries, side, namespace=namespace, names=alone), cpu, children), namespace


def _ask_in_turn(lab: Lab, side: Side, namespace: str, names: list[str]) -> None:
    lab.tail.restart()
    for index, name in enumerate(names, start=1):
        lab.create_services(namespace, [name], connections=1)
        lab.await_done(side, namespace, count=index, seconds=_DONE_SECONDS)
        time.sleep(_PAUSE_SECONDS)


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
