"""Bursts: many services asked for at once, how long an operator takes for them, and what it asks of the API server."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from bench.harness import MIN_REPETITIONS, WrongAnswerError
from bench.operators.api import CHILDREN
from bench.operators.lab import CANDIDATE, Lab, Side
from bench.operators.process import MachineClock, OperatorProcess
from bench.operators.requests import SERVICES, Entry, count_reads, count_writes, first_good, spell_counts

# Fewer where a machine is too busy for bursts of 500 in a bearable time; the report says how many there were.
OBJECTS: Final = int(os.environ.get("BENCH_OBJECTS", "500"))
_WARM_OBJECTS: Final = 5
_BURST_SECONDS: Final = 180.0
_WRITES: Final = frozenset({"create", "patch", "update"})


@dataclass(frozen=True, slots=True)
class Restart:
    """A start of the operator with everything made already.

    Attributes:
        cpu_seconds: From the beginning of the process until it rests.
        empty_cpu_seconds: The same with no service in the cluster.
    """

    writes: int
    cpu_seconds: float
    empty_cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Burst:
    """What one burst came to.

    Attributes:
        made_seconds: From the first request for a service until the last child was there.
        done_seconds: The same until the last service was marked done: its status written, or kopf's annotation.
        bound_seconds: The same until Kubernetes had given the last pod its node.
        cpu_seconds: Of the operator until it and the control plane rest.
        control_cpu_seconds: Of the control plane's processes, by name, until the same moment.
        others_share: Of the machine, what processes that do not belong here took until the same moment.
        children: Names by kind.
    """

    objects: int
    made_seconds: float
    done_seconds: float
    bound_seconds: float
    cpu_seconds: float
    control_cpu_seconds: dict[str, float]
    peak_mib: float
    writes: int
    reads: int
    told: str
    others_share: float
    children: dict[str, frozenset[str]]
    restart: Restart | None = None


def run_burst(lab: Lab, side: Side, *, objects: int = OBJECTS) -> Burst:
    """Start the operator, let it do one burst, restart it where that is ours, and remove everything."""
    with lab.running(side) as process:
        empty_cpu = process.cpu_seconds()
        warmed = warm(lab, side)
        namespace = lab.new_namespace()
        _await_all(lab, side, process)
        lab.tail.restart()
        before, control_before, clock = process.cpu_seconds(), lab.cpu_seconds(), MachineClock()
        names = [f"svc-{index:04}" for index in range(objects)]
        lab.create_services(namespace, names)
        lab.await_done(side, namespace, count=objects, seconds=_BURST_SECONDS)
        _await_all(lab, side, process)
        cpu, peak = process.cpu_seconds() - before, process.peak_mib()
        control = {name: seconds - control_before[name] for name, seconds in lab.cpu_seconds().items()}
        others = clock.share_of_others(cpu + sum(control.values()))
        entries = list(lab.tail.entries)
    ours = lab.tail.of(side.user)
    made, done, bound = measure_seconds(entries, side, namespace=namespace)
    children = check_children(lab, namespace, names)
    if side is CANDIDATE:
        check_statuses(lab, namespace, objects)
    restart = _restart(lab, side, empty_cpu=empty_cpu) if side is CANDIDATE else None
    lab.remove_namespaces(namespace, warmed)
    return Burst(
        objects=objects,
        made_seconds=made,
        done_seconds=done,
        bound_seconds=bound,
        cpu_seconds=cpu,
        control_cpu_seconds=control,
        peak_mib=peak,
        writes=count_writes(ours),
        reads=count_reads(ours),
        told=spell_counts(ours, objects=objects),
        others_share=others,
        children=children,
        restart=restart,
    )


def measure_seconds(entries: list[Entry], side: Side, *, namespace: str) -> tuple[float, float, float]:
    """Return how long it took until the last child, the last service marked done, the last pod bound to its node."""
    asked = first_good(
        (entry for entry in entries if entry.request.user != side.user), resource=SERVICES, verbs=frozenset({"create"})
    )
    ours = [entry for entry in entries if entry.request.user == side.user and entry.request.namespace == namespace]
    begin = min(entry.received_at for name, entry in asked.items() if name[0] == namespace)
    done = first_good(ours, resource=side.done_by, verbs=_WRITES)
    made = first_good(ours, resource="deployments.apps", verbs=_WRITES)
    there = [entry for entry in entries if entry.request.namespace == namespace]
    bound = first_good(there, resource="pods/binding", verbs=_WRITES)
    first, second, third = (max(entry.answered_at for entry in found.values()) for found in (made, done, bound))
    return first - begin, second - begin, third - begin


def check_children(lab: Lab, namespace: str, services: list[str]) -> dict[str, frozenset[str]]:
    """Return the children's names by kind.

    Raises:
        WrongAnswerError: A service lacks one, or there is one too many.
    """
    wanted = sorted(f"{service}-predictor" for service in services)
    found = lab.list_children(namespace)
    for kind in CHILDREN:
        names = sorted(child["metadata"]["name"] for child in found[kind])
        if names != wanted:
            differing = sorted(set(names) ^ set(wanted))
            raise WrongAnswerError(f"{len(wanted)} {kind} wanted, {len(names)} there; they differ in {differing[:5]}")
    return {kind: frozenset(child["metadata"]["name"] for child in found[kind]) for kind in CHILDREN}


def check_statuses(lab: Lab, namespace: str, objects: int) -> None:
    """Raise where a service's status does not say, of its present generation, that it is accepted and placed."""
    services = lab.api.list_all("InferenceService", namespace=namespace)
    if len(services) != objects:
        raise WrongAnswerError(f"{objects} services wanted, {len(services)} there")
    for service in services:
        if missing := find_untold(service):
            raise WrongAnswerError(f"{service['metadata']['name']} does not say {', '.join(missing)}")


