"""Placement as a plain Python loop over nodes: the reference of the benchmark, and the oracle of tests.

Written from the rules alone, without a look at `sekisho.placement`'s columns: one pass over the nodes of each site that
the law allows, leaving a node at its first failing rule, with integers and dictionaries and nothing else.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from sekisho.api.v1alpha1.inferenceservice import Toleration
from sekisho.api.v1alpha1.site import SiteSpec
from sekisho.classify.rules import EffectiveTrust
from sekisho.errors import Reason
from sekisho.placement.requirement import Demand
from sekisho.placement.snapshot import NodeFacts, PodUsage, Taint

EU = frozenset(
    ("AT", "BE", "BG", "HR", "CY", "CZ", "DK", "EE", "FI", "FR", "DE", "GR", "HU", "IE", "IT", "LV", "LT", "LU", "MT",
     "NL", "PL", "PT", "RO", "SK", "SI", "ES", "SE")
)  # fmt: skip
NOT_EU = frozenset(
    ("FR-BL", "FR-CP", "FR-NC", "FR-PF", "FR-PM", "FR-TF", "FR-WF", "NL-AW", "NL-BQ1", "NL-BQ2", "NL-BQ3", "NL-CW",
     "NL-SX")
)  # fmt: skip
PREFIX = "sekisho.node-restriction.kubernetes.io/"
STEPS = (
    Reason.TRUST_MISSING, Reason.TRUST_TOO_OLD, Reason.NO_NODES, Reason.NODES_NOT_READY, Reason.NODE_SELECTOR_MISMATCH,
    Reason.TAINT_NOT_TOLERATED, Reason.ACCELERATOR_MISSING, Reason.TENANCY_CONFLICT,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PlainCluster:
    """Nodes with what is used on them, grouped once.

    Attributes:
        used: gpus, cpu, memory, pods by node.
        shares: The same by node, then by the service that has pods there; pods of nobody's service left out.
    """

    nodes: tuple[NodeFacts, ...]
    used: Mapping[str, tuple[int, int, int, int]]
    shares: Mapping[str, Mapping[tuple[str, str], tuple[int, int, int, int]]]


def group_usage(nodes: Sequence[NodeFacts], usage: Iterable[PodUsage]) -> PlainCluster:
    """Add up what pods use."""
    used = {node.name: (0, 0, 0, 0) for node in nodes}
    shares: dict[str, dict[tuple[str, str], tuple[int, int, int, int]]] = {node.name: {} for node in nodes}
    for pod in usage:
        amounts = (pod.gpus, pod.cpu_millis, pod.memory_mib, 1)
        used[pod.node] = add(used[pod.node], amounts)
        if pod.service:
            mine = shares[pod.node].get((pod.namespace, pod.service), (0, 0, 0, 0))
            shares[pod.node][pod.namespace, pod.service] = add(mine, amounts)
    return PlainCluster(tuple(nodes), used, shares)


def add(left: tuple[int, int, int, int], right: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """Add amounts."""
    return (left[0] + right[0], left[1] + right[1], left[2] + right[2], left[3] + right[3])


@dataclass(frozen=True, slots=True)
class PlainAnswer:
    """The site, and the reason of every site that does not fit; `room` are replicas that fit where all fit."""

    site: str | None
    reasons: Mapping[str, Reason]
    room: Mapping[str, int]


def place_plainly(
    demand: Demand, sites: Mapping[str, SiteSpec], cluster: PlainCluster, *, now_at: float
) -> PlainAnswer:
    """Choose a site by looping over nodes."""
    reasons: dict[str, Reason] = {}
    room: dict[str, int] = {}
    for name, site in sites.items():
        reason = check_law(demand, name, site)
        if reason is None and demand.rules.trust is not None and not is_possible(demand.rules.trust):
            reason = Reason.TRUST_IMPOSSIBLE
        if reason is None:
            reason, room[name] = loop_over_nodes(demand, site, cluster, now_at)
        if reason is not None:
            reasons[name] = reason
    current = demand.current_site
    if current is not None and current in reasons and may_stay(demand, current, sites[current], cluster, now_at):
        return PlainAnswer(current, reasons, room)
    return PlainAnswer(choose(demand, sites, [name for name in room if name not in reasons], room), reasons, room)


def check_law(demand: Demand, name: str, site: SiteSpec) -> Reason | None:
    """Check what needs no node."""
    if demand.sites and name not in demand.sites:
        return Reason.SITE_NOT_SELECTED
    if site.nodes is None:
        return Reason.SITE_KIND_NOT_SERVED
    if site.tier not in demand.rules.tiers:
        return Reason.TIER_NOT_ALLOWED
    if demand.rules.jurisdictions is not None and not is_under(demand.rules.jurisdictions, site.jurisdiction):
        return Reason.JURISDICTION_NOT_ALLOWED
    return None


def is_under(allowed: Collection[str], law: str) -> bool:
    """Tell whether a law is one of the allowed, or a part of one."""
    if law in NOT_EU:
        return law in allowed
    codes = {law, law[:2], "EU"} if law[:2] in EU else {law, law[:2]}
    return not codes.isdisjoint(allowed)


def is_possible(trust: EffectiveTrust) -> bool:
    """Tell whether anything could satisfy the rule."""
    return bool(trust.any_of) or (trust.any_of is None and bool(trust.devices))


def loop_over_nodes(demand: Demand, site: SiteSpec, cluster: PlainCluster, now_at: float) -> tuple[Reason | None, int]:
    """Check every node of the site; return the rule at which the last of them failed, or the replicas that fit."""
    best, fits, partly = -1, 0, [0, 0, 0, 0, 0]
    for node in list_members(site, cluster):
        step = check_node(demand, node, cluster.shares[node.name], now_at)
        if step < len(STEPS):
            best = max(best, step)
            continue
        best = len(STEPS)
        counts = count_replicas(demand, node, cluster)
        fits += counts[-1]
        partly = [have + more for have, more in zip(partly, counts, strict=True)]
    if best == -1:
        return Reason.NO_NODES, 0
    if best < len(STEPS):
        return STEPS[best], 0
    return find_short(demand, partly), fits


def list_members(site: SiteSpec, cluster: PlainCluster) -> list[NodeFacts]:
    """List the site's nodes; an empty selector has none."""
    if site.nodes is None or not (site.nodes.match_labels or site.nodes.match_expressions):
        return []
    members = list(cluster.nodes)
    for key, value in site.nodes.match_labels.items():
        members = [node for node in members if node.labels.get(key) == value]
    for item in site.nodes.match_expressions:
        members = [node for node in members if has(node.labels, item.key, item.operator, item.values)]
    return members


