"""What a service demands, and what a node must be: label requirements with the meaning that Kubernetes gives them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sekisho.api.meta import LabelSelector
from sekisho.api.v1alpha1.inferenceservice import Toleration
from sekisho.classify.lattice import DataClass
from sekisho.classify.rules import EffectiveRules

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Requirement:
    """One requirement on a node's labels; the very values of a `matchExpressions` entry of node affinity.

    Attributes:
        operator: In, NotIn, Exists, DoesNotExist, Gt or Lt. A node without the label satisfies NotIn and DoesNotExist
            only; Gt and Lt compare whole numbers and hold for nothing else.
        values: Sorted; for Gt and Lt exactly one whole number.
    """

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def is_met_by(self, value: str | None) -> bool:
        """Tell whether a node whose label has this value (None: no such label) satisfies the requirement.

        Raises:
            ValueError: The operator is none of the six.
        """
        match self.operator:
            case "In":
                return value is not None and value in self.values
            case "NotIn":
                return value is None or value not in self.values
            case "Exists":
                return value is not None
            case "DoesNotExist":
                return value is None
            case "Gt" | "Lt":
                return self._is_beyond(value)
        raise ValueError(f'"{self.operator}" is not an operator of a label requirement')

    def _is_beyond(self, value: str | None) -> bool:
        if value is None or not _INTEGER.fullmatch(value):
            return False
        limit = int(self.values[0])
        return int(value) > limit if self.operator == "Gt" else int(value) < limit

    def __str__(self) -> str:
        values = ", ".join(self.values)
        match self.operator:
            case "In" if len(self.values) == 1:
                return f"{self.key}={values}"
            case "Exists" | "DoesNotExist":
                return f"{self.key} {self.operator}"
            case "Gt" | "Lt":
                return f"{self.key} {self.operator} {values}"
        return f"{self.key} {self.operator} ({values})"


@dataclass(frozen=True, slots=True)
class Demand:
    """What one service wants of a site. Amounts are those of one replica.

    Attributes:
        gpus: Whole GPUs of one replica.
        gpu_memory_mib: Over all GPUs of one replica; split evenly. More than 0 without GPUs asks for one GPU.
        node_selector: Labels a node must have, as the user wrote them.
        sites: Names of the sites the user wishes for; empty: all.
        current_site: Where the service runs, None before it was first placed.
        wakes: Whether nothing of it runs there by now and something shall: it may as well start elsewhere.
    """

    namespace: str
    service: str
    replicas: int
    cpu_millis: int
    memory_mib: int
    gpus: int
    gpu_memory_mib: int
    node_selector: Mapping[str, str]
    tolerations: tuple[Toleration, ...]
    sites: tuple[str, ...]
    rules: EffectiveRules
    data_class: DataClass
    current_site: str | None = None
    wakes: bool = False

    @property
    def gpu_count(self) -> int:
        """GPUs of one replica; memory on a GPU needs a GPU."""
        return max(self.gpus, 1 if self.gpu_memory_mib > 0 else 0)

    @property
    def mib_per_gpu(self) -> int:
        """Memory that each GPU of a replica must have, rounded up."""
        return -(-self.gpu_memory_mib // self.gpu_count) if self.gpu_count else 0


def requirements_of_labels(labels: Mapping[str, str]) -> tuple[Requirement, ...]:
    """Ask for labels with exactly these values."""
    return tuple(sorted(Requirement(key, "In", (value,)) for key, value in labels.items()))


def requirements_of_selector(selector: LabelSelector) -> tuple[Requirement, ...]:
    """Translate a selector; sorted and without repetition, so that its order decides nothing."""
    expressions = (
        Requirement(item.key, item.operator, tuple(sorted(set(item.values)))) for item in selector.match_expressions
    )
    return tuple(sorted({*requirements_of_labels(selector.match_labels), *expressions}))


def is_met(requirements: Iterable[Requirement], labels: Mapping[str, str]) -> bool:
    """Tell whether a node with these labels satisfies all requirements."""
    return all(requirement.is_met_by(labels.get(requirement.key)) for requirement in requirements)
