"""What the kinds without a workload share: they are accepted or refused, and ready where nothing else is missing."""

from collections.abc import Mapping, Sequence
from typing import Any

from sekisho.api.meta import StatusModel
from sekisho.errors import Reason, Rejection
from sekisho.plan.conditions import Aspect, Facet, Progress, is_false, is_true, settle_conditions
from sekisho.plan.outcome import AWAITED
from sekisho.plan.world import Published


def publish(
    model: type[StatusModel],
    facet: Facet,
    old: Mapping[str, Any],
    *,
    generation: int,
    now_at: float,
    body: Mapping[str, Any] | None = None,
) -> Published:
    """Put a status together; it goes through the model, so that nothing unbounded is published."""
    conditions, told = settle_conditions(facet, old, generation=generation, now_at=now_at)
    status = model.model_validate({**(body or {}), **conditions})
    return Published(status.model_dump(by_alias=True, exclude_none=True, mode="json"), told)


def refuse(rejection: Rejection) -> Facet:
    """Return the conditions of an object that is not accepted."""
    progress = Progress.MOVING if rejection.reason in AWAITED else Progress.STALLED
    return Facet(
        (
            is_false("Accepted", rejection.reason, rejection.detail),
            is_false("Ready", rejection.reason, rejection.detail),
        ),
        progress,
    )


def accept(message: str, *, more: Sequence[Aspect] = (), gap: Rejection | None = None, lasting: bool = False) -> Facet:
    """Return the conditions of an object that is accepted.

    Args:
        message: What was accepted.
        more: Conditions that inform and do not decide.
        gap: Why it is not ready all the same.
        lasting: Whether only somebody's change closes the gap.
    """
    accepted = is_true("Accepted", Reason.ACCEPTED, message)
    if gap is None:
        return Facet((accepted, *more, is_true("Ready", Reason.READY, message)), Progress.DONE)
    ready = is_false("Ready", gap.reason, gap.detail)
    return Facet((accepted, *more, ready), Progress.STALLED if lasting else Progress.MOVING)
