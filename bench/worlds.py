"""Made-up clusters, policies and services, the same for the same seed."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sekisho.api import names
from sekisho.api.v1alpha1.classificationpolicy import ClassificationPolicySpec
from sekisho.api.v1alpha1.inferenceservice import Toleration
from sekisho.api.v1alpha1.site import SiteSpec
from sekisho.classify.lattice import DataClass
from sekisho.classify.rules import EffectiveAnswers, EffectiveRules, EffectiveTrust, EffectiveWeights, rules_of
from sekisho.placement.requirement import Demand
from sekisho.placement.snapshot import NodeFacts, PodUsage, Taint

NOW = 1_800_000_000.0
TEES = ("snp", "tdx", "tpm", "nvidia-cc")
TIERS = ("Closed", "OwnCloud", "ManagedApi")
LAWS = ("JP", "EU", "DE", "DE-BY", "FR-NC", "US", "GB")
GPU_SIZES = (0, 24576, 40960, 81920)
NAMESPACES = ("legal", "payroll", "support")
SERVICES = ("review", "helper", "search", "chat")


@dataclass(frozen=True, slots=True)
class MadeUpWorld:
    """All that placement and its checkers look at."""

    policy: ClassificationPolicySpec
    sites: Mapping[str, SiteSpec]
    nodes: tuple[NodeFacts, ...]
    usage: tuple[PodUsage, ...]


def build_world(seed: int, *, nodes: int, sites: int = 8, pods_per_node: int = 2) -> MadeUpWorld:
    """Make up a cluster of so many nodes in so many sites, with pods on them and a policy with all kinds of rules."""
    rng = random.Random(seed)  # noqa: S311 - made-up data
    pools = [f"site-{index}" for index in range(sites)]
    facts = tuple(_build_node(rng, index, pools) for index in range(nodes))
    usage = tuple(_build_pod(rng, node) for node in facts for _ in range(rng.randint(0, pods_per_node)))
    return MadeUpWorld(_build_policy(rng), {name: _build_site(rng, name) for name in pools}, facts, usage)


def build_demand(rng: random.Random, world: MadeUpWorld) -> Demand:
    """Make up a service; about every second uses all kinds of constraints at once."""
    rank = rng.randrange(len(world.policy.levels))
    compartments = [item.name for item in world.policy.compartments if rng.random() < 0.3]
    data_class = DataClass(rank, world.policy.levels[rank].name, frozenset(compartments))
    gpus = rng.choice((0, 1, 1, 2, 4))
    return Demand(
        namespace=rng.choice(NAMESPACES),
        service=rng.choice(SERVICES),
        replicas=rng.choice((0, 1, 1, 2, 4)),
        cpu_millis=rng.choice((0, 500, 4000)),
        memory_mib=rng.choice((512, 16384)),
        gpus=gpus,
        gpu_memory_mib=gpus * rng.choice((0, 20000, 40000, 81920)),
        node_selector=rng.choice(({}, {"disk": "ssd"}, {"disk": "ssd", "zone": "a"})),
        tolerations=rng.choice(((), (Toleration(key="gpu", operator="Exists"),))),
        sites=tuple(sorted(world.sites)[:-1]) if rng.random() < 0.3 else (),
        rules=rules_of(world.policy, data_class),
        data_class=data_class,
        current_site=rng.choice((None, None, *sorted(world.sites))),
    )


def build_full_demand(rng: random.Random, world: MadeUpWorld) -> Demand:
    """Make up a service with every constraint at once: law, two kinds of trust, labels, taints, tenancy, room."""
    data_class = DataClass(3, "level-3", frozenset())
    rules = EffectiveRules(
        tiers=frozenset(("Closed", "OwnCloud")),
        jurisdictions=frozenset(("JP", "EU", "US")),
        trust=EffectiveTrust(frozenset(("snp", "tdx", "tpm")), frozenset(("nvidia-cc",)), rng.choice((600, 3600))),
        weights=EffectiveWeights(),
        egress="Denied",
        burst="Never",
        redact=frozenset(),
        tenancy=rng.choice(("SharedByOwner", "Dedicated")),
        images_by_digest=True,
        opaque="Refused",
        log="Digest",
        prompt_attacks="Record",
        answers=EffectiveAnswers(),
    )
    demand = build_demand(rng, world)
    return replace(
        demand,
        replicas=rng.choice((1, 2, 4)),
        cpu_millis=500,
        memory_mib=512,
        gpus=1,
        gpu_memory_mib=20000,
        node_selector={"disk": "ssd"},
        tolerations=(Toleration(key="gpu", operator="Exists"),),
        sites=tuple(sorted(world.sites)[:-1]),
        rules=rules,
        data_class=data_class,
    )


def _build_node(rng: random.Random, index: int, pools: list[str]) -> NodeFacts:
    memory = rng.choice(GPU_SIZES)
    labels = {
        "site": rng.choice((*pools, "elsewhere")),
        "disk": rng.choice(("ssd", "ssd", "hdd")),
        "zone": rng.choice("ab"),
    }
    if memory:
        labels[names.GPU_MEMORY_LABEL] = str(memory)
    labels |= {names.trust_label(tee): _build_proof(rng) for tee in TEES if rng.random() < 0.6}
    return NodeFacts(
        name=f"node-{index:05}",
        labels=labels,
        taints=rng.choice(((), (), (Taint("gpu", "yes", "NoSchedule"),), (Taint("broken", "", "NoExecute"),))),
        ready=rng.random() < 0.95,
        schedulable=rng.random() < 0.95,
        cpu_millis=rng.choice((4000, 32000)),
        memory_mib=rng.choice((16384, 262144)),
        gpus=rng.choice((1, 4, 8)) if memory else 0,
        gpu_memory_mib=memory,
        pods=rng.choice((2, 110)),
    )


def _build_proof(rng: random.Random) -> str:
    if rng.random() < 0.1:
        return rng.choice(("", "yes", "-5", "1e9", "18000000000000"))
    return str(int(NOW) - rng.choice((-7200, -30, 5, 200, 1000, 5000, 100_000)))


def _build_pod(rng: random.Random, node: NodeFacts) -> PodUsage:
    ours = rng.random() < 0.4
    return PodUsage(
        node=node.name,
        namespace=rng.choice(NAMESPACES),
        service=rng.choice(SERVICES) if ours else "",
        cpu_millis=rng.choice((100, 2000)),
        memory_mib=rng.choice((256, 8192)),
        gpus=rng.choice((0, 1)) if node.gpus else 0,
    )


def _build_site(rng: random.Random, name: str) -> SiteSpec:
    price = {
        "gpuHour": rng.choice(("0", "1.10", "2.20")),
        "cpuHour": "0.05",
        "currency": rng.choice(("USD", "USD", "JPY")),
    }
    tier = rng.choice((*TIERS, "Closed", "OwnCloud"))
    return SiteSpec.model_validate(
        {
            "tier": tier,
            "jurisdiction": rng.choice(LAWS),
            "operatedBy": "own",
            "nodes": {"matchLabels": {"site": name}} if tier != "ManagedApi" or rng.random() < 0.5 else None,
            "price": price if rng.random() < 0.7 else None,
        }
    )


def _build_policy(rng: random.Random) -> ClassificationPolicySpec:
    return ClassificationPolicySpec.model_validate(
        {
            "unlabelled": "level-0",
            "levels": [{"name": f"level-{index}", "rules": _build_rules(rng)} for index in range(4)],
            "compartments": [{"name": f"set-{index}", "rules": _build_rules(rng)} for index in range(3)],
        }
    )


def _build_rules(rng: random.Random) -> dict[str, Any]:
    rules: dict[str, Any] = {}
    if rng.random() < 0.5:
        rules["tiers"] = ["Closed", *rng.sample(TIERS[1:], rng.randint(0, 2))]
    if rng.random() < 0.3:
        rules["jurisdictions"] = rng.sample(LAWS, rng.randint(2, 6))
    if rng.random() < 0.4:
        rules["trust"] = {
            "anyOf": rng.sample(TEES[:3], rng.randint(0, 3)),
            "devices": ["nvidia-cc"] if rng.random() < 0.3 else [],
            "maxAgeSeconds": rng.choice((600, 3600, 86400)),
        }
    if rng.random() < 0.5:
        rules["tenancy"] = rng.choice(("Shared", "SharedByOwner", "Dedicated"))
    return rules
