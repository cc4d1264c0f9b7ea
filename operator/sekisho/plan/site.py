"""The status of a Site: its nodes, counted, and whether a node could join it by itself."""

import re
from collections.abc import Iterator

from sekisho.api.meta import LabelSelector
from sekisho.api.v1alpha1.site import SiteSpec, SiteStatus
from sekisho.errors import Reason, Rejection
from sekisho.placement.requirement import requirements_of_selector
from sekisho.placement.snapshot import Snapshot
from sekisho.plan.accepted import accept, publish, refuse
from sekisho.plan.conditions import Aspect, is_false, is_true
from sekisho.plan.world import Published, SiteObject

_KIND = "SelectorProtected"
_PROTECTED = re.compile(r"^([^/]+\.)?node-restriction\.kubernetes\.io/")


def plan_site(obj: SiteObject, snapshot: Snapshot, *, now_at: float) -> Published:
    """Decide the status of a site."""
    body: dict[str, object] = {"nodes": 0, "readyNodes": 0}
    if isinstance(obj.spec, Rejection):
        facet = refuse(obj.spec)
    elif obj.spec.nodes is None or not (obj.spec.nodes.match_labels or obj.spec.nodes.match_expressions):
        gap = Rejection(
            Reason.SITE_KIND_NOT_SERVED,
            f"tier {obj.spec.tier} without nodes cannot run pods yet; say in spec.nodes which nodes are its own",
        )
        facet = accept("the site can be read", gap=gap, lasting=True)
    else:
        nodes, ready = _count(obj.spec.nodes, snapshot)
        body = {"nodes": nodes, "readyNodes": ready}
        facet = accept(
            "the site can be used", more=[_judge_selector(obj.spec.nodes)], gap=_find_gap(obj.spec, nodes, ready)
        )
    return publish(SiteStatus, facet, obj.status, generation=obj.generation, now_at=now_at, body=body)


def _count(selector: LabelSelector, snapshot: Snapshot) -> tuple[int, int]:
    rows = snapshot.rows_of(requirements_of_selector(selector))
    nodes = [snapshot.nodes[row] for row in rows]
    return len(nodes), sum(node.ready and node.schedulable for node in nodes)


def _find_gap(spec: SiteSpec, nodes: int, ready: int) -> Rejection | None:
    if nodes == 0:
        return Rejection(
            Reason.NO_NODES,
            f"no node of this cluster has the labels of the site ({spec.tier}); label its nodes, or correct spec.nodes",
        )
    if ready == 0:
        return Rejection(
            Reason.NODES_NOT_READY, f"none of {nodes} nodes is ready and schedulable; see kubectl get nodes"
        )
    return None


def _judge_selector(selector: LabelSelector) -> Aspect:
    open_keys = sorted({key for key in _positive_keys(selector) if not _PROTECTED.match(key)})
    if not open_keys:
        return is_true(_KIND, Reason.SELECTOR_PROTECTED, "no node can join the site by labelling itself")
    return is_false(
        _KIND,
        Reason.SELECTOR_NOT_PROTECTED,
        f"a node could give itself {', '.join(open_keys)} and so join the site; choose labels below "
        "*.node-restriction.kubernetes.io/",
    )


def _positive_keys(selector: LabelSelector) -> Iterator[str]:
    yield from selector.match_labels
    # A label that must be absent can be left away by any node, so it protects nothing either.
    yield from (item.key for item in selector.match_expressions)
