"""Choose a site for a service: law, trust, hardware, room; then price, room and name."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sekisho.api import names
from sekisho.api.v1alpha1.site import SiteSpec
from sekisho.errors import Reason, Rejection
from sekisho.placement.columns import Rows
from sekisho.placement.explain import explain_choice, explain_nowhere, explain_stay
from sekisho.placement.filters import (
    HARDWARE,
    LAW,
    WISHES,
    Case,
    Filter,
    filter_node_selector,
    filter_nodes,
    filter_tenancy,
    mask_of_wishes,
    rows_of_site,
    site_requirements,
)
from sekisho.placement.outcome import Placement, SiteRejection, Term
from sekisho.placement.requirement import Demand, Requirement, requirements_of_labels
from sekisho.placement.room import Room, measure_room
from sekisho.placement.score import Candidate, cost_of, explain_outranked, order
from sekisho.placement.snapshot import Snapshot
from sekisho.placement.trust import TRUST, groups_of
from sekisho.placement.wording import clip

__all__ = ["Placement", "SiteRejection", "check_node", "place"]

FILTERS: Final[tuple[Filter, ...]] = (*LAW, *TRUST, *HARDWARE)
# What a running service must go on satisfying. All else may pass by itself, and moving a model costs more than waiting.
BINDING: Final[tuple[Filter, ...]] = (*LAW, *TRUST, filter_nodes, filter_node_selector)
_ABSENT: Final = 'no Site is named "{}"'


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What became of one site: how many filters passed, the rejection if there is one, what is left."""

    case: Case
    passed: int
    rejection: Rejection | None
    rows: Rows
    room: Room | None = None


def place(demand: Demand, sites: Mapping[str, SiteSpec], snapshot: Snapshot, *, now_at: float) -> Placement:
    """Choose a site for a service, and say why there and nowhere else.

    The service's own pods never count as used. A service that runs stays where it is while law, trust, the site's
    selector and its own node selector allow it; a lack of room, or nodes that are not ready, is no reason to move.
    For one that wakes it is, where another site has what it needs: nothing of it runs that would have to move.

    Args:
        demand: What the service wants.
        sites: By name.
        snapshot: Nodes, and what is free on them.
        now_at: Unix seconds; ages of proofs are reckoned from it.
    """
    free = snapshot.without(demand.namespace, demand.service)
    verdicts = [_judge(Case(demand, name, sites[name], free, now_at)) for name in sorted(sites)]
    unknown = sorted({*demand.sites} - {*sites})
    absent = [SiteRejection(name, Reason.NO_SITE, _ABSENT.format(name)) for name in unknown]
    return _stay(demand, verdicts, absent) or _choose(demand, verdicts, absent)


def check_node(
    demand: Demand, sites: Mapping[str, SiteSpec], snapshot: Snapshot, *, node: str, now_at: float
) -> Rejection | None:
    """Tell why a pod of the service may not run (any longer) on one node of its current site; None where it may.

    Node affinity can demand that a proof exists, not that it is fresh: the scheduler may choose a node of the site
    whose proof has grown too old. Whoever knows where a pod was bound asks here before weights or requests reach it.
    """
    name = demand.current_site
    if name is None or name not in sites:
        return Rejection(Reason.NO_SITE, _ABSENT.format(name or ""))
    case = Case(demand, name, sites[name], snapshot, now_at)
    row = snapshot.row_of(node)
    rows = rows_of_site(snapshot, case.site)
    verdict = _run(case, BINDING, rows[rows == (-1 if row is None else row)])
    if verdict.rejection is not None and verdict.rejection.reason is Reason.NO_NODES:
        return Rejection(Reason.NO_NODES, f"node {node} is not one of site {name}'s nodes")
    return verdict.rejection


def _run(case: Case, filters: Sequence[Filter], rows: Rows, *, passed: int = 0) -> _Verdict:
    left = rows
    for position, apply in enumerate(filters, start=passed):
        answer = apply(case, left)
        if isinstance(answer, Rejection):
            return _Verdict(case, position, answer, left)
        left = answer
    return _Verdict(case, passed + len(filters), None, left)