def has(labels: Mapping[str, str], key: str, operator: str, values: tuple[str, ...]) -> bool:
    """Tell whether labels satisfy one requirement."""
    if operator == "In":
        return labels.get(key) in values
    if operator == "NotIn":
        return labels.get(key) not in values
    return (key in labels) == (operator == "Exists")


def check_node(
    demand: Demand, node: NodeFacts, shares: Mapping[tuple[str, str], tuple[int, ...]], now_at: float
) -> int:
    """Return the index in `STEPS` of the first rule that the node fails; their number if it fails none."""
    if demand.rules.trust is not None and (step := check_trust(demand.rules.trust, node.labels, now_at)) is not None:
        return step
    if not (node.ready and node.schedulable):
        return 3
    for key, value in demand.node_selector.items():
        if node.labels.get(key) != value:
            return 4
    for taint in node.taints:
        if not tolerates(taint, demand.tolerations):
            return 5
    if (demand.gpus or demand.gpu_memory_mib) and not node.gpus:
        return 6
    if demand.rules.tenancy == "Dedicated" and any(key != (demand.namespace, demand.service) for key in shares):
        return 7
    if demand.rules.tenancy == "SharedByOwner" and any(key[0] != demand.namespace for key in shares):
        return 7
    return len(STEPS)


def check_trust(trust: EffectiveTrust, labels: Mapping[str, str], now_at: float) -> int | None:
    """Return 0 where a proof is missing, 1 where one is too old, None where all is proven."""
    ages = [read_age(labels, device, now_at) for device in trust.devices]
    if trust.any_of is not None:
        known = [age for tee in trust.any_of if (age := read_age(labels, tee, now_at)) is not None]
        ages.append(min(known) if known else None)
    if None in ages:
        return 0
    return 1 if max(age for age in ages if age is not None) > trust.max_age_seconds else None


