"""The nodes of the cluster as columns: what they have, what is used, and what their labels say.

Building a snapshot walks the nodes and pods once; every decision after that works on columns. Columns and masks are
computed when first asked for and kept beside the nodes: a cache that no answer depends on.
"""

import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from sekisho.api import names
from sekisho.api.v1alpha1.inferenceservice import Toleration
from sekisho.placement.requirement import Requirement

Rows = NDArray[np.intp]
Mask = NDArray[np.bool_]
Column = NDArray[np.int64]
ServiceKey = tuple[str, str]

GPUS, CPU_MILLIS, MEMORY_MIB, PODS = range(4)
NEVER: Final = -1
MAX_CACHED: Final = 2048
_UNIX_SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Taint:
    """A taint of a node, as in Kubernetes."""

    key: str
    value: str
    effect: str

    def __str__(self) -> str:
        return f"{self.key}={self.value}:{self.effect}" if self.value else f"{self.key}:{self.effect}"


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What one node is and may hand out (its allocatable amounts).

    Attributes:
        gpu_memory_mib: Of one GPU; 0 where unknown or without GPUs.
        pods: Pod slots.
    """

    name: str
    labels: Mapping[str, str]
    taints: tuple[Taint, ...]
    ready: bool
    schedulable: bool
    cpu_millis: int
    memory_mib: int
    gpus: int
    gpu_memory_mib: int
    pods: int


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


def is_tolerated(taint: Taint, tolerations: Iterable[Toleration]) -> bool:
    """Tell whether pods may be put on a node in spite of a taint.

    A toleration that ends (`tolerationSeconds`) does not count: the pod would be evicted again. Taints that only prefer
    are no obstacle.
    """
    return taint.effect == "PreferNoSchedule" or any(
        toleration.effect in (None, taint.effect)
        and toleration.key in (None, "", taint.key)
        and (toleration.operator == "Exists" or (toleration.value or "") == taint.value)
        and (taint.effect != "NoExecute" or toleration.toleration_seconds is None)
        for toleration in tolerations
    )


class _NodeTable:
    """Columns over nodes sorted by name, with caches bounded by `MAX_CACHED` entries each."""

    __slots__ = ("_attested", "_columns", "_masks", "_rows", "_taints", "allocatable", "gpu_memory_mib", "nodes",
                 "ready", "row_of", "schedulable")  # fmt: skip

    def __init__(self, nodes: tuple[NodeFacts, ...]) -> None:
        self.nodes = nodes
        self.row_of = {node.name: row for row, node in enumerate(nodes)}
        if len(self.row_of) < len(nodes):
            raise ValueError("two nodes have the same name")
        self.ready: Mask = np.array([node.ready for node in nodes], dtype=np.bool_)
        self.schedulable: Mask = np.array([node.schedulable for node in nodes], dtype=np.bool_)
        self.gpu_memory_mib: Column = np.array([node.gpu_memory_mib for node in nodes], dtype=np.int64)
        amounts = [(node.gpus, node.cpu_millis, node.memory_mib, node.pods) for node in nodes]
        self.allocatable: Column = np.array(amounts, dtype=np.int64).reshape(-1, 4).T.copy()
        self._columns: dict[Hashable, tuple[dict[str, int], Column]] = {}
        self._masks: dict[Hashable, Mask] = {}
        self._rows: dict[Hashable, Rows] = {}
        self._attested: dict[Hashable, Column] = {}
        self._taints: dict[Hashable, Mask] = {}

    def rows(self, requirements: tuple[Requirement, ...]) -> Rows:
        return _recall(self._rows, requirements, lambda: np.flatnonzero(self._all(requirements)))

    def _all(self, requirements: tuple[Requirement, ...]) -> Mask:
        mask = np.ones(len(self.nodes), dtype=np.bool_)
        for requirement in requirements:
            mask &= self.mask(requirement)
        return mask

    def mask(self, requirement: Requirement) -> Mask:
        return _recall(self._masks, requirement, lambda: self._evaluate(requirement))

    def _evaluate(self, requirement: Requirement) -> Mask:
        codes, column = _recall(self._columns, requirement.key, lambda: self._encode(requirement.key))
        # One verdict per distinct value; the last entry is the verdict on nodes without the label (code -1).
        verdicts = [requirement.is_met_by(value) for value in codes]
        verdict: Mask = np.array([*verdicts, requirement.is_met_by(None)], dtype=np.bool_)
        return verdict[column]

    def _encode(self, key: str) -> tuple[dict[str, int], Column]:
        codes: dict[str, int] = {}
        values = (node.labels.get(key) for node in self.nodes)
        column = [NEVER if value is None else codes.setdefault(value, len(codes)) for value in values]
        return codes, np.array(column, dtype=np.int64)

    def attested(self, tee: str) -> Column:
        return _recall(self._attested, tee, lambda: self._parse_attested(names.trust_label(tee)))

    def _parse_attested(self, label: str) -> Column:
        return np.array([parse_attested_at(node.labels.get(label)) for node in self.nodes], dtype=np.int64)

    def tolerating(self, tolerations: tuple[Toleration, ...]) -> Mask:
        return _recall(self._taints, tolerations, lambda: self._tolerate(tolerations))

    def _tolerate(self, tolerations: tuple[Toleration, ...]) -> Mask:
        verdicts: dict[tuple[Taint, ...], bool] = {}
        for taints in {node.taints for node in self.nodes}:
            verdicts[taints] = all(is_tolerated(taint, tolerations) for taint in taints)
        return np.array([verdicts[node.taints] for node in self.nodes], dtype=np.bool_)


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


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """Nodes and what is free on them at one moment; see `take_snapshot`. Rows are nodes in the order of their names.

    Attributes:
        free: By resource (GPUS, CPU_MILLIS, MEMORY_MIB, PODS) and row; negative where a node is overcommitted.
    """

    _table: _NodeTable
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
        if service is None:
            share = self._usage.by_namespace.get(namespace)
        else:
            share = self._usage.by_service.get((namespace, service))
        if share is None:
            return self._usage.ours
        count = self._usage.ours.copy()
        count[share.rows] -= share.amounts[PODS]
        return count


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
    table = previous._table if previous is not None and same else _NodeTable(ordered)  # noqa: SLF001 - its own kind
    pods = _tabulate(usage, table.row_of)
    return Snapshot(table, pods, table.allocatable - pods.used)


def parse_attested_at(value: str | None) -> int:
    """Read the value of a trust label; `NEVER` where it is absent or not a Unix second."""
    return int(value) if value is not None and _UNIX_SECONDS.fullmatch(value) else NEVER


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


def _recall(cache: dict[Hashable, _T], key: Hashable, compute: Callable[[], _T]) -> _T:
    value = cache.get(key)
    if value is None:
        if len(cache) >= MAX_CACHED:
            cache.clear()
        value = cache[key] = compute()
    return value
