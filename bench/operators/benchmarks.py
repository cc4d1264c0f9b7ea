"""C1 to C9 and D1 as the table has them."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Final

from bench.harness import (
    MIN_REPETITIONS,
    Benchmark,
    Count,
    Direction,
    Pair,
    Registry,
    Sample,
    Subject,
    WrongAnswerError,
    always,
)
from bench.operators.burst import OBJECTS, WARM_OBJECTS, Burst, Restart, Tape, run_burst
from bench.operators.demo import build_demo
from bench.operators.idle import Idle, run_idle
from bench.operators.lab import CANDIDATE, REFERENCE, Lab, SharedLab, Side, SideName
from bench.operators.progress import Progress, Tell, tell_at_once
from bench.operators.repairs import Repair, try_all

BARE: Final = "a bare kopf handler"
CHILDREN_EACH: Final = 6


def add_to(registry: Registry) -> None:
    """Register the benchmarks of the operator."""
    family = Family(SharedLab())
    rows: list[tuple[str, str, str, float, Direction, Callable[[], Subject]]] = [
        ("C1", "operator objects/s", BARE, 0.70, "min", family.speed),
        ("C2", "apply → children p50, idle", BARE, 2.0, "max", family.latency),
        ("C3", "API writes per object", f"{CHILDREN_EACH} children + 2", CHILDREN_EACH + 2, "max", family.writes),
        ("C4", "writes after a restart, nothing changed", "counted", 0, "max", family.restart_writes),
        ("C6", "restart CPU per object", "create CPU per object", 0.3, "max", family.restart_cpu),
        ("C7", f"live reads per object, burst of {OBJECTS}", "counted", 2, "max", family.reads),
        ("C8", f"operator CPU per object, burst of {OBJECTS}", BARE, 2.5, "max", family.cpu),
        ("C9", "share of hand edits repaired within 5 s", "tried", 1, "min", family.repairs),
    ]
    for id_, what, reference, goal, direction, build in rows:
        registry.register(
            Benchmark(
                id=id_, what=what, reference=reference, goal=goal, direction=direction, open=family.opening(build)
            )
        )
    registry.register(
        Benchmark(
            id="D1",
            what="`make demo` warm, seconds to the first answer",
            reference="–",
            goal=60,
            direction="max",
            open=lambda: always(build_demo()),
            on_request=True,
        )
    )


class Family:
    """The subjects, which share one lab and one series of bursts."""

    def __init__(self, lab: SharedLab, tell: Tell = tell_at_once) -> None:
        self._lab = lab
        self._tell = tell
        self._warmed: Lab | None = None
        self._progress = Progress(tell, steps=2 * MIN_REPETITIONS)
        self._bursts = {side: Tape(partial(self._burst, side)) for side in (REFERENCE, CANDIDATE)}

    def _burst(self, side: Side) -> Burst:
        """Run one burst; a control plane that has seen none yet sees a small one of each side, which nobody counts.

        Its caches fill, its heaps grow and its connections open in the first, which is slower than all that follow.
        """
        lab = self._lab.get()
        if lab is not self._warmed:
            self._tell(f"{2 * MIN_REPETITIONS} bursts of {OBJECTS} are to come, after a smaller one of each side")
            for each in (REFERENCE, CANDIDATE):
                run_burst(lab, each, objects=min(OBJECTS, WARM_OBJECTS))
            self._warmed = lab
        with self._progress.step(f"burst of {OBJECTS}, {side.name}"):
            return run_burst(lab, side)

    def opening(self, build: Callable[[], Subject]) -> Callable[[], AbstractContextManager[Subject]]:
        """Return what opens a subject within a block of the lab."""

        @contextmanager
        def opened() -> Iterator[Subject]:
            with self._lab.block():
                yield build()

        return opened

    def speed(self) -> Pair:
        """Both sides' bursts, by the wall."""
        return self._compare_bursts(measure=None, drift_of=lambda sample: sample.wall_seconds / sample.units)

    def cpu(self) -> Pair:
        """Both sides' bursts, by the operators' CPU time."""
        return self._compare_bursts(measure=compare_cpu, drift_of=lambda sample: sample.cpu_seconds / sample.units)

    def latency(self) -> Pair:
        """Both sides, one service at a time: before the bursts that were recorded, or else without any."""
        players = {side: self._play_idle(side) for side in (REFERENCE, CANDIDATE)}
        seen: dict[str, list[Idle]] = {side.name: [] for side in players}

        def measure(side: Side) -> tuple[Sample, object]:
            run = next(players[side])
            seen[side.name].append(run)
            count = len(run.latencies)
            return Sample(count, run.median * count, run.cpu_seconds), run.children

        return Pair(
            reference=lambda: measure(REFERENCE),
            candidate=lambda: measure(CANDIDATE),
            check=must_be_equal,
            measure=lambda reference, candidate: candidate.wall_seconds / reference.wall_seconds,
            warm_up=False,
            is_dear=True,
            notes=lambda: "; ".join(f"{side} {spell_latencies(runs)}" for side, runs in seen.items()),
        )

    def _play_idle(self, side: Side) -> Iterator[Idle]:
        yield from (burst.idle for burst in self._bursts[side].kept())
        while True:
            yield run_idle(self._lab.get(), side)

    def writes(self) -> Count:
        """Writes of the candidate's bursts."""
        return self._count(lambda burst: burst.writes / burst.objects, notes=lambda burst: burst.told)

    def reads(self) -> Count:
        """Reads of the candidate's bursts."""
        return self._count(lambda burst: burst.reads / burst.objects, notes=lambda burst: f"{burst.reads} in the last")

    def restart_writes(self) -> Count:
        """Writes after a restart with every object made."""
        return self._count(lambda burst: restart_of(burst).writes, notes=spell_restart)

    def restart_cpu(self) -> Count:
        """CPU of a restart against CPU of the creation."""
        return self._count(compare_restart, notes=spell_restart)

    def repairs(self) -> Count:
        """Every edit, tried on several services at once, each of which is a repetition."""
        tried: list[list[Repair]] = []
        told: list[Repair] = []

        def count() -> float:
            if not tried:
                tried.extend(try_all(self._lab.get(), services=MIN_REPETITIONS))
            repairs = tried.pop()
            told.extend(repairs)
            return sum(repair.seconds is not None for repair in repairs) / len(repairs)

        return Count(count, notes=lambda: spell_repairs(told))

    def _compare_bursts(
        self, *, measure: Callable[[Sample, Sample], float] | None, drift_of: Callable[[Sample], float]
    ) -> Pair:
        sides = {side.name: tape.play() for side, tape in self._bursts.items()}
        seen: dict[SideName, list[Burst]] = {name: [] for name in sides}

        def next_of(name: SideName) -> tuple[Sample, object]:
            burst = next(sides[name])
            seen[name].append(burst)
            return Sample(burst.objects, burst.done_seconds, burst.cpu_seconds), burst.children

        return Pair(
            reference=lambda: next_of("reference"),
            candidate=lambda: next_of("candidate"),
            check=must_be_equal,
            measure=measure,
            drift_of=drift_of,
            warm_up=False,
            is_dear=True,
            notes=lambda: "; ".join(f"{name} {spell_bursts(bursts)}" for name, bursts in seen.items()),
        )

    def _count(self, count: Callable[[Burst], float], *, notes: Callable[[Burst], str]) -> Count:
        player = self._bursts[CANDIDATE].play()
        seen: list[Burst] = []

        def next_count() -> float:
            seen.append(next(player))
            return count(seen[-1])

        return Count(next_count, notes=lambda: notes(seen[-1]))


