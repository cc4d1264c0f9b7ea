"""The nodes of the cluster at one moment: what they are, what is used and what is free on them.

Building a snapshot walks the nodes and pods once; every decision after that works on columns.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from sekisho.api.v1alpha1.inferenceservice import Toleration
from sekisho.placement.columns import (
    MOST_AMOUNT,
    NEVER,
    Column,
    Groups,
    Mask,
    NodeFacts,
    NodeTable,
    Rows,
    Taint,
    recall,
)
from sekisho.placement.requirement import Requirement

__all__ = ["CPU_MILLIS", "GPUS", "MEMORY_MIB", "MOST_AMOUNT", "NEVER", "PODS", "NodeFacts", "PodUsage", "Snapshot",
           "Taint", "take_snapshot"]  # fmt: skip

ServiceKey = tuple[str, str]
_T = TypeVar("_T")

GPUS, CPU_MILLIS, MEMORY_MIB, PODS = range(4)


@dataclass(frozen=True, slots=True)
class PodUsage:
    """What one pod takes on its node, by its requests.

    Attributes:
        service: Name of the InferenceService it belongs to; empty: not ours.
    """

    node: str
    namespace: str
    service: str
    cpu_millis: int
    memory_mib: int
    gpus: int


@dataclass(frozen=True, slots=True)
class _Share:
    """What one service, or one namespace, takes: rows without repetition, amounts by resource and row."""

    rows: Rows
    amounts: Column


@dataclass(frozen=True, slots=True)
class _UsageTable:
    """What is used. `ours` counts pods of services on each node."""

    used: Column
    ours: Column
    by_service: Mapping[ServiceKey, _Share]
    by_namespace: Mapping[str, _Share]
    strangers: dict[Hashable, Column] = field(default_factory=dict)

    def count_strangers(self, namespace: str, service: str | None) -> Column:
        """Count the pods of services but for those of one service, or of one namespace."""
        known = self.by_namespace.get(namespace) if service is None else self.by_service.get((namespace, service))
        count = self.ours.copy()
        if known is not None:
            count[known.rows] -= known.amounts[PODS]
        return count


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """Nodes and what is free on them at one moment; see `take_snapshot`. Rows are nodes in the order of their names.

    Attributes:
        free: By resource (GPUS, CPU_MILLIS, MEMORY_MIB, PODS) and row; negative where a node is overcommitted.
    """

    _table: NodeTable
    _usage: _UsageTable
    free: Column
    _left_out: frozenset[ServiceKey] = frozenset()

    @property
    def nodes(self) -> tuple[NodeFacts, ...]:
        """All nodes, sorted by name."""
        return self._table.nodes

    def without(self, namespace: str, service: str) -> "Snapshot":
        """Return the snapshot in which pods of this service do not count as used; costs one copy of `free`."""
        key = (namespace, service)
        share = self._usage.by_service.get(key)
        if share is None or key in self._left_out:
            return self
        free = self.free.copy()
        free[:, share.rows] += share.amounts
        return Snapshot(self._table, self._usage, free, self._left_out | {key})

    def row_of(self, node: str) -> int | None:
        """Return the row of a node; None where there is no such node."""
        return self._table.row_of.get(node)

    def rows_of(self, requirements: tuple[Requirement, ...]) -> Rows:
        """Return the rows of nodes that satisfy all requirements, ascending."""
        return self._table.rows(requirements)

    def mask_of(self, requirement: Requirement) -> Mask:
        """Tell of every node whether it satisfies a requirement."""
        return self._table.mask(requirement)

    def tolerating(self, tolerations: tuple[Toleration, ...]) -> Mask:
        """Tell of every node whether all of its taints are tolerated."""
        return self._table.tolerating(tolerations)

    def attested_at(self, tee: str) -> Column:
        """Return the Unix second of every node's proof by `tee`; `NEVER` without a well-formed one."""
        return self._table.attested(tee)

    def proven_at(self, groups: Groups, latest: int) -> Column:
        """Return when every node had last proven one of each group, proofs from after `latest` left out."""
        return self._table.proven(groups, latest)

    def recall(self, key: Hashable, compute: Callable[[], _T]) -> _T:
        """Keep what follows from the nodes alone, not from what is used; `key` must hold all else it depends on."""
        return self._table.recall(key, compute)

    @property
    def ready(self) -> Mask:
        """Tell of every node whether its kubelet reports ready."""
        return self._table.ready

    @property
    def schedulable(self) -> Mask:
        """Tell of every node whether it is not cordoned."""
        return self._table.schedulable

    @property
    def gpu_memory_mib(self) -> Column:
        """Return the memory of one GPU of every node."""
        return self._table.gpu_memory_mib

    @property
    def allocatable(self) -> Column:
        """Return what every node may hand out, by resource and row."""
        return self._table.allocatable

    def strangers(self, namespace: str, service: str | None) -> Column:
        """Count the pods of other services on every node; with `service` None those of other namespaces' services."""
        return recall(
            self._usage.strangers, (namespace, service), lambda: self._usage.count_strangers(namespace, service)
        )


def take_snapshot(
    nodes: Sequence[NodeFacts], usage: Sequence[PodUsage], *, previous: Snapshot | None = None
) -> Snapshot:
    """Build a snapshot; the order of nodes and pods does not matter. Pods on nodes that are not there are left out.

    Args:
        nodes: Names must differ.
        usage: Pods that hold their requests: bound to a node and not finished.
        previous: An earlier snapshot; where the nodes are the same (cheap to see if they are the same objects), its
            columns and masks are used again.

    Raises:
        ValueError: Two nodes have the same name.
    """
    ordered = tuple(sorted(nodes, key=lambda node: node.name))
    same = previous is not None and previous.nodes == ordered
    table = previous._table if previous is not None and same else NodeTable(ordered)  # noqa: SLF001 - its own kind
    pods = _tabulate(usage, table.row_of)
    return Snapshot(table, pods, table.allocatable - pods.used)


def _tabulate(usage: Iterable[PodUsage], row_of: Mapping[str, int]) -> _UsageTable:
    used: Column = np.zeros((4, len(row_of)), dtype=np.int64)
    ours: Column = np.zeros(len(row_of), dtype=np.int64)
    services: dict[ServiceKey, dict[int, list[int]]] = {}
    namespaces: dict[str, dict[int, list[int]]] = {}
    rows: list[int] = []
    amounts: list[tuple[int, int, int, int]] = []
    for pod in usage:
        row = row_of.get(pod.node)
        if row is None:
            continue
        rows.append(row)
        amounts.append((pod.gpus, pod.cpu_millis, pod.memory_mib, 1))
        if pod.service:
            _add(services.setdefault((pod.namespace, pod.service), {}), row, amounts[-1])
            _add(namespaces.setdefault(pod.namespace, {}), row, amounts[-1])
            ours[row] += 1
    np.add.at(used.T, np.array(rows, dtype=np.intp), np.array(amounts, dtype=np.int64).reshape(-1, 4))
    return _UsageTable(
        used,
        ours,
        {key: _share(by_row) for key, by_row in services.items()},
        {key: _share(by_row) for key, by_row in namespaces.items()},
    )


def _add(by_row: dict[int, list[int]], row: int, amounts: tuple[int, ...]) -> None:
    by_row[row] = [have + more for have, more in zip(by_row.get(row, (0, 0, 0, 0)), amounts, strict=True)]


def _share(by_row: Mapping[int, list[int]]) -> _Share:
    rows = np.array(list(by_row), dtype=np.intp)
    return _Share(rows, np.array(list(by_row.values()), dtype=np.int64).T.copy())
