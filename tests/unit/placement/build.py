"""Nodes, sites and services for tests of placement, good for everything unless told otherwise."""

from dataclasses import replace
from typing import Any

from sekisho.api import names
from sekisho.api.v1alpha1.site import SiteSpec
from sekisho.classify.lattice import DataClass
from sekisho.classify.rules import EffectiveAnswers, EffectiveRules, EffectiveTrust, EffectiveWeights
from sekisho.placement.engine import Placement, place
from sekisho.placement.requirement import Demand
from sekisho.placement.snapshot import NodeFacts, PodUsage, take_snapshot

NOW = 1_800_000_000.0
RULES = EffectiveRules(
    tiers=frozenset(("Closed",)),
    jurisdictions=None,
    trust=None,
    weights=EffectiveWeights(),
    egress="Denied",
    burst="Never",
    redact=frozenset(),
    tenancy="Shared",
    images_by_digest=False,
    opaque="Refused",
    log="Digest",
    prompt_attacks="Record",
    answers=EffectiveAnswers(),
)
DEMAND = Demand(
    namespace="legal",
    service="review",
    replicas=1,
    cpu_millis=1000,
    memory_mib=4096,
    gpus=0,
    gpu_memory_mib=0,
    node_selector={},
    tolerations=(),
    sites=(),
    rules=RULES,
    data_class=DataClass(2, "restricted"),
)


def build_node(
    name: str = "a", *, site: str = "tokyo", labels: dict[str, str] | None = None, **facts: Any
) -> NodeFacts:
    node = NodeFacts(
        name=name,
        labels={"site": site, **(labels or {})},
        taints=(),
        ready=True,
        schedulable=True,
        cpu_millis=8000,
        memory_mib=32768,
        gpus=0,
        gpu_memory_mib=0,
        pods=110,
    )
    return replace(node, **facts)


def build_proofs(**seconds_ago: float) -> dict[str, str]:
    """Trust labels by tee (underscores for dashes) and age."""
    return {names.trust_label(tee.replace("_", "-")): str(int(NOW - age)) for tee, age in seconds_ago.items()}


def build_site(name: str = "tokyo", **spec: Any) -> SiteSpec:
    fields = {"tier": "Closed", "jurisdiction": "JP", "operatedBy": "own", "nodes": {"matchLabels": {"site": name}}}
    return SiteSpec.model_validate({**fields, **spec})


def build_demand(**changes: Any) -> Demand:
    """Change the service; names of fields of its rules change the rules."""
    of_rules = {key: changes.pop(key) for key in list(changes) if hasattr(RULES, key)}
    return replace(DEMAND, rules=replace(RULES, **of_rules), **changes)


def want_trust(*any_of: str, devices: tuple[str, ...] = (), max_age_seconds: int = 600) -> EffectiveTrust:
    return EffectiveTrust(frozenset(any_of), frozenset(devices), max_age_seconds)


def decide(
    demand: Demand,
    *nodes: NodeFacts,
    usage: tuple[PodUsage, ...] = (),
    now_at: float = NOW,
    sites: dict[str, SiteSpec] | None = None,
) -> Placement:
    known = {"tokyo": build_site()} if sites is None else sites
    return place(demand, known, take_snapshot(nodes, usage), now_at=now_at)
