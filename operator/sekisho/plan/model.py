"""The status of a Model: its class with every floor joined, and whether its source can be used."""

from collections.abc import Mapping

from sekisho.api.v1alpha1.classificationpolicy import ClassificationPolicySpec
from sekisho.api.v1alpha1.model import ModelStatus
from sekisho.errors import RefusedError, Rejection
from sekisho.plan.accepted import accept, publish, refuse
from sekisho.plan.classing import Classing, classify_model
from sekisho.plan.world import ModelObject, Published
from sekisho.render.storage import parse_storage_uri


def plan_model(
    obj: ModelObject,
    policy: ClassificationPolicySpec | Rejection | None,
    *,
    namespace_labels: Mapping[str, str],
    now_at: float,
) -> Published:
    """Decide the status of a model."""
    body: dict[str, object] = {}
    try:
        if isinstance(obj.spec, Rejection):
            raise RefusedError.of(obj.spec)
        classing = classify_model(obj, policy, namespace_labels=namespace_labels)
        body = _spell_class(classing)
        parse_storage_uri(obj.spec.storage_uri)
    except RefusedError as refusal:
        facet = refuse(Rejection(refusal.reason, refusal.message))
    else:
        facet = accept("the policy knows the class, and the source can be used")
    return publish(ModelStatus, facet, obj.status, generation=obj.generation, now_at=now_at, body=body)


def _spell_class(classing: Classing) -> dict[str, object]:
    data_class = classing.data_class
    return {
        "class": {"level": data_class.level, "compartments": sorted(data_class.compartments)},
        "displayClass": str(data_class),
    }