def _judge(case: Case) -> _Verdict:
    verdict = _run(case, (*LAW, *TRUST, filter_nodes), rows_of_site(case.snapshot, case.site))
    if verdict.rejection is not None:
        return verdict
    usable = verdict.rows[mask_of_wishes(case)[verdict.rows]]
    if usable.size:
        verdict = _run(case, (filter_tenancy,), usable, passed=len(FILTERS) - 1)
    else:
        # One of them refuses; in their order, to find which, and the nearest miss.
        verdict = _run(case, WISHES, verdict.rows, passed=verdict.passed)
    if verdict.rejection is not None:
        return verdict
    room = measure_room(case, verdict.rows)
    return _Verdict(case, verdict.passed, room.shortage, verdict.rows, room)


def _stay(demand: Demand, verdicts: Sequence[_Verdict], absent: Sequence[SiteRejection]) -> Placement | None:
    """Keep a running service where it is if only what may pass by itself speaks against it."""
    current = next((item for item in verdicts if item.case.name == demand.current_site), None)
    if current is None or current.rejection is None:
        return None
    if demand.wakes and any(item.rejection is None for item in verdicts):
        return None
    kept = _run(current.case, BINDING, rows_of_site(current.case.snapshot, current.case.site))
    if kept.rejection is not None:
        return None
    others = [item for item in verdicts if item is not current]
    outranked = explain_outranked(_candidates(others), current.case, None)
    because = explain_stay(current.case, kept.rows, current.rejection)
    rejected = [*absent, *_rejections(others), *outranked]
    return _settle(current.case, because, rejected, shortage=_rejections([current])[0])


def _choose(demand: Demand, verdicts: Sequence[_Verdict], absent: Sequence[SiteRejection]) -> Placement:
    candidates = _candidates(verdicts)
    rejected = [*absent, *_rejections(verdicts)]
    if not candidates:
        return _refuse(demand, verdicts, rejected)
    winner = order(candidates, current=demand.current_site)[0]
    because = explain_choice(winner.case, winner.rows, winner.room)
    return _settle(winner.case, because, [*rejected, *explain_outranked(candidates, winner.case, winner)])


def _refuse(demand: Demand, verdicts: Sequence[_Verdict], rejected: Sequence[SiteRejection]) -> Placement:
    # The first by name of those that came furthest. Where the service asks only for sites that do not exist, it is the
    # first of these: nothing else is near what was asked for.
    furthest = max(verdicts, key=lambda item: item.passed, default=None)
    nearest = rejected[0] if rejected else None
    if furthest is not None and furthest.passed:
        nearest = next(item for item in rejected if item.site == furthest.case.name)
    because = explain_nowhere(str(demand.data_class), rejected, nearest)
    return Placement(None, clip(because), (), _sort(rejected), None if nearest is None else nearest.site)


def _settle(
    case: Case, because: str, rejected: Iterable[SiteRejection], *, shortage: SiteRejection | None = None
) -> Placement:
    requirements, alternatives = _require(case)
    return Placement(case.name, clip(because), requirements, _sort(rejected), None, alternatives, shortage)


def _require(case: Case) -> tuple[Term, tuple[Term, ...]]:
    """Say what nodes must satisfy: the site's selector, the user's, proofs, and GPUs that are large enough."""
    demand = case.demand
    wanted = {*site_requirements(case.site), *requirements_of_labels(demand.node_selector)}
    if demand.mib_per_gpu:
        wanted.add(Requirement(names.GPU_MEMORY_LABEL, "Gt", (str(demand.mib_per_gpu - 1),)))
    alternatives: tuple[Term, ...] = ()
    trust = demand.rules.trust
    for group in () if trust is None else groups_of(trust):
        proofs = [Requirement(names.trust_label(tee), "Exists") for tee in group]
        if len(proofs) == 1:
            wanted.update(proofs)
        else:
            alternatives = tuple((proof,) for proof in proofs)
    return tuple(sorted(wanted)), alternatives


def _candidates(verdicts: Iterable[_Verdict]) -> list[Candidate]:
    return [
        Candidate(item.case, item.rows, item.room, cost_of(item.case))
        for item in verdicts
        if item.rejection is None and item.room is not None
    ]


def _rejections(verdicts: Iterable[_Verdict]) -> list[SiteRejection]:
    return [
        SiteRejection(item.case.name, item.rejection.reason, clip(item.rejection.detail))
        for item in verdicts
        if item.rejection is not None
    ]


def _sort(rejected: Iterable[SiteRejection]) -> tuple[SiteRejection, ...]:
    return tuple(sorted(rejected, key=lambda item: item.site))
