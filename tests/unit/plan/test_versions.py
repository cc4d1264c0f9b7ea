"""What a namespace has accepted outlives its Models: no older version of the same sealed name by the same signer."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.api.v1alpha1.model import Inspection
from sekisho.errors import Reason
from sekisho.plan.inferenceservice import plan
from sekisho.plan.model import plan_model
from sekisho.plan.versions import Accepted, Versions, read_accepted_version
from sekisho.plan.world import ModelObject, Published
from tests.unit.plan.seals import build_inspection, plain_inspection, refused_inspection, sealed_model
from tests.unit.plan.worlds import NOW, build_policy, build_service, build_world, condition
from tests.unit.render.blueprints import RELEASED

Highest = Mapping[tuple[str, str], int]


def model(highest: Highest | None, *, accepted: int | None = None, **inspection: Any) -> ModelObject:
    found = build_inspection(**inspection)
    made = sealed_model(found, accepted=accepted)
    return replace(made, versions=None if highest is None else Versions(highest))


def tell(obj: ModelObject) -> Published:
    return plan_model(obj, build_policy(), namespace_labels={}, now_at=NOW)


def ready(obj: ModelObject) -> tuple[str, str, str]:
    found = condition(tell(obj), "Ready")
    return found["status"], found["reason"], found["message"]


def test_a_new_model_object_with_an_older_version_is_refused_by_what_its_namespace_accepted() -> None:
    obj = model({("legal/smollm2", "release"): 8})
    status, reason, message = ready(obj)
    assert (status, reason) == ("False", Reason.VERSION_ROLLED_BACK)
    assert "legal/smollm2 version 7 is older than version 8, which was accepted before" in message
    assert "or under another name, served by another Model, if it is another model" in message
    assert tell(obj).status["acceptedVersion"] == 8
    assert tell(obj).accepted is None


def test_its_services_are_refused_as_well_whatever_its_status_says() -> None:
    world = build_world(model=model({("legal/smollm2", "release"): 8}), settings=RELEASED)
    decided = plan(build_service(), world)
    told = condition(decided, "Accepted")
    assert (told["status"], told["reason"]) == ("False", Reason.VERSION_ROLLED_BACK)
    assert "version 7 is older than version 8" in told["message"]
    assert decided.workload == ()


def test_a_further_signature_does_not_make_an_older_version_acceptable() -> None:
    obj = model({("legal/smollm2", "release"): 8}, signedBy=["release", "board"])
    assert ready(obj)[1] == Reason.VERSION_ROLLED_BACK
    assert tell(obj).accepted is None


@pytest.mark.parametrize("other", [("legal/other", "release"), ("legal/smollm2", "board")])
def test_another_model_and_another_signer_are_counted_by_themselves(other: tuple[str, str]) -> None:
    obj = model({other: 99, ("legal/smollm2", "release"): 7})
    assert ready(obj)[0] == "True"


def test_a_version_is_recorded_before_it_is_served() -> None:
    obj = model({})
    status, reason, message = ready(obj)
    assert (status, reason) == ("False", Reason.WEIGHTS_PENDING)
    assert "legal/smollm2 version 7 is to be recorded as accepted before it is served" in message
    assert tell(obj).accepted == Accepted("legal/smollm2", ("release",), 7)
    decided = plan(build_service(), build_world(model=obj, settings=RELEASED))
    assert condition(decided, "Accepted")["reason"] == Reason.WEIGHTS_PENDING
    assert decided.workload == ()


def test_what_is_recorded_is_served() -> None:
    obj = model({("legal/smollm2", "release"): 7})
    assert ready(obj)[0] == "True"
    assert tell(obj).accepted is None
    assert plan(build_service(), build_world(model=obj, settings=RELEASED)).workload


def test_a_signer_who_had_not_signed_before_is_recorded_too() -> None:
    obj = model({("legal/smollm2", "release"): 7}, signedBy=["release", "board"])
    assert tell(obj).accepted == Accepted("legal/smollm2", ("board", "release"), 7)


def test_what_the_object_itself_had_accepted_goes_on_to_count() -> None:
    obj = model({("legal/smollm2", "release"): 3}, accepted=9)
    assert ready(obj)[1] == Reason.VERSION_ROLLED_BACK
    assert tell(obj).status["acceptedVersion"] == 9
    assert tell(obj).accepted is None


def test_where_nobody_keeps_versions_the_object_alone_counts() -> None:
    assert ready(model(None))[0] == "True"
    assert tell(model(None)).accepted is None


@pytest.mark.parametrize(
    "inspection",
    [plain_inspection(), refused_inspection("SealBroken", "broken"), {**build_inspection(), "uri": "oci://a.test/b:1"}],
    ids=["plain", "refused", "elsewhere"],
)
def test_what_is_not_verified_is_neither_recorded_nor_held_against_anything(inspection: dict[str, Any]) -> None:
    obj = replace(sealed_model(inspection), versions=Versions({("legal/smollm2", "release"): 99}))
    told = tell(obj)
    assert told.accepted is None
    assert condition(told, "Ready")["reason"] != Reason.VERSION_ROLLED_BACK


@pytest.mark.parametrize("changes", [{"model": None}, {"version": None}, {"signed_by": ()}, {"sealed": False}])
def test_an_inspection_that_lacks_a_fact_says_nothing_of_versions(changes: dict[str, Any]) -> None:
    found = Inspection.model_validate(build_inspection()).model_copy(update=changes)
    assert read_accepted_version(found) is None
    versions = Versions({("legal/smollm2", "release"): 99})
    assert (versions.floor(found), versions.lacks(found)) == (0, False)
    assert (versions.floor(None), versions.lacks(None)) == (0, False)


NAMES = st.sampled_from(["release", "board", "audit"])


@pytest.mark.slow
@given(st.lists(st.tuples(st.frozensets(NAMES, min_size=1), st.integers(1, 9)), max_size=12))
def test_no_order_of_models_ever_lowers_what_is_served(offers: list[tuple[frozenset[str], int]]) -> None:
    highest: dict[tuple[str, str], int] = {}
    for signers, version in offers:
        obj = model(highest, signedBy=sorted(signers), version=version)
        told = tell(obj)
        if told.accepted is not None:
            highest |= {(told.accepted.model, signer): version for signer in told.accepted.signers}
            told = tell(model(highest, signedBy=sorted(signers), version=version))
        served = condition(told, "Ready")["status"] == "True"
        assert served == all(highest.get(("legal/smollm2", signer), 0) <= version for signer in signers)
