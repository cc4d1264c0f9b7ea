"""What holds for every cluster: order decides nothing, a plain loop agrees, stricter rules admit no more."""

# ruff: noqa: S311 - made-up data

import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from bench.plain import group_usage, place_plainly
from bench.violations import find_violations
from bench.worlds import LAWS, NOW, TEES, TIERS, MadeUpWorld, build_demand, build_full_demand, build_world
from sekisho.classify.rules import EffectiveRules, EffectiveTrust
from sekisho.errors import Reason
from sekisho.placement.engine import Placement, check_node, place
from sekisho.placement.requirement import Demand, is_met
from sekisho.placement.snapshot import take_snapshot

WORLDS = st.builds(
    lambda seed, nodes, sites: build_world(seed, nodes=nodes, sites=sites),
    st.integers(0, 10**9), st.integers(0, 25), st.integers(0, 4),
)  # fmt: skip
SEEDS = st.integers(0, 10**9)


def build_any_demand(seed: int, world: MadeUpWorld) -> Demand:
    rng = random.Random(seed)
    return build_full_demand(rng, world) if rng.random() < 0.2 else build_demand(rng, world)


def decide(demand: Demand, world: MadeUpWorld) -> Placement:
    return place(demand, world.sites, take_snapshot(world.nodes, world.usage), now_at=NOW)


def admitted(placement: Placement) -> set[str]:
    fits = {item.site for item in placement.rejected if item.reason is Reason.OUTRANKED}
    return fits | ({placement.site} if placement.site is not None and placement.shortage is None else set())


@settings(deadline=None)
@given(WORLDS, SEEDS)
def test_the_order_of_sites_nodes_and_pods_decides_nothing(world: MadeUpWorld, seed: int) -> None:
    demand, rng = build_any_demand(seed, world), random.Random(seed)
    shuffled = MadeUpWorld(
        world.policy,
        dict(rng.sample(list(world.sites.items()), len(world.sites))),
        tuple(rng.sample(world.nodes, len(world.nodes))),
        tuple(rng.sample(world.usage, len(world.usage))),
    )
    assert decide(demand, world) == decide(demand, shuffled)


@settings(deadline=None)
@given(WORLDS, SEEDS)
def test_a_plain_loop_over_nodes_comes_to_the_same_site_and_the_same_reasons(world: MadeUpWorld, seed: int) -> None:
    demand = build_any_demand(seed, world)
    placement = decide(demand, world)
    answer = place_plainly(demand, world.sites, group_usage(world.nodes, world.usage), now_at=NOW)
    told = [*placement.rejected, *filter(None, [placement.shortage])]
    reasons = {item.site: item.reason for item in told if item.reason is not Reason.OUTRANKED}
    assert (placement.site, reasons) == (answer.site, dict(answer.reasons))


@settings(deadline=None)
@given(WORLDS, SEEDS)
def test_one_snapshot_that_answers_many_answers_as_a_fresh_one_does(world: MadeUpWorld, seed: int) -> None:
    snapshot = take_snapshot(world.nodes, world.usage)
    for offset in range(4):
        demand, now_at = build_any_demand(seed + offset, world), NOW + offset * 3600 - 7200
        fresh = place(demand, world.sites, take_snapshot(world.nodes, world.usage), now_at=now_at)
        assert place(demand, world.sites, snapshot, now_at=now_at) == fresh


@settings(deadline=None)
@given(WORLDS, SEEDS)
def test_no_choice_and_no_node_that_its_requirements_admit_breaks_the_policy(world: MadeUpWorld, seed: int) -> None:
    demand = build_demand(random.Random(seed), world)
    assert find_violations(world, demand, decide(demand, world), now_at=NOW) == []


@settings(deadline=None)
@given(WORLDS, SEEDS)
def test_a_node_that_the_requirements_admit_passes_all_but_the_age_of_its_proof(world: MadeUpWorld, seed: int) -> None:
    demand = build_any_demand(seed, world)
    placement = decide(demand, world)
    snapshot = take_snapshot(world.nodes, world.usage)
    for node in world.nodes:
        if placement.site is not None and any(is_met(term, node.labels) for term in placement.terms):
            placed = replace(demand, current_site=placement.site)
            rejection = check_node(placed, world.sites, snapshot, node=node.name, now_at=NOW)
            # Affinity can demand that a proof is there, not what it says.
            assert rejection is None or rejection.reason in (Reason.TRUST_TOO_OLD, Reason.TRUST_MISSING)


def make_stricter(rules: EffectiveRules, rng: random.Random) -> EffectiveRules:
    """Join further rules: fewer tiers and laws, more proofs, younger ones, stricter tenancy."""
    laws = frozenset(LAWS) if rules.jurisdictions is None else rules.jurisdictions
    trust = rules.trust or EffectiveTrust(frozenset(TEES[:3]), frozenset(), 100_000)
    any_of = frozenset(TEES[:3]) if trust.any_of is None else trust.any_of
    tenancies = ("Shared", "SharedByOwner", "Dedicated")
    choices = (
        replace(rules, tiers=rules.tiers - {rng.choice(TIERS)}),
        replace(rules, jurisdictions=laws - {rng.choice(LAWS)}),
        replace(rules, trust=trust),
        replace(rules, trust=replace(trust, devices=trust.devices | {"nvidia-cc"})),
        replace(rules, trust=replace(trust, any_of=any_of - {rng.choice(TEES)})),
        replace(rules, trust=replace(trust, max_age_seconds=trust.max_age_seconds // 2)),
        replace(rules, tenancy=tenancies[min(2, tenancies.index(rules.tenancy) + 1)]),
    )
    return rng.choice(choices)


@settings(deadline=None)
@given(WORLDS, SEEDS)
def test_stricter_rules_never_admit_a_further_site(world: MadeUpWorld, seed: int) -> None:
    demand = replace(build_any_demand(seed, world), current_site=None)
    rng = random.Random(seed)
    stricter = replace(demand, rules=make_stricter(make_stricter(demand.rules, rng), rng))
    assert admitted(decide(stricter, world)) <= admitted(decide(demand, world))


@settings(deadline=None)
@given(WORLDS, SEEDS)
def test_wishes_and_needs_never_admit_a_further_site(world: MadeUpWorld, seed: int) -> None:
    demand = replace(build_any_demand(seed, world), current_site=None)
    more = replace(
        demand,
        replicas=demand.replicas + 1,
        gpus=demand.gpus + 1,
        gpu_memory_mib=(demand.mib_per_gpu + 1) * (demand.gpus + 1),
        node_selector={**demand.node_selector, "zone": "a"},
        tolerations=(),
    )
    assert admitted(decide(more, world)) <= admitted(decide(demand, world))
