"""The checker of B6: whether a placement breaks the policy, read from the policy itself and nothing else.

It does not use the joined rules, the filters or the columns: every rule of the level, of those below it and of each
compartment is held against the site, and against every node that the placement's requirements would let the scheduler
choose.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

from bench.plain import is_under
from bench.worlds import MadeUpWorld
from sekisho.api.v1alpha1.classificationpolicy import Rules
from sekisho.placement.engine import Placement
from sekisho.placement.requirement import Demand
from sekisho.placement.snapshot import NodeFacts

PREFIX = "sekisho.node-restriction.kubernetes.io/"


def find_violations(world: MadeUpWorld, demand: Demand, placement: Placement, *, now_at: float) -> list[str]:
    """List what is broken; empty where all is kept, or nothing was placed."""
    if placement.site is None:
        return []
    rank = [level.name for level in world.policy.levels].index(demand.data_class.level)
    levels = [level.rules for level in world.policy.levels[: rank + 1]]
    compartments = {item.name: item.rules for item in world.policy.compartments}
    rules = [*levels, *(compartments[name] for name in demand.data_class.compartments)]
    # What a level allows that names no tiers; a compartment that names none says nothing.
    if any(level.tiers is None for level in levels):
        rules.append(Rules(tiers=("Closed",)))
    return [*_check_site(world, demand, placement.site, rules), *_check_nodes(world, placement, rules, now_at)]


def _check_site(world: MadeUpWorld, demand: Demand, name: str, rules: list[Rules]) -> Iterator[str]:
    site = world.sites[name]
    if demand.sites and name not in demand.sites:
        yield f"{name} was not asked for"
    for rule in rules:
        if rule.tiers is not None and site.tier not in rule.tiers:
            yield f"{name} is {site.tier}"
        if rule.jurisdictions is not None and not is_under(rule.jurisdictions, site.jurisdiction):
            yield f"{name} is under {site.jurisdiction}"


def _check_nodes(world: MadeUpWorld, placement: Placement, rules: list[Rules], now_at: float) -> Iterator[str]:
    members = [node for node in world.nodes if node.labels.get("site") == placement.site]
    admitted = [node for node in world.nodes if _is_admitted(node, placement)]
    for node in admitted:
        if node not in members:
            yield f"{node.name} is not of {placement.site}"
        if any(missing for rule in rules for missing in _find_missing(node, rule)):
            yield f"{node.name} lacks a proof"
    # Where a running service stays although nodes are short, pods may wait; the site must be proven all the same.
    chosen = admitted if placement.shortage is None else members
    if not any(all(_is_fresh(node, rule, now_at) for rule in rules) for node in chosen):
        yield f"no node of {placement.site} has proofs that are young enough"


def _is_admitted(node: NodeFacts, placement: Placement) -> bool:
    """Read terms as the scheduler does."""
    for term in placement.terms:
        verdicts = []
        for item in term:
            value = node.labels.get(item.key)
            verdicts.append(
                {
                    "In": value in item.values,
                    "NotIn": value not in item.values,
                    "Exists": value is not None,
                    "DoesNotExist": value is None,
                    "Gt": item.operator == "Gt" and (value or "").isdigit() and int(value or 0) > int(item.values[0]),
                }[item.operator]
            )
        if term and all(verdicts):
            return True
    return False


def _find_missing(node: NodeFacts, rule: Rules) -> list[str]:
    if rule.trust is None:
        return []
    missing: list[str] = [device for device in rule.trust.devices if f"{PREFIX}{device}-attested-at" not in node.labels]
    alternatives = [tee for tee in rule.trust.any_of if f"{PREFIX}{tee}-attested-at" in node.labels]
    return missing if alternatives or not rule.trust.any_of else [*missing, "anyOf"]


def _is_fresh(node: NodeFacts, rule: Rules, now_at: float) -> bool:
    if rule.trust is None:
        return True
    young = {
        tee for tee in ("snp", "tdx", "tpm", "nvidia-cc") if _is_young(node, tee, rule.trust.max_age_seconds, now_at)
    }
    return young.issuperset(rule.trust.devices) and (not rule.trust.any_of or not young.isdisjoint(rule.trust.any_of))


def _is_young(node: NodeFacts, tee: str, max_age_seconds: int, now_at: float) -> bool:
    try:
        seconds = int(node.labels.get(f"{PREFIX}{tee}-attested-at", ""))
        proven = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return False
    age = (datetime.fromtimestamp(now_at, UTC) - proven).total_seconds()
    return -60 <= age <= max_age_seconds
