"""The filters in their written order: law, then trust, then hardware; room stands in `room.py`.

Each filter takes the case and the rows of nodes that are left, and returns the rows that stay, or the rejection of the
whole site where none does. The first rejection is the most fundamental one. Sentences name the nearest miss.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from sekisho.api.v1alpha1.site import SiteSpec
from sekisho.classify.jurisdiction import is_covered
from sekisho.errors import Reason, Rejection
from sekisho.placement.columns import Mask, Rows, is_tolerated
from sekisho.placement.requirement import Demand, Requirement, requirements_of_labels, requirements_of_selector
from sekisho.placement.snapshot import GPUS, NodeFacts, Snapshot
from sekisho.placement.wording import count, join_names

TENANCY_SHARED: Final = "Shared"
TENANCY_DEDICATED: Final = "Dedicated"


@dataclass(frozen=True, slots=True)
class Case:
    """One service at one site.

    Attributes:
        name: Of the site.
        snapshot: In which the service's own pods do not count as used.
        now_at: Unix seconds.
    """

    demand: Demand
    name: str
    site: SiteSpec
    snapshot: Snapshot
    now_at: float

    @property
    def class_name(self) -> str:
        """The class as sentences spell it."""
        return str(self.demand.data_class)


Filter = Callable[[Case, Rows], Rows | Rejection]


def site_requirements(site: SiteSpec) -> tuple[Requirement, ...]:
    """Return what makes a node one of the site's; empty where the site names no nodes or its selector is empty."""
    return () if site.nodes is None else requirements_of_selector(site.nodes)


def rows_of_site(snapshot: Snapshot, site: SiteSpec) -> Rows:
    """Return the rows of the site's nodes; an empty selector claims none, lest it claim every node."""
    # By identity, for selectors have no cheap hash; the entry holds the site, so that no other can get its identity.
    return snapshot.recall(("site", id(site)), lambda: (site, _find_rows(snapshot, site)))[1]


def _find_rows(snapshot: Snapshot, site: SiteSpec) -> Rows:
    requirements = site_requirements(site)
    return snapshot.rows_of(requirements) if requirements else np.empty(0, dtype=np.intp)


# Law


def filter_wish(case: Case, rows: Rows) -> Rows | Rejection:
    """Keep the sites that the service asks for."""
    wished = case.demand.sites
    if not wished or case.name in wished:
        return rows
    return Rejection(Reason.SITE_NOT_SELECTED, f"the service asks for {join_names(sorted(wished), 'or')}")


def filter_site_kind(case: Case, rows: Rows) -> Rows | Rejection:
    """Keep the sites that are nodes of this cluster."""
    if case.site.nodes is not None:
        return rows
    detail = f"the site is a {case.site.tier} site without nodes of this cluster; no pod can be placed there"
    return Rejection(Reason.SITE_KIND_NOT_SERVED, detail)


def filter_tier(case: Case, rows: Rows) -> Rows | Rejection:
    """Keep the sites whose tier the class allows."""
    if case.site.tier in case.demand.rules.tiers:
        return rows
    allowed = join_names(sorted(case.demand.rules.tiers), "or") or "no tier"
    detail = f"class {case.class_name} allows {allowed}, the site is {case.site.tier}"
    return Rejection(Reason.TIER_NOT_ALLOWED, detail)


def filter_jurisdiction(case: Case, rows: Rows) -> Rows | Rejection:
    """Keep the sites under a law that the class allows."""
    allowed = case.demand.rules.jurisdictions
    if allowed is None or is_covered(allowed, case.site.jurisdiction):
        return rows
    named = join_names(sorted(allowed), "or") or "no jurisdiction"
    detail = f"class {case.class_name} allows {named}, the site is under {case.site.jurisdiction}"
    return Rejection(Reason.JURISDICTION_NOT_ALLOWED, detail)


# Hardware


def filter_nodes(case: Case, rows: Rows) -> Rows | Rejection:
    """Keep the sites that have nodes at all."""
    if rows.size:
        return rows
    wanted = join_names([str(item) for item in site_requirements(case.site)], "and")
    cluster = count(len(case.snapshot.nodes), "node")
    detail = f"none of the cluster's {cluster} has {wanted}" if wanted else "the site's selector of nodes is empty"
    return Rejection(Reason.NO_NODES, detail)


def filter_ready(case: Case, rows: Rows) -> Rows | Rejection:
    """Keep the nodes that are ready and not cordoned."""
    ready, schedulable = case.snapshot.ready[rows], case.snapshot.schedulable[rows]
    if (kept := rows[ready & schedulable]).size:
        return kept
    lost = int(rows.size - np.count_nonzero(ready))
    nearest = int(np.argmax(ready))
    detail = (
        f"none of {count(rows.size, 'node')} is ready and schedulable: {lost} not ready, {rows.size - lost} cordoned; "
        f"node {case.snapshot.nodes[rows[nearest]].name} is {'cordoned' if ready[nearest] else 'not ready'}"
    )
    return Rejection(Reason.NODES_NOT_READY, detail)


