"""Services and Models on sealed weights: what runs, what waits, what is refused, and what is said of it."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.errors import Reason
from sekisho.plan.inferenceservice import plan
from sekisho.plan.model import plan_model
from sekisho.plan.world import ModelObject, Plan, Published, World
from tests.unit.plan.seals import (
    ARTIFACT,
    DEMANDS,
    MANIFEST,
    approve,
    build_inspection,
    demanding,
    plain_inspection,
    refused_inspection,
    sealed_model,
)
from tests.unit.plan.test_conditions import check_laws
from tests.unit.plan.worlds import (
    NOW,
    build_policy,
    build_runtime,
    build_service,
    build_world,
    condition,
    refused,
    settle,
)
from tests.unit.render.blueprints import RELEASED

STRICT = demanding(**DEMANDS)


def strict_world(inspection: Any = None, *, accepted: Any = None, **spec: Any) -> World:
    found = build_inspection(STRICT) if inspection is None else inspection
    approved = {"approvals": [approve()], **spec}
    return build_world(policy=STRICT, model=sealed_model(found, accepted=accepted, **approved))


def pod_of(decided: Plan) -> dict[str, Any]:
    deployment = next(item for item in decided.workload if item["kind"] == "Deployment")
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec


def volume_of(decided: Plan) -> dict[str, Any]:
    found: dict[str, Any] = next(item for item in pod_of(decided)["volumes"] if item["name"] == "weights")
    return found


def tell_model(model: ModelObject, policy: Any = None) -> Published:
    told = plan_model(model, policy or build_policy(), namespace_labels={}, now_at=NOW)
    check_laws(dict(told.status), model.generation)
    return told


def shown(told: Published, kind: str) -> dict[str, Any]:
    return next(item for item in told.status["conditions"] if item["type"] == kind)


def test_a_service_whose_model_shows_everything_runs_in_memory() -> None:
    decided = plan(build_service(), replace(strict_world(accepted=7), settings=RELEASED))
    assert condition(decided, "Accepted")["status"] == "True"
    assert volume_of(decided)["emptyDir"]["medium"] == "Memory"
    assert decided.status["weights"]["digest"] == ARTIFACT
    assert decided.status["weights"]["version"] == 7
    assert decided.status["weights"]["key"] == "openbao:transit/legal version 3"


def test_a_sealed_model_is_unsealed_in_memory_where_nothing_is_demanded() -> None:
    decided = plan(build_service(), build_world(model=sealed_model(size=None), settings=RELEASED))
    assert volume_of(decided)["emptyDir"]["medium"] == "Memory"
    assert "sizeLimit" in volume_of(decided)["emptyDir"]


def test_a_plain_model_runs_once_the_depot_has_found_it_plain() -> None:
    decided = plan(build_service(), build_world())
    assert condition(decided, "Accepted")["status"] == "True"
    assert "medium" not in volume_of(decided)["emptyDir"]
    assert "key" not in decided.status["weights"]


SOMEWHERE_ELSE = plain_inspection(uri="oci://registry.example:5000/models/smollm2:0")
UNREAD = refused_inspection("SourceDenied", "the registry answers 401", sealed=False)


@pytest.mark.parametrize(
    ("inspection", "reason", "words"),
    [
        ({}, Reason.WEIGHTS_PENDING, "the depot has not inspected oci://registry.example:5000/models/smollm2:1 yet"),
        (SOMEWHERE_ELSE, Reason.WEIGHTS_PENDING, "what it last saw was somewhere else"),
        (UNREAD, Reason.SOURCE_DENIED, "model smollm2: the registry answers 401"),
    ],
    ids=["not looked", "looked elsewhere", "could not look"],
)
def test_nothing_is_rendered_as_plain_before_the_depot_has_read_the_source(
    inspection: dict[str, Any], reason: Reason, words: str
) -> None:
    decided = plan(build_service(), build_world(model=sealed_model(inspection)))
    assert (decided.workload, decided.prune) == ((), ())
    accepted, weights, ready = (condition(decided, kind) for kind in ("Accepted", "WeightsAvailable", "Ready"))
    assert (accepted["status"], accepted["reason"]) == ("Unknown", reason)
    assert words in accepted["message"]
    assert (weights["reason"], weights["message"]) == (reason, accepted["message"])
    assert weights["status"] == ("Unknown" if reason is Reason.WEIGHTS_PENDING else "False")
    assert (ready["status"], ready["reason"], ready["message"]) == ("False", reason, accepted["message"])
    assert condition(decided, "Reconciling")["status"] == "True"
    assert decided.check_after_seconds is not None
    assert condition(decided, "Isolated")["reason"] != Reason.DEPOT_UNREACHABLE


@pytest.mark.parametrize("inspection", [{}, SOMEWHERE_ELSE, UNREAD], ids=["not looked", "elsewhere", "could not look"])
def test_what_runs_on_plain_weights_runs_on_while_the_depot_looks_anew(inspection: dict[str, Any]) -> None:
    obj, world = settle(build_service(), build_world())
    decided = plan(obj, replace(world, model=sealed_model(inspection)))
    assert (decided.workload, decided.prune, decided.evictions) == ((), (), ())
    assert condition(decided, "WeightsAvailable")["status"] == "True"
    assert condition(decided, "Serving")["status"] == "True"
    assert "Stalled" not in [item["type"] for item in decided.status["conditions"]]


def test_a_service_on_plain_weights_stays_ready_when_the_signers_of_the_policy_change() -> None:
    obj, world = settle(build_service(), build_world())
    assert condition(plan(obj, world), "Ready")["status"] == "True"
    other = build_policy().model_copy(update={"signers": build_policy().signers[:1]})
    decided = plan(obj, replace(world, policy=other))
    assert condition(decided, "Ready")["status"] == "True"
    assert decided.announcements == ()


def test_a_source_that_turns_silent_takes_no_key_and_no_class_from_what_runs_sealed() -> None:
    found = build_inspection(**{"class": "confidential+gdpr"})
    obj, world = settle(build_service(), build_world(model=sealed_model(found), settings=RELEASED))
    template = obj.status["template"]
    silent = refused_inspection("SourceUnreachable", "no answer", sealed=False) | {"class": "confidential+gdpr"}
    decided = plan(obj, replace(world, model=sealed_model(silent)))
    assert (decided.workload, decided.prune, decided.evictions) == ((), (), ())
    assert decided.status["class"]["display"] == "confidential+gdpr"
    assert decided.status["template"] == template
    assert condition(decided, "Accepted")["reason"] == Reason.SOURCE_UNREACHABLE


def test_a_model_that_was_made_anew_takes_no_class_from_what_runs_before_the_depot_has_looked() -> None:
    sealed = sealed_model(build_inspection(**{"class": "confidential+gdpr"}))
    obj, world = settle(build_service(), build_world(model=sealed, settings=RELEASED))
    decided = plan(obj, replace(world, model=sealed_model({})))
    assert (decided.workload, decided.prune) == ((), ())
    assert decided.status["class"]["display"] == "confidential+gdpr"
    assert "label of what runs of the service" in [item["source"] for item in decided.status["class"]["from"]]
    plain = plan(obj, replace(world, model=sealed_model(plain_inspection())))
    assert plain.status["class"]["display"] == "internal"


@pytest.mark.parametrize("changes", [{"storageUri": "pvc://claim/models"}, None], ids=["a claim", "no spec"])
def test_the_class_of_what_runs_counts_only_where_the_depot_will_look(changes: dict[str, Any] | None) -> None:
    sealed = sealed_model(build_inspection(**{"class": "confidential+gdpr"}))
    obj, world = settle(build_service(), build_world(model=sealed, settings=RELEASED))
    model = sealed_model({}, **(changes or {}))
    if changes is None:
        model = replace(model, spec=refused("InvalidSpec", "spec.owner: missing"))
    assert plan(obj, replace(world, model=model)).status["class"]["display"] == "internal"


def test_a_service_whose_model_is_not_there_is_not_rendered_at_all() -> None:
    decided = plan(build_service(), build_world(model=None))
    accepted = condition(decided, "Accepted")
    assert (accepted["status"], accepted["reason"]) == ("False", Reason.MODEL_NOT_FOUND)
    assert "create the Model" in accepted["message"]
    assert (decided.isolation, decided.workload) == ((), ())


def test_a_claim_is_mounted_without_a_look_of_the_depot() -> None:
    decided = plan(build_service(), build_world(model=sealed_model({}, storageUri="pvc://claim/models")))
    assert condition(decided, "Accepted")["status"] == "True"
    assert decided.workload


@pytest.mark.parametrize(
    ("inspection", "reason"),
    [
        (plain_inspection(policyDigest=build_inspection(STRICT)["policyDigest"]), Reason.SEALED_WEIGHTS_REQUIRED),
        (build_inspection(STRICT, signedBy=["board"]), Reason.SIGNATURE_MISSING),
        (build_inspection(STRICT, version=6), Reason.VERSION_ROLLED_BACK),
        (build_inspection(STRICT, scan=None), Reason.SCAN_MISSING),
        (build_inspection(STRICT, evaluations=[]), Reason.EVALUATION_MISSING),
        (build_inspection(STRICT, manifestDigest="sha256:" + "11" * 32), Reason.APPROVAL_MISSING),
        (build_inspection(STRICT, **{"class": "secret"}), Reason.UNKNOWN_LEVEL),
        (build_inspection(STRICT, **{"class": "internal+hipaa"}), Reason.UNKNOWN_COMPARTMENT),
        (refused_inspection("SignerNotTrusted", "by nobody"), Reason.SIGNER_NOT_TRUSTED),
    ],
)
def test_a_service_whose_model_lacks_something_is_refused_and_pruned(
    inspection: dict[str, Any], reason: Reason
) -> None:
    obj, world = settle(build_service(), strict_world(accepted=7))
    decided = plan(obj, replace(world, model=strict_world(inspection, accepted=7).model))
    accepted = condition(decided, "Accepted")
    assert (accepted["status"], accepted["reason"]) == ("False", reason)
    assert decided.workload == ()
    assert "Deployment" in decided.prune
    assert condition(decided, "Stalled")["reason"] == reason


def test_a_stricter_class_of_a_service_demands_more_than_that_of_its_model() -> None:
    policy = build_policy(confidential={"weights": {"scan": "Clean"}, "tiers": ["Closed"]})
    model = sealed_model(build_inspection(policy, scan=None))
    assert shown(tell_model(model, policy), "Ready")["status"] == "True"
    decided = plan(build_service(classification={"level": "confidential"}), build_world(policy=policy, model=model))
    assert condition(decided, "Accepted")["reason"] == Reason.SCAN_MISSING


def test_until_the_depot_has_looked_nothing_starts_where_something_is_demanded() -> None:
    decided = plan(build_service(), strict_world({}))
    accepted, ready = condition(decided, "Accepted"), condition(decided, "Ready")
    assert (accepted["status"], accepted["reason"]) == ("Unknown", Reason.WEIGHTS_PENDING)
    assert "the depot has not inspected oci://registry.example:5000/models/smollm2:1 yet" in accepted["message"]
    assert (ready["status"], ready["reason"]) == ("False", Reason.WEIGHTS_PENDING)
    assert decided.workload == ()
    assert condition(decided, "Reconciling")["status"] == "True"


def test_other_signers_let_what_runs_run_until_the_depot_has_looked_again() -> None:
    obj, world = settle(build_service(), strict_world(accepted=7))
    decided = plan(
        obj, replace(world, model=strict_world(build_inspection(), accepted=7, storageUri="oci://a/b:1").model)
    )
    assert (decided.workload, decided.prune) == ((), ())
    assert condition(decided, "Accepted")["reason"] == Reason.WEIGHTS_PENDING
    assert decided.isolation


def test_a_source_that_does_not_answer_is_waited_for() -> None:
    found = refused_inspection("SourceUnreachable", "the registry does not answer", sealed=False)
    decided = plan(build_service(), strict_world({**found, "policyDigest": build_inspection(STRICT)["policyDigest"]}))
    assert condition(decided, "Ready")["reason"] == Reason.SOURCE_UNREACHABLE
    assert not [item for item in decided.status["conditions"] if item["type"] == "Stalled"]


def test_the_class_that_a_model_was_sealed_for_is_a_floor() -> None:
    model = sealed_model(build_inspection(**{"class": "confidential+gdpr"}))
    told = tell_model(model)
    assert told.status["displayClass"] == "confidential+gdpr"
    decided = plan(build_service(), build_world(model=model))
    assert decided.status["class"]["display"] == "confidential+gdpr"
    assert {"source": "seal of model smollm2", "level": "confidential", "compartments": ["gdpr"]} in decided.status[
        "class"
    ]["from"]


def test_a_model_shows_what_it_is_and_the_highest_version_accepted() -> None:
    told = tell_model(sealed_model(build_inspection(STRICT), accepted=5, approvals=[approve()]), STRICT)
    assert [shown(told, kind)["status"] for kind in ("Sealed", "Signed", "Scanned", "Evaluated", "Approved")] == [
        "True"
    ] * 5
    assert shown(told, "Ready")["status"] == "True"
    assert told.status["acceptedVersion"] == 7
    assert "inspection" not in told.status


@pytest.mark.parametrize(
    ("model", "version"),
    [
        (sealed_model(accepted=9), 9),
        (sealed_model(plain_inspection(), accepted=9), 9),
        (sealed_model(refused_inspection("SignatureInvalid", "x"), accepted=9), 9),
        (sealed_model({}, accepted=9), 9),
        (replace(sealed_model(accepted=9), spec=build_world(policy=None).model.spec), 9),  # type: ignore[union-attr]
        (sealed_model(classification={"level": "secret"}, accepted=9), 9),
        (sealed_model(plain_inspection()), None),
        (sealed_model(refused_inspection("SignatureInvalid", "x")), None),
    ],
)
def test_the_accepted_version_never_goes_down(model: ModelObject, version: int | None) -> None:
    assert tell_model(model).status.get("acceptedVersion") == version


def test_an_older_version_makes_a_model_not_ready_even_where_nothing_is_demanded() -> None:
    ready = shown(tell_model(sealed_model(accepted=8)), "Ready")
    assert (ready["status"], ready["reason"]) == ("False", Reason.VERSION_ROLLED_BACK)


def test_a_model_whose_class_demands_what_it_lacks_is_not_ready_and_one_event_says_why() -> None:
    plain = sealed_model(plain_inspection(policyDigest=build_inspection(STRICT)["policyDigest"]))
    told = tell_model(plain, STRICT)
    assert shown(told, "Accepted")["status"] == "True"
    assert shown(told, "Ready")["reason"] == Reason.SEALED_WEIGHTS_REQUIRED
    assert shown(told, "Stalled")["status"] == "True"
    assert [item.reason for item in told.announcements if item.type == "Warning"] == [Reason.SEALED_WEIGHTS_REQUIRED]


def test_a_plain_model_where_nothing_is_demanded_warns_nobody() -> None:
    told = tell_model(sealed_model(plain_inspection()))
    assert shown(told, "Sealed")["reason"] == Reason.NOT_SEALED
    assert shown(told, "Ready")["status"] == "True"
    assert [item for item in told.announcements if item.type == "Warning"] == []


@pytest.mark.parametrize("policy", [STRICT, build_policy()], ids=["demanding", "demanding nothing"])
def test_a_model_that_the_depot_has_yet_to_inspect_is_not_ready(policy: Any) -> None:
    told = tell_model(sealed_model({}), policy)
    ready = shown(told, "Ready")
    assert (ready["status"], ready["reason"]) == ("False", Reason.WEIGHTS_PENDING)
    assert "see whether the depot runs" in ready["message"]
    assert shown(told, "Reconciling")["status"] == "True"


WHOLE = build_inspection(STRICT)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 9) | st.sampled_from(["", "release", "Clean", MANIFEST]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(sorted(WHOLE)), inner, max_size=2),
    max_leaves=4,
)
NEEDED = ("uri", "policyDigest", "manifestDigest", "signedBy", "version", "scan", "evaluations", "sealed")


@settings(deadline=None, max_examples=120)
@given(value=JSON, key=st.sampled_from(NEEDED), accepted=JSON)
def test_no_status_but_a_whole_signed_inspection_lets_a_demanding_class_run(
    value: Any, key: str, accepted: Any
) -> None:
    world = strict_world({**WHOLE, key: value}, accepted=accepted)
    decided = plan(build_service(), world)
    same = value == WHOLE[key] or (key == "version" and isinstance(value, int) and not isinstance(value, bool))
    assert not decided.workload or same or (key == "signedBy" and "release" in value)
    tell_model(world.model, STRICT)  # type: ignore[arg-type]


def test_weights_that_the_engine_decrypts_are_not_counted_as_memory_of_the_volume() -> None:
    model = sealed_model(build_inspection(), format={"name": "safetensors"})
    needs = {}
    for loader in ("files", "sealed"):
        runtime = build_runtime(formats=[{"name": "safetensors"}], loader=loader)
        world = build_world(model=model, runtimes={"vllm": runtime}, settings=RELEASED)
        agent = next(item for item in pod_of(plan(build_service(), world))["initContainers"] if item["name"] == "agent")
        needs[loader] = agent["resources"]["requests"]["memory"]
    assert needs == {"files": "191Mi", "sealed": "320Mi"}
