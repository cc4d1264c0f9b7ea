"""Conditions from one outcome: the laws of status that GitOps tools rely on are kept here and nowhere else.

`Ready` is always present. `Reconciling` and `Stalled` are present only while true, never both, and never beside a true
`Ready`. `status.observedGeneration` reaches the object's generation once that generation is ready or refused for good;
while it is worked on it stays below.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from sekisho.api.meta import ConditionStatus
from sekisho.api.times import format_time
from sekisho.errors import Reason

MAX_MESSAGE: Final = 1024
_CALM: Final = frozenset({Reason.FETCHING, Reason.SCALED_TO_ZERO, Reason.ENGINE_STARTING, Reason.TERMINATING})


@dataclass(frozen=True, slots=True)
class Announcement:
    """An event worth telling users of: a condition changed."""

    type: str  # Normal or Warning
    reason: str
    message: str


class Progress(Enum):
    """Where an object stands: what it asks for is so, is on its way, or will not be without a change by somebody."""

    DONE = "done"
    MOVING = "moving"
    STALLED = "stalled"


@dataclass(frozen=True, slots=True)
class Aspect:
    """One condition, before times and generations.

    Attributes:
        stem: The part of the message that matters; while status, reason and stem stay the same, the old message stays,
            so that wording or numbers that change with every look cause no write.
    """

    type: str
    status: ConditionStatus
    reason: str
    message: str
    stem: str = ""


@dataclass(frozen=True, slots=True)
class Facet:
    """All conditions of one outcome, `Ready` among them, and where the object stands."""

    aspects: tuple[Aspect, ...]
    progress: Progress


def is_true(kind: str, reason: Reason, message: str, *, stem: str = "") -> Aspect:
    """Build an aspect that holds."""
    return Aspect(kind, "True", reason, message, stem)


def is_false(kind: str, reason: Reason, message: str, *, stem: str = "") -> Aspect:
    """Build an aspect that does not hold."""
    return Aspect(kind, "False", reason, message, stem)


def is_unknown(kind: str, reason: Reason, message: str, *, stem: str = "") -> Aspect:
    """Build an aspect that is not decided yet."""
    return Aspect(kind, "Unknown", reason, message, stem)


def find_condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """Return a raw condition of a raw status; empty where there is none."""
    found: Mapping[str, Any] = next((item for item in status.get("conditions") or () if item.get("type") == kind), {})
    return found


def settle_conditions(
    facet: Facet, old: Mapping[str, Any], *, generation: int, now_at: float
) -> tuple[dict[str, Any], tuple[Announcement, ...]]:
    """Return `observedGeneration` and `conditions` of the new status, and what is worth an event.

    Args:
        facet: The outcome.
        old: The raw status that stands.
        generation: Of the object the outcome speaks of.
        now_at: Unix seconds; becomes lastTransitionTime where a status changed.
    """
    reached = min(int(old.get("observedGeneration", -1)), generation)
    aspects = [_keep_wording(item, find_condition(old, item.type)) for item in facet.aspects]
    ready = next(item for item in aspects if item.type == "Ready")
    if facet.progress is Progress.STALLED:
        aspects.append(Aspect("Stalled", "True", ready.reason, ready.message))
    elif facet.progress is Progress.MOVING and reached < generation:
        aspects.append(Aspect("Reconciling", "True", ready.reason, ready.message))
    moving = aspects[-1].type == "Reconciling"
    conditions = [_date(item, find_condition(old, item.type), generation, now_at) for item in aspects]
    told = tuple(_announce(item) for item in aspects if _is_news(item, find_condition(old, item.type)))
    return {"observedGeneration": reached if moving else generation, "conditions": conditions}, told


def _keep_wording(aspect: Aspect, old: Mapping[str, Any]) -> Aspect:
    message = aspect.message[:MAX_MESSAGE]
    same = (old.get("status"), old.get("reason")) == (aspect.status, str(aspect.reason))
    if aspect.stem and same and str(old.get("message", "")).startswith(aspect.stem):
        message = str(old["message"])
    return Aspect(aspect.type, aspect.status, str(aspect.reason), message)


def _date(aspect: Aspect, old: Mapping[str, Any], generation: int, now_at: float) -> dict[str, Any]:
    kept = old.get("lastTransitionTime") if old.get("status") == aspect.status else None
    return {
        "type": aspect.type,
        "status": aspect.status,
        "reason": aspect.reason,
        "message": aspect.message,
        "observedGeneration": generation,
        "lastTransitionTime": kept or format_time(now_at),
    }


def _is_news(aspect: Aspect, old: Mapping[str, Any]) -> bool:
    # Reconciling, Stalled and a Ready that is not true only repeat what another condition says.
    if aspect.type in ("Reconciling", "Stalled") or aspect.status == "Unknown":
        return False
    if aspect.type == "Ready" and aspect.status != "True":
        return False
    said = (old.get("status"), old.get("reason"), old.get("message"))
    return said != (aspect.status, aspect.reason, aspect.message)


def _announce(aspect: Aspect) -> Announcement:
    calm = aspect.status == "True" or aspect.reason in _CALM
    return Announcement("Normal" if calm else "Warning", aspect.reason, aspect.message)