def filter_node_selector(case: Case, rows: Rows) -> Rows | Rejection:
    """Keep the nodes that have the labels the service asks for."""
    wanted = requirements_of_labels(case.demand.node_selector)
    if not wanted:
        return rows
    masks = [case.snapshot.mask_of(requirement)[rows] for requirement in wanted]
    if (kept := rows[np.logical_and.reduce(masks)]).size:
        return kept
    nearest = int(np.argmax(np.add.reduce(masks, dtype=np.int64)))
    missed = next(item for item, mask in zip(wanted, masks, strict=True) if not mask[nearest])
    node = case.snapshot.nodes[rows[nearest]]
    has = node.labels.get(missed.key)
    named = join_names([str(item) for item in wanted], "and")
    found = f"no label {missed.key}" if has is None else f"{missed.key}={has}"
    detail = f"nodeSelector wants {named}; none of {count(rows.size, 'node')} has it, node {node.name} has {found}"
    return Rejection(Reason.NODE_SELECTOR_MISMATCH, detail)


def filter_taints(case: Case, rows: Rows) -> Rows | Rejection:
    """Keep the nodes whose taints the service tolerates."""
    tolerations = case.demand.tolerations
    if (kept := rows[case.snapshot.tolerating(tolerations)[rows]]).size:
        return kept

    def misses(node: NodeFacts) -> list[str]:
        return sorted(str(taint) for taint in node.taints if not is_tolerated(taint, tolerations))

    nearest = min((case.snapshot.nodes[row] for row in rows), key=lambda node: (len(misses(node)), node.name))
    detail = (
        f"none of {count(rows.size, 'node')} is free of taints that the service does not tolerate; node "
        f"{nearest.name} has {join_names(misses(nearest), 'and')}"
    )
    return Rejection(Reason.TAINT_NOT_TOLERATED, detail)


def filter_accelerator(case: Case, rows: Rows) -> Rows | Rejection:
    """Keep the nodes with GPUs, where the service needs one."""
    if not case.demand.gpu_count:
        return rows
    kept: Rows = rows[case.snapshot.allocatable[GPUS][rows] > 0]
    if kept.size:
        return kept
    detail = f"needs {count(case.demand.gpu_count, 'GPU')}; none of {count(rows.size, 'node')} has any"
    return Rejection(Reason.ACCELERATOR_MISSING, detail)


def filter_tenancy(case: Case, rows: Rows) -> Rows | Rejection:
    """Keep the nodes that the class may share with the services that run on them."""
    tenancy = case.demand.rules.tenancy
    if tenancy == TENANCY_SHARED:
        return rows
    # Whatever is not spelled SharedByOwner is treated as the strictest.
    dedicated = tenancy != "SharedByOwner"
    strangers = case.snapshot.strangers(case.demand.namespace, case.demand.service if dedicated else None)[rows]
    kept: Rows = rows[strangers == 0]
    if kept.size:
        return kept
    nearest = int(np.argmin(strangers))
    whose = "other services" if dedicated else f"services outside namespace {case.demand.namespace}"
    detail = (
        f"class {case.class_name} wants nodes without {whose} ({tenancy}); none of {count(rows.size, 'node')} is, node "
        f"{case.snapshot.nodes[rows[nearest]].name} runs {count(int(strangers[nearest]), 'pod')} of them"
    )
    return Rejection(Reason.TENANCY_CONFLICT, detail)


def mask_of_wishes(case: Case) -> Mask:
    """Tell of every node whether it passes the filters that look at nodes and the service's wishes alone.

    The same filters, once for all sites and for all services that wish the same.
    """
    demand = case.demand
    key = (tuple(sorted(demand.node_selector.items())), demand.tolerations, demand.gpu_count > 0)
    return case.snapshot.recall(key, lambda: _apply_wishes(case))


def _apply_wishes(case: Case) -> Mask:
    mask = np.zeros(len(case.snapshot.nodes), dtype=np.bool_)
    rows: Rows = np.arange(mask.size)
    for apply in WISHES:
        answer = apply(case, rows)
        if isinstance(answer, Rejection):
            return mask
        rows = answer
    mask[rows] = True
    return mask


LAW: Final[tuple[Filter, ...]] = (filter_wish, filter_site_kind, filter_tier, filter_jurisdiction)
WISHES: Final[tuple[Filter, ...]] = (filter_ready, filter_node_selector, filter_taints, filter_accelerator)
HARDWARE: Final[tuple[Filter, ...]] = (filter_nodes, *WISHES, filter_tenancy)
