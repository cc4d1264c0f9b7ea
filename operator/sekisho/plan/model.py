"""The status of a Model: its class with every floor joined, and whether its weights show what that class demands."""

from collections.abc import Mapping
from dataclasses import replace

from sekisho.api.v1alpha1.classificationpolicy import ClassificationPolicySpec
from sekisho.api.v1alpha1.model import KeyFacts, ModelStatus
from sekisho.errors import RefusedError, Rejection
from sekisho.plan.accepted import accept, publish, refuse
from sekisho.plan.classing import Classing, classify_model, require_policy
from sekisho.plan.conditions import Aspect, Facet
from sekisho.plan.demands import KINDS, find_pending, find_refusal, judge_weights
from sekisho.plan.inspection import read_accepted
from sekisho.plan.key_facts import read_key_facts
from sekisho.plan.keys import judge_key
from sekisho.plan.outcome import AWAITED
from sekisho.plan.sealing import Seen, see_weights
from sekisho.plan.versions import Accepted, read_accepted_version
from sekisho.plan.world import ModelObject, Published


def plan_model(
    obj: ModelObject,
    policy: ClassificationPolicySpec | Rejection | None,
    *,
    namespace_labels: Mapping[str, str],
    now_at: float,
) -> Published:
    """Decide the status of a model. What the depot writes of it is read, never written."""
    accepted, fresh = read_accepted(obj.status), None
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
        facet = _judge(classing, seen, read_key_facts(obj.status))
        body["acceptedVersion"] = max(accepted, seen.accepted_version, _verified_version(seen)) or None
        fresh = _find_fresh(seen)
    told = publish(ModelStatus, facet, obj.status, generation=obj.generation, now_at=now_at, body=body)
    return replace(_quieten(told, facet), accepted=fresh)


def _find_fresh(seen: Seen) -> Accepted | None:
    """Return the version that is to be remembered; never one that is older than what was accepted."""
    if not seen.to_record or _verified_version(seen) < seen.accepted_version:
        return None
    return read_accepted_version(seen.found)


def _judge(classing: Classing, seen: Seen, key: KeyFacts | None) -> Facet:
    demands, who = classing.rules.weights, f"class {classing.data_class}"
    usable = judge_key(seen.found, key)
    shown = (*judge_weights(demands, seen, who=who), *([usable] if usable is not None else []))
    gap = find_refusal(demands, seen, who=who) or find_pending(seen)
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
