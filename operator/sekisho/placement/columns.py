"""What nodes are, as columns over all of them, sorted by name.

A column or mask is computed when first asked for and kept: a cache that no answer depends on.
"""

import re
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from sekisho.api import names
from sekisho.api.v1alpha1.inferenceservice import Toleration
from sekisho.placement.requirement import Requirement

Rows = NDArray[np.intp]
Mask = NDArray[np.bool_]
Column = NDArray[np.int64]
Groups = tuple[tuple[str, ...], ...]

NEVER: Final = -1
# More than a node has of anything. Who claims more, as anybody can in a pod, is taken to claim this much: so sums over
# all pods of a cluster stay within 64 bits.
MOST_AMOUNT: Final = 1 << 40
MAX_CACHED: Final = 512
MAX_SECONDS: Final = 10**12
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


def parse_attested_at(value: str | None) -> int:
    """Read the value of a trust label; `NEVER` where it is absent or not a Unix second."""
    return int(value) if value is not None and _UNIX_SECONDS.fullmatch(value) else NEVER


@dataclass(frozen=True, slots=True)
class _Proven:
    """When nodes had proven what is wanted; good for every `latest` from `since` to before `until`."""

    column: Column
    since: int
    until: int


class NodeTable:
    """Columns over nodes sorted by name, with caches bounded by `MAX_CACHED` entries each."""

    __slots__ = (
        "_attested", "_columns", "_derived", "_masks", "_proven", "_rows", "_taints",
        "allocatable", "gpu_memory_mib", "nodes", "ready", "row_of", "schedulable",
    )  # fmt: skip

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
        self._proven: dict[Hashable, _Proven] = {}
        self._derived: dict[Hashable, Any] = {}

    def recall(self, key: Hashable, compute: Callable[[], _T]) -> _T:
        """Keep what follows from the nodes alone; the key must hold all else that it depends on."""
        return cast("_T", recall(self._derived, key, compute))

    def rows(self, requirements: tuple[Requirement, ...]) -> Rows:
        """Return the rows of nodes that satisfy all requirements, ascending."""
        return recall(self._rows, requirements, lambda: np.flatnonzero(self._all(requirements)))

    def _all(self, requirements: tuple[Requirement, ...]) -> Mask:
        mask = np.ones(len(self.nodes), dtype=np.bool_)
        for requirement in requirements:
            mask &= self.mask(requirement)
        return mask

    def mask(self, requirement: Requirement) -> Mask:
        """Tell of every node whether it satisfies a requirement."""
        return recall(self._masks, requirement, lambda: self._evaluate(requirement))

    def _evaluate(self, requirement: Requirement) -> Mask:
        codes, column = recall(self._columns, requirement.key, lambda: self._encode(requirement.key))
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
        """Return the Unix second of every proof by `tee`; `NEVER` without a well-formed one."""
        return recall(self._attested, tee, lambda: self._parse_attested(names.trust_label(tee)))

    def _parse_attested(self, label: str) -> Column:
        return np.array([parse_attested_at(node.labels.get(label)) for node in self.nodes], dtype=np.int64)

    def proven(self, groups: Groups, latest: int) -> Column:
        """Return when every node had last proven one of each group: the oldest of the newest proofs of the groups.

        Args:
            groups: At least one, none of them empty.
            latest: Proofs from after this Unix second count as `NEVER`.
        """
        known = self._proven.get(groups)
        if known is None or not known.since <= latest < known.until:
            known = _put(self._proven, groups, self._prove(groups, latest))
        return known.column

    def _prove(self, groups: Groups, latest: int) -> _Proven:
        columns = {tee: self.attested(tee) for group in groups for tee in group}
        credible = {tee: np.where(column > latest, NEVER, column) for tee, column in columns.items()}
        newest = [np.maximum.reduce([credible[tee] for tee in group]) for group in groups]
        # The answer changes only when `latest` passes one of the proofs.
        ahead = [int(column[column > latest].min(initial=MAX_SECONDS)) for column in columns.values()]
        since = max(int(column.max(initial=NEVER)) for column in credible.values())
        return _Proven(np.minimum.reduce(newest), since, min(ahead))

    def tolerating(self, tolerations: tuple[Toleration, ...]) -> Mask:
        """Tell of every node whether all of its taints are tolerated."""
        return recall(self._taints, tolerations, lambda: self._tolerate(tolerations))

    def _tolerate(self, tolerations: tuple[Toleration, ...]) -> Mask:
        verdicts: dict[tuple[Taint, ...], bool] = {}
        for taints in {node.taints for node in self.nodes}:
            verdicts[taints] = all(is_tolerated(taint, tolerations) for taint in taints)
        return np.array([verdicts[node.taints] for node in self.nodes], dtype=np.bool_)


def recall(cache: dict[Hashable, _T], key: Hashable, compute: Callable[[], _T]) -> _T:
    """Return what is cached, or compute and keep it; a full cache starts anew."""
    value = cache.get(key)
    return _put(cache, key, compute()) if value is None else value


def _put(cache: dict[Hashable, _T], key: Hashable, value: _T) -> _T:
    if len(cache) >= MAX_CACHED:
        cache.clear()
    cache[key] = value
    return value
