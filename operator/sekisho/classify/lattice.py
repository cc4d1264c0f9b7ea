"""The lattice of data classes: a level with a rank, and a set of compartments beside it."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from sekisho.api.meta import ClassRef
from sekisho.api.v1alpha1.classificationpolicy import ClassificationPolicySpec
from sekisho.errors import Reason, RefusedError

MAX_LABEL = 63
UNLABELLED_SOURCE: Final = "policy, for what nobody labelled"
"""Source of the floor of what has no other."""
_MAX_KNOWN: Final = 256


@dataclass(frozen=True, slots=True)
class DataClass:
    """A class of data. Two classes compare by rank and by inclusion of compartments; not every pair is ordered.

    Attributes:
        rank: Position of the level in the policy, 0 is the lowest.
        level: Name of the level.
        compartments: Names of the compartments.
    """

    rank: int
    level: str
    compartments: frozenset[str] = frozenset()

    def join(self, other: "DataClass") -> "DataClass":
        """Return the lowest class that dominates both; levels must come from one policy."""
        top = self if self.rank >= other.rank else other
        return DataClass(top.rank, top.level, self.compartments | other.compartments)

    def dominates(self, other: "DataClass") -> bool:
        """Tell whether data of class `other` may be handled by what is cleared for this class."""
        return self.rank >= other.rank and self.compartments >= other.compartments

    def label(self) -> str:
        """Spell the class as a label value: level.compartment.compartment, compartments sorted."""
        return ".".join([self.level, *sorted(self.compartments)])

    def __str__(self) -> str:
        return "+".join([self.level, *sorted(self.compartments)])


@dataclass(frozen=True, slots=True)
class Floor:
    """One place that asks for a class, and what it asks for."""

    source: str
    value: DataClass


@dataclass(frozen=True, slots=True)
class Lattice:
    """The levels (lowest first) and compartments of one policy.

    Attributes:
        known: Classes that were looked up, by their names or their label; nothing else ever stands there.
    """

    levels: tuple[str, ...]
    compartments: frozenset[str]
    unlabelled: DataClass
    known: dict[str | tuple[str, frozenset[str]], DataClass] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @classmethod
    def of(cls, policy: ClassificationPolicySpec) -> "Lattice":
        """Build the lattice of a policy that the API server, or its model, has validated."""
        levels = tuple(level.name for level in policy.levels)
        floor = DataClass(levels.index(policy.unlabelled), policy.unlabelled)
        return cls(levels, frozenset(c.name for c in policy.compartments), floor)

    def resolve(self, level: str, compartments: Iterable[str] = (), *, source: str) -> DataClass:
        """Look a class up by its names.

        Raises:
            RefusedError: The policy has no such level or compartment; a class nobody defined is never guessed.
        """
        names = frozenset(compartments)
        found = self.known.get((level, names))
        return found if found is not None else self._keep((level, names), self._look_up(level, names, source))

    def _look_up(self, level: str, names: frozenset[str], source: str) -> DataClass:
        if level not in self.levels:
            known = ", ".join(self.levels)
            raise RefusedError(Reason.UNKNOWN_LEVEL, f'{source} asks for level "{level}"; the policy knows {known}')
        for name in names:
            if name not in self.compartments:
                known = ", ".join(sorted(self.compartments)) or "none"
                raise RefusedError(
                    Reason.UNKNOWN_COMPARTMENT, f'{source} asks for compartment "{name}"; the policy knows {known}'
                )
        return DataClass(self.levels.index(level), level, names)

    def _keep(self, key: str | tuple[str, frozenset[str]], value: DataClass) -> DataClass:
        if len(self.known) >= _MAX_KNOWN:
            self.known.clear()
        self.known[key] = value
        return value

    def resolve_ref(self, ref: ClassRef, *, source: str) -> DataClass:
        """Look up the class that a spec names; see `resolve`."""
        return self.resolve(ref.level, ref.compartments, source=source)

    def resolve_label(self, value: str, *, source: str) -> DataClass:
        """Look up the class that a label value spells (`level.compartment…`); see `resolve`."""
        if (found := self.known.get(value)) is not None:
            return found
        if not value or len(value) > MAX_LABEL:
            raise RefusedError(
                Reason.LABEL_INVALID, f"{source} has {len(value)} characters; a class has 1 to {MAX_LABEL}"
            )
        level, *compartments = value.split(".")
        return self._keep(value, self.resolve(level, compartments, source=source))


def join_floors(lattice: Lattice, floors: Iterable[Floor]) -> DataClass:
    """Join every floor; without any, the class of what nobody labelled.

    Raises:
        RefusedError: The joined class is too long for the label that every child of a service carries.
    """
    values = [floor.value for floor in floors]
    if not values:
        return lattice.unlabelled
    joined = values[0]
    for value in values[1:]:
        joined = joined.join(value)
    if (length := len(joined.label())) > MAX_LABEL:
        raise RefusedError(
            Reason.LABEL_INVALID,
            f"the class {joined} takes {length} characters as a label, {MAX_LABEL} are possible; "
            "name fewer compartments",
        )
    return joined
