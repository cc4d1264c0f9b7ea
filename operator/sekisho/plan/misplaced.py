"""Pods on nodes where they may not be (any longer): which they are, which must go, and when a proof will have ended."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from sekisho.api import names
from sekisho.api.times import parse_time
from sekisho.errors import Reason, Rejection
from sekisho.placement.engine import check_node
from sekisho.placement.requirement import Demand
from sekisho.placement.trust import groups_of
from sekisho.plan.conditions import find_condition
from sekisho.plan.pods import Pod
from sekisho.plan.world import Eviction, World

# The scheduler asks for a proof and not for its age: it may put the next pod onto the same node. This keeps that slow.
MIN_POD_AGE_SECONDS: Final = 60.0
MOST_AT_ONCE: Final = 16
# Whoever may write in the namespace can write a disruption budget that never allows anything, and one more than ours is
# enough for the API server to evict none of its pods.
MOST_PATIENCE_SECONDS: Final = 600.0
_TRUST: Final = frozenset({Reason.TRUST_MISSING, Reason.TRUST_TOO_OLD, Reason.TRUST_IMPOSSIBLE})
_MARGIN_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Misplaced:
    """A pod, and why it may not be where it is."""

    pod: Pod
    why: Rejection


def find_misplaced(demand: Demand, site: str | None, world: World, pods: tuple[Pod, ...]) -> tuple[Misplaced, ...]:
    """Return the pods of a site that may not be on the node they were bound to.

    Affinity asks for a proof, never for its age, and nobody asks it again once a pod runs.
    """
    if site is None:
        return ()
    settled, verdicts = replace(demand, current_site=site), dict[str, Rejection | None]()
    found = []
    for pod in pods:
        if not pod.node or pod.labels.get(names.SITE_LABEL) != site:
            continue
        if pod.node not in verdicts:
            verdicts[pod.node] = check_node(settled, world.sites, world.snapshot, node=pod.node, now_at=world.now_at)
        why = verdicts[pod.node]
        if why is not None:
            found.append(Misplaced(pod, why))
    return tuple(found)


def tell_misplaced(misplaced: tuple[Misplaced, ...]) -> Rejection | None:
    """Return why the first pod may not be where it is; None where all may."""
    if not misplaced:
        return None
    pod, why = misplaced[0].pod, misplaced[0].why
    return Rejection(why.reason, f"pod {pod.name} is on node {pod.node} and may not be, so it is evicted: {why.detail}")


def plan_evictions(
    misplaced: tuple[Misplaced, ...], status: Mapping[str, Any], *, now_at: float
) -> tuple[Eviction, ...]:
    """Return which pods to evict: those whose node lost its trust. Disruption budgets decide how fast, up to a limit.

    Args:
        misplaced: Pods that may not be where they are.
        status: Raw, of their service; tells since when that is so.
        now_at: Unix seconds.
    """
    overdue = _is_overdue(find_condition(status, "Placed"), now_at)
    gone = [
        Eviction(item.pod.name, item.pod.uid, item.why.reason, item.why.detail, overdue)
        for item in misplaced
        if item.why.reason in _TRUST and item.pod.uid and now_at - item.pod.created_at >= MIN_POD_AGE_SECONDS
    ]
    return tuple(gone[:MOST_AT_ONCE])


def _is_overdue(placed: Mapping[str, Any], now_at: float) -> bool:
    since = parse_time(placed.get("lastTransitionTime"))
    told = placed.get("status") == "False" and placed.get("reason") in _TRUST
    return told and since is not None and now_at - since >= MOST_PATIENCE_SECONDS


def next_expiry_seconds(demand: Demand, world: World, pods: tuple[Pod, ...]) -> float | None:
    """Return in how many seconds the first proof of a node that holds a pod will be too old; None where none will."""
    trust = demand.rules.trust
    if trust is None or not (groups := groups_of(trust)) or not all(groups):
        return None
    proven = world.snapshot.proven_at(groups, int(world.now_at))
    rows = {row for pod in pods if (row := world.snapshot.row_of(pod.node)) is not None}
    ends = [float(proven[row]) + trust.max_age_seconds - world.now_at for row in rows]
    left = [end + _MARGIN_SECONDS for end in ends if end >= 0]
    return min(left, default=None)
