"""What a request holds, by category and place, and the class that this raises it to; never the text itself. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from sekisho.api.v1alpha1.classificationpolicy import ClassificationPolicySpec
from sekisho.classify.lattice import DataClass, Floor
from sekisho.gateway.guards.texts import Text, Walked
from sekisho.redact.categories import Category, select
from sekisho.redact.spans import Span, resolve

_MAX_PLACES: Final = 16
Find = Callable[[str], Sequence[Span]]


@dataclass(frozen=True, slots=True)
class Raising:
    """A rule of the policy that raises a class.

    Attributes:
        name: The level or compartment that the policy names.
        categories: What must be found.
        value: What a request that holds any of it is at least.
    """

    name: str
    categories: frozenset[Category]
    value: DataClass


class Place(NamedTuple):
    """Where something was found: the path of a text, and the offset in it in characters."""

    category: Category
    path: str
    offset: int


@dataclass(frozen=True, slots=True)
class Inspection:
    """What was found in a request.

    Attributes:
        counts: How many items of each category.
        places: Where the first of them stand.
        floors: What the policy raises the class to for them; the sources say why.
    """

    counts: Mapping[Category, int] = field(default_factory=dict)
    places: tuple[Place, ...] = ()
    floors: tuple[Floor, ...] = ()

    def describe(self) -> dict[str, int]:
        """Return the counts, for the record."""
        return {str(category): count for category, count in sorted(self.counts.items())}


def read_raisings(spec: ClassificationPolicySpec) -> tuple[Raising, ...]:
    """Return what the policy raises classes for."""
    found = []
    for rank, level in enumerate(spec.levels):
        if level.detect:
            found.append(Raising(level.name, select(level.detect).categories, DataClass(rank, level.name)))
    lowest = spec.levels[0].name
    for item in spec.compartments:
        if item.detect:
            value = DataClass(0, lowest, frozenset({item.name}))
            found.append(Raising(item.name, select(item.detect).categories, value))
    return tuple(found)


def inspect_request(walked: Walked, find: Find, raisings: Sequence[Raising]) -> Inspection:
    """Look into every text of a request, of all its turns."""
    counts: dict[Category, int] = {}
    first: dict[Category, list[Place]] = {}
    for text in walked.texts:
        for span in _find(text, find, walked.answers.get(text.path)):
            if span.category is Category.PLACEHOLDER:
                continue
            counts[span.category] = counts.get(span.category, 0) + 1
            places = first.setdefault(span.category, [])
            if len(places) < _MAX_PLACES:
                places.append(Place(span.category, text.path, span.start))
    floors = [_raise(rule, counts, first) for rule in raisings if not rule.categories.isdisjoint(counts)]
    every = [place for places in first.values() for place in places]
    return Inspection(counts, tuple(every[:_MAX_PLACES]), tuple(floors))


def _find(text: Text, find: Find, asked: str | None) -> Sequence[Span]:
    found = find(text.value)
    if asked is None:
        return found
    cut = len(asked)
    more = (Span(max(0, span.start - cut), span.end - cut, span.category) for span in find(asked + text.value))
    return resolve([*found, *(span for span in more if span.end > 0)])


def _raise(rule: Raising, counts: Mapping[Category, int], first: Mapping[Category, Sequence[Place]]) -> Floor:
    found = sorted(rule.categories & counts.keys())
    total = sum(counts[category] for category in found)
    place = first[found[0]][0]
    items = "1 item" if total == 1 else f"{total} items, the first"
    where = f"{items} at offset {place.offset} of {place.path}"
    return Floor(f"detected {' and '.join(found)} ({where})", rule.value)


def explain(floors: Iterable[Floor]) -> str | None:
    """Say in a refusal's words what was found, if anything was."""
    said = [floor.source.removeprefix("detected ") for floor in floors]
    return f"the prompt was found to hold {', and '.join(said)}" if said else None