def read_age(labels: Mapping[str, str], tee: str, now_at: float) -> float | None:
    """Return the age of a proof; None where there is no proof worth the name."""
    value = labels.get(f"{PREFIX}{tee}-attested-at", "")
    if not (value.isascii() and value.isdigit() and len(value) <= 12) or int(value) > now_at + 60:
        return None
    return now_at - int(value)


def tolerates(taint: Taint, tolerations: Sequence[Toleration]) -> bool:
    """Tell whether a taint is tolerated for good."""
    if taint.effect == "PreferNoSchedule":
        return True
    for item in tolerations:
        if item.effect is not None and item.effect != taint.effect:
            continue
        if item.key and item.key != taint.key:
            continue
        if item.operator == "Equal" and (item.value or "") != taint.value:
            continue
        if taint.effect == "NoExecute" and item.toleration_seconds is not None:
            continue
        return True
    return False


def count_replicas(demand: Demand, node: NodeFacts, cluster: PlainCluster) -> list[int]:
    """Count the replicas that fit by GPU memory alone, then with GPUs, CPU, memory and pod slots one after another."""
    used = cluster.used[node.name]
    own = cluster.shares[node.name].get((demand.namespace, demand.service), (0, 0, 0, 0))
    gpus = demand.gpus or (1 if demand.gpu_memory_mib else 0)
    fits = 10**6
    if gpus and node.gpu_memory_mib * gpus < demand.gpu_memory_mib:
        fits = 0
    counts = [fits]
    has = (node.gpus, node.cpu_millis, node.memory_mib, node.pods)
    for total, taken, mine, each in zip(has, used, own, (gpus, demand.cpu_millis, demand.memory_mib, 1), strict=True):
        if each:
            fits = min(fits, max(total - taken + mine, 0) // each)
        counts.append(fits)
    return counts


def find_short(demand: Demand, counts: Sequence[int]) -> Reason | None:
    """Name the first resource of which there is not enough."""
    if counts[0] == 0:
        return Reason.GPU_MEMORY_SHORT
    order = (Reason.GPU_MEMORY_SHORT, Reason.GPU_SHORT, Reason.CPU_SHORT, Reason.MEMORY_SHORT, Reason.POD_SLOTS_SHORT)
    return next((reason for reason, fits in zip(order, counts, strict=True) if fits < demand.replicas), None)


def may_stay(demand: Demand, name: str, site: SiteSpec, cluster: PlainCluster, now_at: float) -> bool:
    """Tell whether a running service may go on there: the law, and a node with the proofs and labels it asks for."""
    if check_law(demand, name, site) is not None:
        return False
    trust = demand.rules.trust
    return any(
        (trust is None or (is_possible(trust) and check_trust(trust, node.labels, now_at) is None))
        and all(node.labels.get(key) == value for key, value in demand.node_selector.items())
        for node in list_members(site, cluster)
    )


def choose(
    demand: Demand, sites: Mapping[str, SiteSpec], fitting: Sequence[str], room: Mapping[str, int]
) -> str | None:
    """Choose: where it is, the cheapest, the roomiest, the first by name."""
    if demand.current_site in fitting:
        return demand.current_site
    costs = {name: cost_of(demand, sites[name]) for name in fitting}
    if len({currency for cost, currency in costs.values() if cost}) > 1:
        costs = {name: (Decimal(1 if cost else 0), currency) for name, (cost, currency) in costs.items()}
    return min(fitting, key=lambda name: (costs[name][0], -room[name], name), default=None)


def cost_of(demand: Demand, site: SiteSpec) -> tuple[Decimal, str]:
    """Return what a replica costs in an hour."""
    if site.price is None:
        return Decimal(0), ""
    gpus = demand.gpus or (1 if demand.gpu_memory_mib else 0)
    cost = Decimal(site.price.gpu_hour or 0) * gpus + Decimal(site.price.cpu_hour or 0) * demand.cpu_millis / 1000
    return cost, site.price.currency