def compare_cpu(reference: Sample, candidate: Sample) -> float:
    """How many times as much CPU time the candidate uses for one unit."""
    return (candidate.cpu_seconds / candidate.units) / (reference.cpu_seconds / reference.units)


def compare_restart(burst: Burst) -> float:
    """What an object adds to the CPU of a start, as a share of what its creation took."""
    restart = restart_of(burst)
    return (restart.cpu_seconds - restart.empty_cpu_seconds) / burst.cpu_seconds


def restart_of(burst: Burst) -> Restart:
    """Return the restart after a burst.

    Raises:
        WrongAnswerError: There was none.
    """
    if burst.restart is None:
        raise WrongAnswerError("the operator was not restarted")
    return burst.restart


def must_be_equal(expected: object, found: object) -> None:
    """Raise where the two sides did not make the same."""
    if expected != found:
        raise WrongAnswerError("the bare handler and the operator did not make the same children")


def spell_bursts(bursts: Sequence[Burst]) -> str:
    """Spell the middle of what bursts came to."""
    speed = statistics.median(burst.objects / burst.done_seconds for burst in bursts)
    made = statistics.median(burst.objects / burst.made_seconds for burst in bursts)
    cpu = statistics.median(burst.cpu_seconds / burst.objects for burst in bursts)
    bound = [burst.objects / burst.bound_seconds for burst in bursts if burst.bound_seconds is not None]
    bound_told = f", {statistics.median(bound):.1f} until the last pod has its node" if bound else ""
    control = statistics.median(sum(burst.control_cpu_seconds.values()) / burst.objects for burst in bursts)
    writes = bursts[-1].writes / bursts[-1].objects
    return (
        f"{speed:.1f} objects/s until marked done ({made:.1f} until the last child{bound_told}), "
        f"{1e3 * cpu:.1f} ms CPU (and {1e3 * control:.1f} ms of the control plane) and {writes:.2f} writes an object, "
        f"{bursts[-1].peak_mib:.0f} MiB at most ({bursts[-1].objects} objects); others took "
        f"{max(burst.others_share for burst in bursts):.0%} of the machine at most"
    )


def spell_latencies(runs: Sequence[Idle]) -> str:
    """Spell the medians of runs and the longest of all."""
    middle = statistics.median(run.median for run in runs)
    return f"{1e3 * middle:.0f} ms, at most {1e3 * max(max(run.latencies) for run in runs):.0f} ms"


def spell_restart(burst: Burst) -> str:
    """Spell the last restart's figures."""
    restart = restart_of(burst)
    return (
        f"{burst.objects} objects: the start took {restart.cpu_seconds:.2f} s CPU ({restart.empty_cpu_seconds:.2f} s "
        f"with none there), their creation {burst.cpu_seconds:.2f} s; {restart.writes} writes"
    )


def spell_repairs(repairs: Sequence[Repair]) -> str:
    """Spell how many were tried, how long they took, and which were not put back."""
    seconds = [repair.seconds for repair in repairs if repair.seconds is not None]
    missed = sorted({f"{repair.kind}: {repair.what}" for repair in repairs if repair.seconds is None})
    told = f"{len(repairs)} edits"
    if seconds:
        told += f", repaired in {statistics.median(seconds):.2f} s in the middle and {max(seconds):.2f} s at most"
    return told + (f"; not repaired: {', '.join(missed)}" if missed else "")
