"""The conditions of a service, computed from one outcome."""

from sekisho.errors import Reason, Rejection
from sekisho.plan.conditions import Aspect, Facet, Progress, is_false, is_true, is_unknown
from sekisho.plan.isolation import observe_isolation
from sekisho.plan.misplaced import tell_misplaced
from sekisho.plan.outcome import AWAITED, LASTING, Design, Outcome
from sekisho.plan.release import demanded_kinds, observe_release
from sekisho.plan.serving import find_gap, observe_serving, stem_of
from sekisho.plan.weights import observe_weights

_WAITS = frozenset({Reason.ENGINE_STARTING, Reason.FETCHING})


def describe(outcome: Outcome, *, placement_message: str) -> Facet:
    """Compute every condition of a service, `Ready` last, and where it stands.

    Args:
        outcome: What was decided and seen.
        placement_message: Why it is placed or not, in words that stay while the decision stays.
    """
    aspects = _observe(outcome, placement_message)
    ready, progress = _conclude(outcome, aspects)
    return Facet((*aspects, ready), progress)


def _observe(outcome: Outcome, placement_message: str) -> tuple[Aspect, ...]:
    design = outcome.design
    if isinstance(design, Rejection):
        accepted = is_false("Accepted", design.reason, design.detail)
        return (
            accepted,
            *_undecided(("Placed", "Isolated", "WeightsAvailable", "Serving"), "the service is not accepted"),
        )
    accepted = _observe_acceptance(design)
    placed = _observe_placement(design, placement_message)
    if outcome.replicas == 0 and outcome.stop is None and placed.status != "True":
        kinds = (*demanded_kinds(outcome), "WeightsAvailable", "Serving")
        rest = _undecided(kinds, "the service is not placed")
        return (accepted, placed, *_undecided(("Isolated",), "no pod runs"), *rest)
    isolated, serving = observe_isolation(outcome), observe_serving(outcome, design.predictor)
    return accepted, placed, isolated, *observe_release(outcome), observe_weights(outcome), serving


def _observe_acceptance(design: Design) -> Aspect:
    if design.pending is not None:
        return is_unknown("Accepted", design.pending.reason, design.pending.detail)
    return is_true("Accepted", Reason.ACCEPTED, "the policy knows the class, and allows what the service asks for")


def _undecided(kinds: tuple[str, ...], why: str) -> tuple[Aspect, ...]:
    return tuple(is_unknown(kind, Reason.PENDING, f"not looked at: {why}") for kind in kinds)


def _observe_placement(design: Design, message: str) -> Aspect:
    if (misplaced := tell_misplaced(design.misplaced)) is not None:
        return is_false("Placed", misplaced.reason, misplaced.detail)
    placement = design.placement
    return (is_true if placement.site else is_false)("Placed", placement.reason, message)


def _conclude(outcome: Outcome, aspects: tuple[Aspect, ...]) -> tuple[Aspect, Progress]:
    worst = _find_worst(aspects)
    if _is_at_rest(outcome, aspects):
        return is_true("Ready", Reason.SCALED_TO_ZERO, f"at rest, as asked: {aspects[-1].message}"), Progress.DONE
    if worst is not None:
        stuck = Progress.STALLED if _is_lasting(outcome, worst) else Progress.MOVING
        return is_false("Ready", Reason(worst.reason), worst.message, stem=worst.stem), stuck
    gap = find_gap(outcome)
    if gap is not None:
        return is_false("Ready", gap.reason, gap.detail, stem=stem_of(gap)), Progress.MOVING
    return is_true("Ready", Reason.READY, "the model serves, isolated, where its class allows it"), Progress.DONE


def _find_worst(aspects: tuple[Aspect, ...]) -> Aspect | None:
    """Return what `Ready` tells of: a failure before a wait, since a pod that cannot start never proves anything."""
    failed = (item for item in aspects if item.status == "False" and item.reason not in _WAITS)
    return next(failed, None) or next((item for item in aspects if item.status != "True"), None)


def _is_at_rest(outcome: Outcome, aspects: tuple[Aspect, ...]) -> bool:
    accepted, placed, isolated, *_, serving = aspects
    decided = accepted.status == placed.status == "True" and isolated.status != "False"
    return decided and serving.reason == Reason.SCALED_TO_ZERO and not outcome.pods


def _is_lasting(outcome: Outcome, worst: Aspect) -> bool:
    if worst.type == "Accepted":
        return worst.status == "False" and worst.reason not in AWAITED
    if worst.type == "Placed" and isinstance(outcome.design, Design):
        rejected = outcome.design.placement.rejected
        return not outcome.design.misplaced and bool(rejected) and all(item.reason in LASTING for item in rejected)
    return worst.reason == Reason.FOREIGN_NETWORK_POLICY