def find_untold(service: dict[str, Any]) -> list[str]:
    """Return which of Accepted and Placed the status does not say of the present generation."""
    generation = service["metadata"]["generation"]
    said = {
        item["type"]
        for item in (service.get("status") or {}).get("conditions") or ()
        if item["status"] == "True" and item.get("observedGeneration", generation) == generation
    }
    return [kind for kind in ("Accepted", "Placed") if kind not in said]


def warm(lab: Lab, side: Side) -> str:
    """Let the operator do a few before it is measured: connections, imports, caches; return their namespace."""
    namespace = lab.new_namespace()
    lab.create_services(namespace, [f"svc-{index:04}" for index in range(_WARM_OBJECTS)])
    lab.await_done(side, namespace, count=_WARM_OBJECTS, seconds=60)
    return namespace


def _await_all(lab: Lab, side: Side, process: OperatorProcess) -> None:
    """Return once neither the control plane nor the operator, which watches what that does, has anything to do."""
    lab.await_rest()
    lab.await_quiet(side, process)


def _restart(lab: Lab, side: Side, *, empty_cpu: float) -> Restart:
    with lab.running(side) as process:
        cpu = process.cpu_seconds()
        return Restart(count_writes(lab.tail.of(side.user)), cpu, empty_cpu)


T = TypeVar("T")


class Tape(Generic[T]):
    """Runs something, and lets several benchmarks read the same repetitions: a series is too dear to be run for each.

    Args:
        run: Runs one repetition.
        length: Repetitions of one series.
    """

    def __init__(self, run: Callable[[], T], *, length: int = MIN_REPETITIONS) -> None:
        self._run = run
        self._length = length
        self._kept: list[T] = []

    def play(self) -> Iterator[T]:
        """Yield the last whole series that was recorded, then new repetitions, which are recorded."""
        kept = self._kept[-self._length :] if len(self._kept) >= self._length else []
        yield from kept
        while True:
            self._kept.append(self._run())
            yield self._kept[-1]
