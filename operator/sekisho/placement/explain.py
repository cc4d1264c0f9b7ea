"""Why a service runs where it runs, or nowhere: one sentence of facts."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from sekisho.errors import Rejection
from sekisho.placement.columns import Rows
from sekisho.placement.filters import Case
from sekisho.placement.outcome import SiteRejection
from sekisho.placement.room import Room
from sekisho.placement.snapshot import CPU_MILLIS, GPUS, MEMORY_MIB
from sekisho.placement.trust import groups_of, latest_of, proven_at
from sekisho.placement.wording import count, join_names


def explain_choice(case: Case, rows: Rows, room: Room) -> str:
    """Say which facts let the service run at the site; `rows` are the nodes left, `room` what fits there."""
    roomiest = int(rows[int(np.argmax(room.fits))])
    return ", ".join([*_spell_law(case), *_spell_trust(case, rows), _spell_free(case, roomiest)])


def explain_stay(case: Case, rows: Rows, shortage: Rejection) -> str:
    """Say why a running service stays in spite of what is short; `rows` are the nodes that pass law and trust."""
    facts = ", ".join([*_spell_law(case), *_spell_trust(case, rows)])
    return f"{facts}; stays where it runs in spite of {shortage.reason}: {shortage.detail}"


def _spell_law(case: Case) -> tuple[str, str]:
    return f"tier {case.site.tier}", f"jurisdiction {case.site.jurisdiction}"


def _spell_trust(case: Case, rows: Rows) -> Iterator[str]:
    trust = case.demand.rules.trust
    if trust is None:
        return
    groups, latest = groups_of(trust), latest_of(case)
    best = rows[int(np.argmax(proven_at(case, groups, rows)))]
    for group in groups:
        proofs = [(int(case.snapshot.attested_at(tee)[best]), tee) for tee in group]
        at, tee = max((proof for proof in proofs if proof[0] <= latest), key=lambda proof: proof[0])
        yield f"{tee} verified {max(0, math.floor(case.now_at - at)):,} s ago"


def _spell_free(case: Case, row: int) -> str:
    demand, free = case.demand, case.snapshot.free
    if demand.gpu_memory_mib:
        memory = int(free[GPUS][row]) * int(case.snapshot.gpu_memory_mib[row])
        return f"{memory} MiB of GPU memory free, {demand.gpu_memory_mib} needed"
    if demand.gpu_count:
        return f"{count(int(free[GPUS][row]), 'GPU')} free, {demand.gpu_count} needed"
    cpu, memory = int(free[CPU_MILLIS][row]), int(free[MEMORY_MIB][row])
    return (
        f"{cpu} millicores of CPU and {memory} MiB of memory free, {demand.cpu_millis} and {demand.memory_mib} needed"
    )


def explain_nowhere(class_name: str, rejected: Sequence[SiteRejection], nearest: SiteRejection | None) -> str:
    """Say that no site will do: how many for which reason, and the nearest miss."""
    if nearest is None:
        return f"no site may and can run class {class_name}: there is no site"
    tally = Counter(item.reason for item in rejected)
    counts = join_names([f"{tally[reason]} {reason}" for reason in sorted(tally)], "and")
    return f"no site may and can run class {class_name}: {counts}; nearest is {nearest.site}: {nearest.detail}"
