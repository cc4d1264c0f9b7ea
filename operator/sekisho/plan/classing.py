"""The class of a service or a model: the join of every floor that anyone wrote down."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from sekisho.api import names
from sekisho.api.meta import ClassRef
from sekisho.api.v1alpha1.classificationpolicy import ClassificationPolicySpec
from sekisho.classify.lattice import UNLABELLED_SOURCE, DataClass, Floor, Lattice, join_floors
from sekisho.classify.rules import EffectiveRules, rules_of
from sekisho.errors import Reason, RefusedError, Rejection
from sekisho.plan.inspection import read_inspection
from sekisho.plan.world import Manifest, ModelObject, ServiceObject, World

_MOUNTED: Final = "pvc://"


@dataclass(frozen=True, slots=True)
class Classing:
    """A class, what it may do, and the floors it was joined from."""

    data_class: DataClass
    rules: EffectiveRules
    floors: tuple[Floor, ...]


def require_policy(policy: ClassificationPolicySpec | Rejection | None) -> ClassificationPolicySpec:
    """Return the policy in force.

    Raises:
        RefusedError: There is none, or it cannot be used; then everything is refused.
    """
    if policy is None:
        raise RefusedError(
            Reason.POLICY_MISSING,
            f'there is no ClassificationPolicy "{names.DEFAULT_POLICY_NAME}", and without it everything is refused; '
            "create it",
        )
    if isinstance(policy, Rejection):
        ending = policy.reason is Reason.TERMINATING
        raise RefusedError(
            Reason.POLICY_MISSING if ending else Reason.POLICY_INVALID,
            f'ClassificationPolicy "{names.DEFAULT_POLICY_NAME}" cannot be used: {policy.detail}',
        )
    return policy


def classify_service(obj: ServiceObject, world: World, *, spec: ClassRef | None) -> Classing:
    """Join the floors of a service: its spec and label, its model's, and its namespace's label.

    Raises:
        RefusedError: No policy, or a floor that the policy does not know.
    """
    policy = require_policy(world.policy)
    lattice = Lattice.of(policy)
    floors = [*_floors(lattice, "the service", spec, obj.labels)]
    if world.model is not None:
        floors += _floors_of_model(lattice, world.model)
        floors += _floors_of_running(lattice, world.model, world.children.get("Deployment"))
    floors += _floors(lattice, f"namespace {obj.namespace}", None, world.namespace_labels)
    return _join(policy, lattice, floors)


def classify_model(
    obj: ModelObject, policy: ClassificationPolicySpec | Rejection | None, *, namespace_labels: Mapping[str, str]
) -> Classing:
    """Join the floors of a model: its spec and label, and its namespace's label. Raises as `classify_service` does."""
    known = require_policy(policy)
    lattice = Lattice.of(known)
    floors = [
        *_floors_of_model(lattice, obj),
        *_floors(lattice, f"namespace {obj.namespace}", None, namespace_labels),
    ]
    return _join(known, lattice, floors)


def _floors_of_model(lattice: Lattice, model: ModelObject) -> Iterator[Floor]:
    spec = None if isinstance(model.spec, Rejection) else model.spec.classification
    yield from _floors(lattice, f"model {model.name}", spec, model.labels)
    found = read_inspection(model.status)
    # Counts until the depot has looked again, whatever changed meanwhile: it can only raise the class.
    if found is not None and found.class_ is not None:
        level, *compartments = found.class_.split("+")
        source = f"seal of model {model.name}"
        yield Floor(source, lattice.resolve(level, compartments, source=source))


def _floors_of_running(lattice: Lattice, model: ModelObject, running: Manifest | None) -> Iterator[Floor]:
    """Keep the class of what runs while nothing is known of a Model that was made anew: it may be sealed higher."""
    if isinstance(model.spec, Rejection) or model.spec.storage_uri.startswith(_MOUNTED):
        return
    if running is not None and read_inspection(model.status) is None:
        yield from _floors(lattice, "what runs of the service", None, running["metadata"].get("labels") or {})


def _floors(lattice: Lattice, who: str, spec: ClassRef | None, labels: Mapping[str, str]) -> Iterator[Floor]:
    if spec is not None:
        source = f"spec of {who}"
        yield Floor(source, lattice.resolve_ref(spec, source=source))
    if names.CLASS_LABEL in labels:
        source = f"label of {who}"
        yield Floor(source, lattice.resolve_label(labels[names.CLASS_LABEL], source=source))


def _join(policy: ClassificationPolicySpec, lattice: Lattice, floors: list[Floor]) -> Classing:
    data_class = join_floors(lattice, floors)
    if not floors:
        floors = [Floor(UNLABELLED_SOURCE, data_class)]
    return Classing(data_class, rules_of(policy, data_class), tuple(floors))
