"""The laws of status: what GitOps tools and people may rely on after every publish."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.api.times import format_time
from sekisho.errors import Reason
from sekisho.plan.conditions import (
    MAX_MESSAGE,
    Aspect,
    Facet,
    Progress,
    find_condition,
    is_false,
    is_true,
    settle_conditions,
)

READY = is_true("Ready", Reason.READY, "serves")
BROKEN = is_false("Ready", Reason.PENDING, "waits")


def settle(
    facet: Facet, old: dict[str, Any] | None = None, *, generation: int = 3, at: float = 100.0
) -> dict[str, Any]:
    return settle_conditions(facet, old or {}, generation=generation, now_at=at)[0]


def check_laws(status: dict[str, Any], generation: int) -> None:
    """The laws of Flux, written anew: each line is one of them."""
    found = {item["type"]: item for item in status["conditions"]}
    assert "Ready" in found
    assert not {"Reconciling", "Stalled"} <= found.keys()
    assert status["observedGeneration"] <= generation
    for kind in {"Reconciling", "Stalled"} & found.keys():
        assert found[kind]["status"] == "True"
        assert found["Ready"]["status"] == "False"
    if "Reconciling" in found:
        assert status["observedGeneration"] < found["Reconciling"]["observedGeneration"]
    if found["Ready"]["status"] == "True":
        assert all(item["observedGeneration"] == status["observedGeneration"] == generation for item in found.values())
    assert all(
        item["observedGeneration"] >= 1 and item["lastTransitionTime"] and item["reason"] for item in found.values()
    )


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(list(Progress)), st.integers(0, 2), st.sampled_from(["a", "b"]), st.floats(0, 4e9)),
        min_size=1,
        max_size=6,
    )
)
def test_the_laws_hold_after_every_publish_of_any_history(history: list[tuple[Progress, int, str, float]]) -> None:
    status: dict[str, Any] = {"observedGeneration": -1}
    generation = 1
    for progress, more, message, at in history:
        generation += more
        ready = READY if progress is Progress.DONE else BROKEN
        aspects = (is_true("Accepted", Reason.ACCEPTED, message), ready)
        status = settle(Facet(aspects, progress), status, generation=generation, at=at)
        check_laws(status, generation)


def test_while_it_is_worked_on_the_generation_is_not_reached_and_once_reached_it_stays() -> None:
    moving = settle(Facet((BROKEN,), Progress.MOVING), {"observedGeneration": 2})
    assert moving["observedGeneration"] == 2
    assert [item["type"] for item in moving["conditions"]] == ["Ready", "Reconciling"]
    reached = settle(Facet((BROKEN,), Progress.MOVING), {"observedGeneration": 3})
    assert reached["observedGeneration"] == 3
    assert [item["type"] for item in reached["conditions"]] == ["Ready"]


def test_a_generation_from_a_restored_backup_is_brought_down() -> None:
    assert settle(Facet((READY,), Progress.DONE), {"observedGeneration": 9})["observedGeneration"] == 3
    assert settle(Facet((BROKEN,), Progress.MOVING), {"observedGeneration": 9})["observedGeneration"] == 3


def test_the_transition_time_stays_while_the_status_stays() -> None:
    first = settle(Facet((READY,), Progress.DONE), at=100.0)
    other = Facet((is_true("Ready", Reason.SCALED_TO_ZERO, "rests"),), Progress.DONE)
    assert settle(other, first, at=200.0)["conditions"][0]["lastTransitionTime"] == format_time(100)
    broken = settle(Facet((BROKEN,), Progress.STALLED), first, at=200.0)
    assert broken["conditions"][0]["lastTransitionTime"] == format_time(200)


def test_wording_that_changes_with_every_look_is_kept_while_its_stem_stays() -> None:
    def pull(detail: str, reason: str = "ImagePullFailed") -> Facet:
        return Facet((Aspect("Ready", "False", reason, f"image a: {detail}", stem="image a"),), Progress.STALLED)

    first = settle(pull("not found"))
    assert settle(pull("back-off"), first)["conditions"][0]["message"] == "image a: not found"
    assert settle(pull("back-off", "PodRefused"), first)["conditions"][0]["message"] == "image a: back-off"


def test_messages_are_bounded() -> None:
    facet = Facet((is_false("Ready", Reason.PENDING, "x" * 5000),), Progress.STALLED)
    assert len(settle(facet)["conditions"][0]["message"]) == MAX_MESSAGE


def test_each_changed_condition_is_told_once() -> None:
    facet = Facet((is_false("Placed", Reason.NO_SITE, "nowhere"), BROKEN), Progress.MOVING)
    status, told = settle_conditions(facet, {}, generation=1, now_at=0)
    assert [(item.type, item.reason, item.message) for item in told] == [("Warning", "NoSite", "nowhere")]
    assert settle_conditions(facet, status, generation=1, now_at=9)[1] == ()
    healed = Facet((is_true("Placed", Reason.PLACED, "here"), READY), Progress.DONE)
    assert [item.type for item in settle_conditions(healed, status, generation=1, now_at=9)[1]] == ["Normal", "Normal"]


@pytest.mark.parametrize("reason", [Reason.FETCHING, Reason.SCALED_TO_ZERO, Reason.ENGINE_STARTING])
def test_what_is_on_its_way_is_no_warning(reason: Reason) -> None:
    facet = Facet((is_false("Serving", reason, "soon"), BROKEN), Progress.MOVING)
    assert settle_conditions(facet, {}, generation=1, now_at=0)[1][0].type == "Normal"


def test_a_missing_condition_is_empty() -> None:
    assert find_condition({"conditions": None}, "Ready") == {}
