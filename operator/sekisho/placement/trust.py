"""Hardware trust: what a node must have proven, and how old the proof may be.

Proof is a label that a kubelet cannot give its own node (below a *.node-restriction.kubernetes.io/ prefix), whose value
is the Unix second of the last verification. A value that is no Unix second, or lies in the future, proves nothing.
"""

import math
from typing import Final

import numpy as np

from sekisho.classify.rules import EffectiveTrust
from sekisho.errors import Reason, Rejection
from sekisho.placement.columns import NEVER, Column, Groups, Rows
from sekisho.placement.filters import Case, Filter
from sekisho.placement.wording import count, join_names

CLOCK_SKEW_SECONDS: Final = 60


def filter_possible(case: Case, rows: Rows) -> Rows | Rejection:
    """Refuse where the joined rule can be satisfied by nothing: levels and compartments want different proofs."""
    trust = case.demand.rules.trust
    if trust is None or trust.any_of or (trust.any_of is None and trust.devices):
        return rows
    detail = (
        f"class {case.class_name} wants hardware trust, but no proof would do: its level and compartments name none in "
        "common"
    )
    return Rejection(Reason.TRUST_IMPOSSIBLE, detail)


def filter_proof(case: Case, rows: Rows) -> Rows | Rejection:
    """Keep the nodes that have proven what the class wants, recently enough."""
    trust = case.demand.rules.trust
    if trust is None or not rows.size:
        return rows
    proven = proven_at(case, groups_of(trust), rows)
    if (kept := rows[proven >= max(0, math.ceil(case.now_at - trust.max_age_seconds))]).size:
        return kept
    newest = int(np.argmax(proven))
    if proven[newest] == NEVER:
        return _explain_missing(case, trust, rows)
    age = f"{math.floor(case.now_at - int(proven[newest])):,}"
    node = case.snapshot.nodes[rows[newest]].name
    detail = f"{_describe(case, trust)}; newest proof is {age} s old (node {node})"
    return Rejection(Reason.TRUST_TOO_OLD, detail)


def groups_of(trust: EffectiveTrust) -> Groups:
    """Return the groups of which a node must have proven one each: the alternatives, then every device alone."""
    alternatives = () if trust.any_of is None else (tuple(sorted(trust.any_of)),)
    return (*alternatives, *((device,) for device in sorted(trust.devices)))


def latest_of(case: Case) -> int:
    """Return the Unix second after which a proof lies in the future; clocks may differ by `CLOCK_SKEW_SECONDS`."""
    return math.floor(case.now_at) + CLOCK_SKEW_SECONDS


def proven_at(case: Case, groups: Groups, rows: Rows) -> Column:
    """Return when each node had last proven one of each group; `NEVER` where a proof is missing."""
    return case.snapshot.proven_at(groups, latest_of(case))[rows]


def _describe(case: Case, trust: EffectiveTrust) -> str:
    wanted = join_names([join_names(group, "or") for group in groups_of(trust)], "and")
    return f"{case.class_name} wants {wanted} proven within {trust.max_age_seconds:,} s"


def _explain_missing(case: Case, trust: EffectiveTrust, rows: Rows) -> Rejection:
    groups = groups_of(trust)
    proven = [proven_at(case, (group,), rows) != NEVER for group in groups]
    nearest = int(np.argmax(np.add.reduce(proven, dtype=np.int64)))
    lacks = next(group for group, mask in zip(groups, proven, strict=True) if not mask[nearest])
    node = case.snapshot.nodes[rows[nearest]].name
    dated = max(int(case.snapshot.attested_at(tee)[rows[nearest]]) for tee in lacks)
    future = f", its proof is dated {math.ceil(dated - case.now_at):,} s in the future" if dated != NEVER else ""
    detail = (
        f"{_describe(case, trust)}; none of {count(rows.size, 'node')} has, node {node} lacks "
        f"{join_names(lacks, 'or')}{future}"
    )
    return Rejection(Reason.TRUST_MISSING, detail)


TRUST: Final[tuple[Filter, ...]] = (filter_possible, filter_proof)
