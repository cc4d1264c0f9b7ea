"""Measure a candidate against a reference in the same run, interleaved, and say whether the ratio holds.

A benchmark registers itself by an id. What it measures is either a ratio of two timings (`Pair`), taken A B A B, or a
count (`Count`) that must meet a bound. Both check what they compute, so that a fast wrong answer fails.
"""

import gc
import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from typing import Final, Literal

Direction = Literal["max", "min"]
MIN_REPETITIONS: Final = 5
MAX_DRIFT: Final = 0.15
MAX_TRIES: Final = 3


class WrongAnswerError(Exception):
    """The reference and the candidate disagree, or an answer breaks what it must keep."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One repetition of one side.

    Attributes:
        units: Units of work done.
        wall_seconds: By the clock.
        cpu_seconds: Of this process, unless the side measured itself.
    """

    units: int
    wall_seconds: float
    cpu_seconds: float


Side = Callable[[], tuple["int | Sample", object]]


@dataclass(frozen=True, slots=True)
class Pair:
    """A reference and a candidate that do the same work.

    Attributes:
        reference: Does the work once; returns the units of work and whatever `check` compares. A side that measures
            itself (a latency, the CPU of another process) returns its sample in place of the units.
        candidate: The same.
        check: Raises `WrongAnswerError` where the two results disagree; called after every repetition, untimed.
        measure: Makes the ratio of the two samples of one repetition; `speed_up` unless told otherwise.
        drift_of: What of a reference's sample must not drift; the wall time of a unit unless told otherwise.
        repetitions: At least `MIN_REPETITIONS`.
        warm_up: Whether both sides run once untimed before.
        is_dear: Whether a series whose reference drifted goes on by one repetition, and is judged by its last ones,
            where others are run anew as a whole.
        notes: More to tell, asked for at the end.
    """

    reference: Side
    candidate: Side
    check: Callable[[object, object], None]
    measure: Callable[[Sample, Sample], float] | None = None
    drift_of: Callable[[Sample], float] | None = None
    repetitions: int = MIN_REPETITIONS
    warm_up: bool = True
    is_dear: bool = False
    notes: Callable[[], str] | None = None


@dataclass(frozen=True, slots=True)
class Count:
    """Something counted, once a repetition, that must meet a bound."""

    count: Callable[[], float]
    repetitions: int = MIN_REPETITIONS
    notes: Callable[[], str] | None = None


Subject = Pair | Count
Opening = Callable[[], AbstractContextManager[Subject]]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One line of the table.

    Attributes:
        goal: Bound of the ratio; None where the figure is told and judged by nobody.
        direction: "min": the ratio must be at least the goal; "max": at most.
        open: Prepares everything (servers, data), gives the subject, and cleans up.
        on_request: Whether it runs only where it is asked for by its id.
    """

    id: str
    what: str
    reference: str
    goal: float | None
    direction: Direction
    open: Opening
    on_request: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What `bench.json` holds of one benchmark, and the samples behind it for the picture.

    Attributes:
        holds: None where there is no verdict: the reference drifted too far, or there is no goal.
    """

    id: str
    what: str
    reference: str
    ratio: float
    low: float
    high: float
    goal: float | None
    direction: Direction
    holds: bool | None
    detail: str
    ratios: tuple[float, ...] = field(default=())

    def record(self) -> dict[str, object]:
        """Return the fields of the file, in their order."""
        fields = asdict(self)
        del fields["ratios"]
        return fields


class Registry:
    """The benchmarks by id, in the order of their registration."""

    def __init__(self) -> None:
        self._known: dict[str, Benchmark] = {}

    def register(self, benchmark: Benchmark) -> None:
        """Add a benchmark.

        Raises:
            ValueError: Another one has its id.
        """
        if benchmark.id in self._known:
            raise ValueError(f"benchmark {benchmark.id} is registered twice")
        self._known[benchmark.id] = benchmark

    def choose(self, only: Iterable[str]) -> list[Benchmark]:
        """Return those named, or else all but those that run on request; an unknown id is an error.

        Raises:
            ValueError: No benchmark has one of the ids.
        """
        wanted = list(dict.fromkeys(only))
        unknown = [name for name in wanted if name not in self._known]
        if unknown:
            raise ValueError(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(self._known)}")
        if not wanted:
            return [benchmark for benchmark in self._known.values() if not benchmark.on_request]
        return [self._known[name] for name in wanted]


def always(subject: Subject) -> AbstractContextManager[Subject]:
    """Wrap a subject that needs no cleaning up."""
    return nullcontext(subject)


def speed_up(reference: Sample, candidate: Sample) -> float:
    """How many times as many units a second the candidate does."""
    return (candidate.units / candidate.wall_seconds) / (reference.units / reference.wall_seconds)


def time_ratio(reference: Sample, candidate: Sample) -> float:
    """How many times as long the candidate takes for one unit."""
    return 1 / speed_up(reference, candidate)


