"""B3 and B6: decisions a second over 5,000 nodes, and whether any decision breaks the policy."""

import random
import time
from collections.abc import Sequence
from typing import Final

from bench.harness import Benchmark, Count, Pair, Registry, WrongAnswerError, always
from bench.plain import PlainCluster, group_usage, place_plainly
from bench.violations import find_violations
from bench.worlds import NOW, MadeUpWorld, build_demand, build_full_demand, build_world
from sekisho.errors import Reason
from sekisho.placement.engine import Placement, place
from sekisho.placement.requirement import Demand
from sekisho.placement.snapshot import Snapshot, take_snapshot

NODES: Final = 5000
DECISIONS: Final = 60
# The engine decides so much faster that one round would be over within a slice of the scheduler.
ROUNDS: Final = 10
WORLDS: Final = 400
SMALL_NODES: Final = 24
DECISIONS_IN_A_SMALL_WORLD: Final = 10


def add_to(registry: Registry) -> None:
    """Register the benchmarks of placement."""
    registry.register(
        Benchmark(
            id="B3",
            what=f"decisions/s over {NODES:,} nodes, all constraints",
            reference="a plain Python loop",
            goal=15,
            direction="min",
            open=lambda: always(build_speed()),
        )
    )
    registry.register(
        Benchmark(
            id="B6",
            what="lattice and trust violations in placements",
            reference="a checker of the policy",
            goal=0,
            direction="max",
            open=lambda: always(build_checks()),
        )
    )


def build_speed(*, nodes: int = NODES, decisions: int = DECISIONS) -> Pair:
    """Decide for many services at once over one cluster, with every constraint in force."""
    world = build_world(7, nodes=nodes)
    rng = random.Random(7)  # noqa: S311 - made-up data
    demands = [build_full_demand(rng, world) for _ in range(decisions)]
    snapshot, cluster = take_snapshot(world.nodes, world.usage), group_usage(world.nodes, world.usage)

    def check(expected: object, found: object) -> None:
        if expected != found:
            raise WrongAnswerError("the plain loop and the engine disagree")

    return Pair(
        reference=lambda: (decisions, decide_plainly(demands, world, cluster)),
        candidate=lambda: (ROUNDS * decisions, [decide(demands, world, snapshot) for _ in range(ROUNDS)][-1]),
        check=check,
        repetitions=7,
        notes=lambda: _note_cold(demands[0], world),
    )


Answer = tuple[str | None, dict[str, Reason]]


def decide(demands: Sequence[Demand], world: MadeUpWorld, snapshot: Snapshot) -> list[Answer]:
    """Decide with the engine, explanations included."""
    return [summarise(place(demand, world.sites, snapshot, now_at=NOW)) for demand in demands]


def decide_plainly(demands: Sequence[Demand], world: MadeUpWorld, cluster: PlainCluster) -> list[Answer]:
    """Decide with the plain loop, which finds reasons but no sentences."""
    answers = [place_plainly(demand, world.sites, cluster, now_at=NOW) for demand in demands]
    return [(answer.site, dict(answer.reasons)) for answer in answers]


def summarise(placement: Placement) -> Answer:
    """Reduce a placement to what the plain loop finds too."""
    told = [*placement.rejected, *filter(None, [placement.shortage])]
    return placement.site, {item.site: item.reason for item in told if item.reason is not Reason.OUTRANKED}


def _note_cold(demand: Demand, world: MadeUpWorld) -> str:
    start = time.perf_counter()
    snapshot = take_snapshot(world.nodes, world.usage)
    built = time.perf_counter()
    place(demand, world.sites, snapshot, now_at=NOW)
    first = time.perf_counter() - built
    return f"building the snapshot {1e3 * (built - start):.1f} ms, its first decision {1e3 * first:.2f} ms"


def build_checks() -> Count:
    """Count violations over many made-up clusters and policies, and over the cluster of B3."""
    seeds = iter(range(10**9))
    seen = {"decisions": 0, "placed": 0}

    def count() -> float:
        found = 0
        for _ in range(WORLDS):
            found += _count_in(build_world(next(seeds), nodes=SMALL_NODES, sites=4), DECISIONS_IN_A_SMALL_WORLD, seen)
        return found + _count_in(build_world(next(seeds), nodes=NODES), DECISIONS, seen)

    return Count(count, notes=lambda: f"{seen['decisions']:,} decisions, {seen['placed']:,} placed")


def _count_in(world: MadeUpWorld, decisions: int, seen: dict[str, int]) -> int:
    rng = random.Random(len(world.nodes) + seen["decisions"])  # noqa: S311 - made-up data
    snapshot, cluster = take_snapshot(world.nodes, world.usage), group_usage(world.nodes, world.usage)
    found = 0
    for demand in (build_demand(rng, world) for _ in range(decisions)):
        placement = place(demand, world.sites, snapshot, now_at=NOW)
        answer = place_plainly(demand, world.sites, cluster, now_at=NOW)
        if summarise(placement) != (answer.site, dict(answer.reasons)):
            raise WrongAnswerError(f"the plain loop and the engine disagree about {demand}")
        seen["decisions"] += 1
        seen["placed"] += placement.site is not None
        found += len(find_violations(world, demand, placement, now_at=NOW))
    return found
