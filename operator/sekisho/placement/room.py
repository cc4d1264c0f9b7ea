"""Room: how many replicas fit on the nodes that are left, and what is short where they do not."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from sekisho.errors import Reason, Rejection
from sekisho.placement.columns import Column, Rows
from sekisho.placement.filters import Case
from sekisho.placement.requirement import Demand
from sekisho.placement.snapshot import CPU_MILLIS, GPUS, MEMORY_MIB, PODS
from sekisho.placement.wording import count

# More than any service may have; a node without limits on one resource counts as this many.
PLENTY: Final = 1 << 20
_SHORT: Final = {
    GPUS: Reason.GPU_SHORT,
    CPU_MILLIS: Reason.CPU_SHORT,
    MEMORY_MIB: Reason.MEMORY_SHORT,
    PODS: Reason.POD_SLOTS_SHORT,
}


@dataclass(frozen=True, slots=True)
class Room:
    """What fits.

    Attributes:
        fits: Replicas that fit on each of the rows, all resources at once.
        shortage: The first resource for which there is not enough; None where all replicas fit.
    """

    fits: Column
    shortage: Rejection | None

    @property
    def replicas(self) -> int:
        """Replicas that fit on all of the rows together."""
        return int(self.fits.sum())


def measure_room(case: Case, rows: Rows) -> Room:
    """Count the replicas that fit: GPU memory first, then GPUs, CPU, memory and pod slots, each narrowing the last."""
    demand = case.demand
    fits: Column = np.full(rows.size, PLENTY, dtype=np.int64)
    shortage: Rejection | None = None
    if demand.mib_per_gpu:
        fits[case.snapshot.gpu_memory_mib[rows] < demand.mib_per_gpu] = 0
        # Even for a service that is scaled to zero: GPUs do not grow.
        if not fits.any():
            shortage = _explain_gpu_memory(case, rows)
    for resource, amount in _amounts(demand).items():
        before = fits
        free = np.maximum(case.snapshot.free[resource][rows], 0)
        fits = np.minimum(before, free // amount)
        if shortage is None and int(fits.sum()) < demand.replicas:
            shortage = _explain_short(case, rows[before > 0], resource, fits=int(fits.sum()))
    return Room(fits, shortage)


def _amounts(demand: Demand) -> dict[int, int]:
    wanted = {GPUS: demand.gpu_count, CPU_MILLIS: demand.cpu_millis, MEMORY_MIB: demand.memory_mib, PODS: 1}
    return {resource: amount for resource, amount in wanted.items() if amount > 0}


def _spell(demand: Demand, resource: int) -> str:
    each = f" with {demand.mib_per_gpu} MiB" if demand.mib_per_gpu else ""
    return {
        GPUS: f"{count(demand.gpu_count, 'GPU')}{each}",
        CPU_MILLIS: f"{demand.cpu_millis} millicores of CPU",
        MEMORY_MIB: f"{demand.memory_mib} MiB of memory",
        PODS: "1 pod slot",
    }[resource]


def _explain_gpu_memory(case: Case, rows: Rows) -> Rejection:
    column = case.snapshot.gpu_memory_mib[rows]
    nearest = int(np.argmax(column))
    demand = case.demand
    each = f" on each of {demand.gpu_count} GPUs" if demand.gpu_count > 1 else ""
    detail = (
        f"needs {demand.mib_per_gpu} MiB of GPU memory{each}, a GPU of node {case.snapshot.nodes[rows[nearest]].name} "
        f"has {int(column[nearest])} MiB, the most of {count(rows.size, 'node')}"
    )
    return Rejection(Reason.GPU_MEMORY_SHORT, detail)


def _explain_short(case: Case, rows: Rows, resource: int, *, fits: int) -> Rejection:
    demand = case.demand
    free = np.maximum(case.snapshot.free[resource][rows], 0)
    nearest = int(np.argmax(free))
    need = _spell(demand, resource)
    most = f", the most of {count(rows.size, 'node')}" if rows.size > 1 else ""
    room = f" for each of {demand.replicas} replicas, {fits} fit" if demand.replicas > 1 else ""
    node = case.snapshot.nodes[rows[nearest]].name
    detail = f"needs {need}{room}{';' if room else ','} {int(free[nearest])} free on node {node}{most}"
    return Rejection(_SHORT[resource], detail)
