"""Bursts: many services asked for at once, how long an operator takes for them, and what it asks of the API server."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from bench.harness import MIN_REPETITIONS, WrongAnswerError
from bench.operators.answers import Children, check_children, check_statuses
from bench.operators.idle import Idle, measure_idle
from bench.operators.lab import CANDIDATE, Lab, Side
from bench.operators.process import MachineClock
from bench.operators.requests import SERVICES, Entry, count_reads, count_writes, first_good, spell_counts

# Fewer where a machine is too busy for bursts of 500 in a bearable time; the report says how many there were.
OBJECTS: Final = int(os.environ.get("BENCH_OBJECTS", "500"))
WARM_OBJECTS: Final = 100
_BURST_SECONDS: Final = 600.0
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
        bound_seconds: The same until Kubernetes had given the last pod its node; None where that was not waited for.
        cpu_seconds: Of the operator until it rests; where it watches what Kubernetes' controllers do, they too.
        control_cpu_seconds: Of the control plane's processes, by name, until the same moment.
        others_share: Of the machine, what processes that do not belong here took until the same moment.
        idle: What services took before, one after another.
    """

    objects: int
    made_seconds: float
    done_seconds: float
    bound_seconds: float | None
    cpu_seconds: float
    control_cpu_seconds: dict[str, float]
    peak_mib: float
    writes: int
    reads: int
    told: str
    others_share: float
    children: Children
    idle: Idle
    restart: Restart | None = None


def run_burst(lab: Lab, side: Side, *, objects: int = OBJECTS) -> Burst:
    """Start the operator, let it do a few alone and one burst, restart it where that is ours, and remove everything."""
    with lab.running(side) as process:
        empty_cpu = process.cpu_seconds()
        idle, alone = measure_idle(lab, side, process)
        namespace = lab.new_namespace()
        lab.await_rest(side, process)
        lab.tail.restart()
        before, control_before, clock = process.cpu_seconds(), lab.cpu_seconds(), MachineClock()
        names = [f"svc-{index:04}" for index in range(objects)]
        lab.create_services(namespace, names)
        lab.await_done(side, namespace, count=objects, seconds=_BURST_SECONDS)
        # What becomes of the Deployments concerns the candidate, which watches it, and not the reference.
        lab.await_rest(side, process, with_control_plane=side is CANDIDATE)
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
    lab.remove_namespaces(namespace, alone)
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
        idle=idle,
        restart=restart,
    )


def measure_seconds(entries: list[Entry], side: Side, *, namespace: str) -> tuple[float, float, float | None]:
    """Return how long it took until the last child, the last service marked done, the last pod bound to its node.

    The last is None where not every Deployment's pod is bound.
    """
    asked = first_good(
        (entry for entry in entries if entry.request.user != side.user), resource=SERVICES, verbs=frozenset({"create"})
    )
    ours = [entry for entry in entries if entry.request.user == side.user and entry.request.namespace == namespace]
    begin = min(entry.received_at for name, entry in asked.items() if name[0] == namespace)
    done = first_good(ours, resource=side.done_by, verbs=_WRITES)
    made = first_good(ours, resource="deployments.apps", verbs=_WRITES)
    there = [entry for entry in entries if entry.request.namespace == namespace]
    bound = first_good(there, resource="pods/binding", verbs=_WRITES)
    first, second = (max(entry.answered_at for entry in found.values()) - begin for found in (made, done))
    if len(bound) < len(made):
        return first, second, None
    return first, second, max(entry.answered_at for entry in bound.values()) - begin


def _restart(lab: Lab, side: Side, *, empty_cpu: float) -> Restart:
    with lab.running(side) as process:
        cpu = process.cpu_seconds()
        return Restart(count_writes(lab.tail.of(side.user)), cpu, empty_cpu)


T = TypeVar("T")


class Tape(Generic[T]):
    """Runs something, and lets several benchmarks read the same repetitions: a series is too dear to be run for each.

    Args:
        run: Runs one repetition; where it raises `WrongAnswerError` once, that is everybody's answer.
        length: Repetitions of one series.
    """

    def __init__(self, run: Callable[[], T], *, length: int = MIN_REPETITIONS) -> None:
        self._run = run
        self._length = length
        self._kept: list[T] = []
        self._wrong: WrongAnswerError | None = None

    def kept(self) -> list[T]:
        """Return the last whole series that was recorded; nothing where there is none."""
        return self._kept[-self._length :] if len(self._kept) >= self._length else []

    def play(self) -> Iterator[T]:
        """Yield the last whole series, then new repetitions, which are recorded."""
        yield from self.kept()
        while True:
            yield self._record()

    def _record(self) -> T:
        if self._wrong is not None:
            raise self._wrong
        try:
            self._kept.append(self._run())
        except WrongAnswerError as error:
            self._wrong = error
            raise
        return self._kept[-1]
