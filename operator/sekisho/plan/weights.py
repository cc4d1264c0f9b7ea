"""Whether the weights of a service are there, as the depot says it of each pod."""

from sekisho.api import names
from sekisho.errors import Reason, Rejection
from sekisho.plan.conditions import Aspect, is_false, is_true, is_unknown
from sekisho.plan.outcome import Design, Outcome
from sekisho.plan.pods import PodCondition, map_reason

KIND = "WeightsAvailable"
_ON_THE_WAY = (Reason.FETCHING, Reason.WEIGHTS_PENDING)


def observe_weights(outcome: Outcome) -> Aspect:
    """Judge the weights: an error of any pod first, then what serves, then what is on its way."""
    source = outcome.design.weights.storage.uri if isinstance(outcome.design, Design) else "the source"
    missing = _find_missing_volume(outcome)
    if missing:
        return is_false(KIND, Reason.VOLUME_MISSING, missing)
    if isinstance(outcome.design, Design) and outcome.design.pending is not None and not outcome.pods:
        return _observe_unknown(outcome.design.pending)
    if outcome.waits_for_release and not outcome.pods:
        return is_false(
            KIND,
            Reason.KMS_UNAVAILABLE,
            f"weights from {source} are sealed, and this installation releases no keys, so no pod is started: install "
            f"a release of keys in namespace {outcome.world.settings.system_namespace} (for development alone: the "
            "chart's value unsafeDevelopmentRelease.enabled)",
        )
    seen = [_read(pod.condition(names.WEIGHTS_POD_CONDITION)) for pod in outcome.pods]
    failed = next((item for item in seen if item[0] == "False" and item[1] not in _ON_THE_WAY), None)
    if failed is not None:
        told = _word(failed[2] or "no message", source)
        return is_false(KIND, failed[1], told, stem=_stem(failed[1], told, source))
    if isinstance(outcome.design, Design) and outcome.design.weights.storage.is_mounted:
        return _observe_mount(outcome, source)
    there = next((item for item in seen if item[0] == "True"), None)
    if there is not None:
        return is_true(KIND, there[1], there[2] or f"weights from {source} are in place")
    if any(item[1] is Reason.FETCHING for item in seen):
        return is_false(
            KIND, Reason.FETCHING, f"weights are fetched from {source}; status.weights.progress tells how far"
        )
    return is_unknown(KIND, Reason.WEIGHTS_PENDING, f"weights from {source} are wanted once a pod has proven isolation")


def read_progress(outcome: Outcome) -> str | None:
    """Return how far a fetch is, in the depot's words; None while nothing is fetched."""
    for pod in outcome.pods:
        condition = pod.condition(names.WEIGHTS_POD_CONDITION)
        if condition.status == "False" and condition.reason == Reason.FETCHING and condition.message:
            return condition.message[:256]
    return None


def _read(condition: PodCondition) -> tuple[str, Reason, str]:
    otherwise = {"True": Reason.WEIGHTS_AVAILABLE, "False": Reason.SOURCE_INVALID}.get(
        condition.status, Reason.WEIGHTS_PENDING
    )
    return condition.status, map_reason(condition.reason, otherwise), condition.message


def _word(message: str, source: str) -> str:
    return message if message.startswith(source) else f"weights from {source}: {message}"


def _stem(reason: Reason, told: str, source: str) -> str:
    # How a source fails is worded anew at each try (attempts, times); that it fails is what matters.
    worded_anew = reason in (Reason.SOURCE_UNREACHABLE, Reason.DEPOT_OVERLOADED)
    return told[: told.index(source) + len(source)] if worded_anew else ""


def _observe_unknown(pending: Rejection) -> Aspect:
    """Tell why nothing is started: the depot has yet to look, or it could not read the source."""
    judge = is_unknown if pending.reason is Reason.WEIGHTS_PENDING else is_false
    return judge(KIND, pending.reason, pending.detail)


def _observe_mount(outcome: Outcome, source: str) -> Aspect:
    if any(pod.phase == "Running" for pod in outcome.pods):
        return is_true(KIND, Reason.WEIGHTS_MOUNTED, f"{source} is mounted read-only in the pods")
    return is_unknown(KIND, Reason.WEIGHTS_PENDING, f"{source} is mounted once a pod starts")


def _find_missing_volume(outcome: Outcome) -> str:
    for pod in outcome.pods:
        scheduled = pod.condition("PodScheduled")
        if scheduled.status == "False" and "persistentvolumeclaim" in scheduled.message.lower():
            return f"the claim cannot be mounted: {scheduled.message}; create it in the service's namespace"
    return ""
