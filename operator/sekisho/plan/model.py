"""The status of a Model: its class with every floor joined, and whether its weights show what that class demands."""

from collections.abc import Mapping

from sekisho.api.v1alpha1.classificationpolicy import ClassificationPolicySpec
from sekisho.api.v1alpha1.model import ModelStatus
from sekisho.errors import RefusedError, Rejection
from sekisho.plan.accepted import accept, publish, refuse
from sekisho.plan.classing import Classing, classify_model, require_policy
from sekisho.plan.conditions import Aspect, Facet
from sekisho.plan.demands import KINDS, find_pending, find_refusal, judge_weights
from sekisho.plan.inspection import read_accepted
from sekisho.plan.outcome import AWAITED
from sekisho.plan.sealing import Seen, see_weights
from sekisho.plan.world import ModelObject, Published


def plan_model(
    obj: ModelObject,
    policy: ClassificationPolicySpec | Rejection | None,
    *,
    namespace_labels: Mapping[str, str],
    now_at: float,
) -> Published:
    """Decide the status of a model. What the depot writes of it is read, never written."""
    accepted = read_accepted(obj.status)
    body: dict[str, object] = {"acceptedVersion": accepted or None}
    try:
        if isinstance(obj.spec, Rejection):
            raise RefusedError.of(obj.spec)
        classing = classify_model(obj, policy, namespace_labels=namespace_labels)
        body |= _spell_class(classing)
        seen = see_weights(obj, obj.spec, require_policy(policy), now_at=now_at)
    except RefusedError as refusal:
        facet = refuse(Rejection(refusal.reason, refusal.message))
    else:
        facet = _judge(classing, seen)
        body["acceptedVersion"] = max(accepted, _verified_version(seen)) or None
    told = publish(ModelStatus, facet, obj.status, generation=obj.generation, now_at=now_at, body=body)
    return _quieten(told, facet)


def _judge(classing: Classing, seen: Seen) -> Facet:
    demands, who = classing.rules.weights, f"class {classing.data_class}"
    shown = judge_weights(demands, seen, who=who)
    gap = find_refusal(demands, seen, who=who) or find_pending(demands, seen)
    lasting = gap is not None and gap.reason not in AWAITED
    return accept("the policy knows the class, and the source can be used", more=shown, gap=gap, lasting=lasting)


def _verified_version(seen: Seen) -> int:
    found = seen.found
    return found.version or 0 if found is not None and found.sealed and found.refusal is None else 0


def _quieten(told: Published, facet: Facet) -> Published:
    """Leave out events of what only informs: that a model lacks what its class does not ask for is no warning."""
    ready = next(item for item in facet.aspects if item.type == "Ready")
    idle = {(item.reason, item.message) for item in facet.aspects if item.type in KINDS and not _repeats(ready, item)}
    kept = tuple(item for item in told.announcements if (item.reason, item.message) not in idle)
    return Published(told.status, kept, told.check_after_seconds)


def _repeats(ready: Aspect, item: Aspect) -> bool:
    return (ready.status, ready.reason, ready.message) == (item.status, item.reason, item.message)


def _spell_class(classing: Classing) -> dict[str, object]:
    data_class = classing.data_class
    return {
        "class": {"level": data_class.level, "compartments": sorted(data_class.compartments)},
        "displayClass": str(data_class),
    }
