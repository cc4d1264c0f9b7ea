"""The benchmarks of placement in small: sides agree, and the checkers see what is broken."""

import random
from dataclasses import replace

import pytest

from bench.catalogue import build_registry
from bench.harness import WrongAnswerError
from bench.placement import build_speed
from bench.violations import find_violations
from bench.worlds import NOW, MadeUpWorld, build_demand, build_world
from sekisho.placement.engine import Placement, place
from sekisho.placement.requirement import Demand, Requirement
from sekisho.placement.snapshot import take_snapshot


def find_placed(*, trusted: bool) -> tuple[MadeUpWorld, Demand, Placement]:
    for seed in range(500):
        world = build_world(seed, nodes=24, sites=4)
        demand = build_demand(random.Random(seed), world)  # noqa: S311 - made-up data
        placement = place(demand, world.sites, take_snapshot(world.nodes, world.usage), now_at=NOW)
        if placement.site and placement.shortage is None and (demand.rules.trust is not None) is trusted:
            return world, demand, placement
    raise AssertionError("no seed is placed")


def test_both_sides_of_b3_agree_and_a_disagreement_is_an_error() -> None:
    pair = build_speed(nodes=60, decisions=8)
    (units, expected), (_, found) = pair.reference(), pair.candidate()
    pair.check(expected, found)
    assert units == 8
    with pytest.raises(WrongAnswerError, match="disagree"):
        pair.check(expected, [])


def test_what_is_registered_bears_the_agreed_goals() -> None:
    known = {item.id: (item.goal, item.direction) for item in build_registry().choose([])}
    assert (known["B3"], known["B6"]) == ((15, "min"), (0, "max"))


def test_the_checker_sees_a_site_that_breaks_the_law() -> None:
    world, demand, placement = find_placed(trusted=False)
    assert find_violations(world, demand, placement, now_at=NOW) == []
    assert placement.site is not None
    site = world.sites[placement.site].model_copy(update={"tier": "Elsewhere"})
    moved = replace(world, sites={**world.sites, placement.site: site})
    assert f"{placement.site} is Elsewhere" in find_violations(moved, demand, placement, now_at=NOW)
    wished = replace(demand, sites=("none",))
    assert f"{placement.site} was not asked for" in find_violations(world, wished, placement, now_at=NOW)


def test_the_checker_sees_requirements_that_are_too_wide() -> None:
    world, demand, placement = find_placed(trusted=True)
    assert find_violations(world, demand, placement, now_at=NOW) == []
    wide = replace(placement, requirements=(Requirement("site", "Exists"),), alternatives=())
    found = " ".join(find_violations(world, demand, wide, now_at=NOW))
    assert f"is not of {placement.site}" in found
    assert "lacks a proof" in found


def test_the_checker_sees_proofs_that_are_too_old() -> None:
    world, demand, placement = find_placed(trusted=True)
    found = find_violations(world, demand, placement, now_at=NOW + 10**7)
    assert found == [f"no node of {placement.site} has proofs that are young enough"]