def run(benchmark: Benchmark, *, tell: Callable[[str], None]) -> Outcome:
    """Run a benchmark to its outcome.

    Args:
        benchmark: What to run.
        tell: Hears one line for every repetition of a series that drifted.
    """
    with benchmark.open() as subject:
        if isinstance(subject, Count):
            return _run_count(benchmark, subject)
        samples: list[tuple[Sample, Sample]] = []
        for attempt in range(1, MAX_TRIES + 1):
            samples = [*samples[1:], _run_once(subject)] if samples and subject.is_dear else _run_pair(subject)
            drift = measure_drift([reference for reference, _ in samples], of=subject.drift_of)
            if drift <= MAX_DRIFT:
                break
            tell(f"{benchmark.id}: the reference drifted by {drift:.0%} (attempt {attempt} of {MAX_TRIES})")
        return _judge_pair(benchmark, subject, samples, drift=drift, attempts=attempt)


def measure_drift(samples: list[Sample], *, of: Callable[[Sample], float] | None = None) -> float:
    """How far the last repetition's time for a unit is from the first's, as a share of the first's."""
    first, last = ((of or _wall_of)(item) for item in (samples[0], samples[-1]))
    return abs(last - first) / first


def _wall_of(sample: Sample) -> float:
    return sample.wall_seconds / sample.units


def is_within(value: float, goal: float | None, direction: Direction) -> bool | None:
    """Tell whether a value meets its goal, None where there is none; what is not a number meets none."""
    if goal is None:
        return None
    return value >= goal if direction == "min" else value <= goal


def _run_pair(pair: Pair) -> list[tuple[Sample, Sample]]:
    if pair.warm_up:
        pair.check(pair.reference()[1], pair.candidate()[1])
    return [_run_once(pair) for _ in range(max(pair.repetitions, MIN_REPETITIONS))]


def _run_once(pair: Pair) -> tuple[Sample, Sample]:
    reference, expected = _time(pair.reference)
    candidate, found = _time(pair.candidate)
    pair.check(expected, found)
    return reference, candidate


def _time(side: Side) -> tuple[Sample, object]:
    # A collection in the middle of one side would be charged to it alone. What has lived until now is set aside, so
    # that the next collection looks at the last side's leavings only.
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        cpu, wall = time.process_time(), time.perf_counter()
        work, result = side()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    finally:
        gc.enable()
    return work if isinstance(work, Sample) else Sample(work, wall, cpu), result


def _judge_pair(
    benchmark: Benchmark, pair: Pair, samples: list[tuple[Sample, Sample]], *, drift: float, attempts: int
) -> Outcome:
    ratios = [(pair.measure or speed_up)(reference, candidate) for reference, candidate in samples]
    sides = {"reference": [sample for sample, _ in samples], "candidate": [sample for _, sample in samples]}
    parts = [f"{name} {_spell_costs(side)}" for name, side in sides.items()]
    told = f"the last {len(samples)} of {len(samples) + attempts - 1}" if pair.is_dear else f"{len(samples)}"
    parts.append(f"{told} repetitions interleaved, drift of the reference {drift:.1%}")
    holds: bool | None = is_within(statistics.median(ratios), benchmark.goal, benchmark.direction)
    if drift > MAX_DRIFT:
        holds = None
        parts.append(f"no verdict: it drifted by more than {MAX_DRIFT:.0%} in {attempts} attempts")
    return _conclude(benchmark, ratios, holds=holds, parts=[*parts, *_read_notes(pair)])


def _run_count(benchmark: Benchmark, subject: Count) -> Outcome:
    counts = [float(subject.count()) for _ in range(subject.repetitions)]
    # What is counted must hold every time, not in the median.
    verdicts = [is_within(value, benchmark.goal, benchmark.direction) for value in counts]
    holds = None if None in verdicts else all(verdicts)
    parts = [f"{len(counts)} repetitions counted"]
    return _conclude(benchmark, counts, holds=holds, parts=[*parts, *_read_notes(subject)])


def _conclude(benchmark: Benchmark, ratios: list[float], *, holds: bool | None, parts: list[str]) -> Outcome:
    if not all(math.isfinite(value) for value in ratios):
        raise WrongAnswerError(f"{benchmark.id} measured something that is no number: {ratios}")
    return Outcome(
        id=benchmark.id,
        what=benchmark.what,
        reference=benchmark.reference,
        ratio=statistics.median(ratios),
        low=min(ratios),
        high=max(ratios),
        goal=benchmark.goal,
        direction=benchmark.direction,
        holds=holds,
        detail="; ".join(parts),
        ratios=tuple(ratios),
    )


def _read_notes(subject: Subject) -> list[str]:
    return [subject.notes()] if subject.notes is not None else []


def _spell_costs(samples: list[Sample]) -> str:
    costs: Mapping[str, float] = {
        "wall": statistics.median(item.wall_seconds / item.units for item in samples),
        "CPU": statistics.median(item.cpu_seconds / item.units for item in samples),
    }
    return " and ".join(f"{cost * 1e6:,.1f} µs {name}" for name, cost in costs.items()) + " a unit"
