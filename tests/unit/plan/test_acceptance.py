"""What is not accepted: the class, the model, the runtime, the law of the pod. Nothing of it ever runs."""

from dataclasses import replace
from typing import Any

import pytest

from sekisho.errors import Reason, Rejection
from sekisho.plan.inferenceservice import plan
from sekisho.plan.world import World
from tests.unit.plan.worlds import (
    SETTINGS,
    build_model,
    build_pod,
    build_policy,
    build_runtime,
    build_service,
    build_world,
    condition,
    kinds,
    observe,
    refused,
)

LONG = "l" * 32


def inline(**model: Any) -> dict[str, Any]:
    return {"model": {"modelFormat": {"name": "gguf"}, "storageUri": "s3://bucket/a", **model}}


def classed(level: str, *compartments: str) -> dict[str, Any]:
    return {"classification": {"level": level, "compartments": list(compartments)}}


GPU_RUNTIME = {"vllm": build_runtime(accelerators=["nvidia"])}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], Reason, str]] = {
    "no policy": ({}, {"policy": None}, Reason.POLICY_MISSING, 'there is no ClassificationPolicy "default"'),
    "unreadable policy": (
        {},
        {"policy": refused("InvalidSpec", "levels: too short")},
        Reason.POLICY_INVALID,
        "cannot be used: levels: too short",
    ),
    "policy that is being deleted": (
        {},
        {"policy": refused("Terminating", "it is being deleted")},
        Reason.POLICY_MISSING,
        'ClassificationPolicy "default" cannot be used: it is being deleted',
    ),
    "unknown level": (
        classed("secret"),
        {},
        Reason.UNKNOWN_LEVEL,
        'spec of the service asks for level "secret"; the policy knows public, internal',
    ),
    "unknown compartment": (
        classed("public", "hipaa"),
        {},
        Reason.UNKNOWN_COMPARTMENT,
        'asks for compartment "hipaa"; the policy knows gdpr',
    ),
    "empty label": (
        {"labels": {"sekisho.dev/classification": ""}},
        {},
        Reason.LABEL_INVALID,
        "label of the service has 0 characters",
    ),
    "label of the namespace": (
        {},
        {"namespace_labels": {"sekisho.dev/classification": "nope"}},
        Reason.UNKNOWN_LEVEL,
        'label of namespace legal asks for level "nope"',
    ),
    "label of the model": (
        {},
        {"model": build_model(labels={"sekisho.dev/classification": "nope"})},
        Reason.UNKNOWN_LEVEL,
        'label of model smollm2 asks for level "nope"',
    ),
    "spec of the model": (
        {},
        {"model": build_model(classification={"level": "nope"})},
        Reason.UNKNOWN_LEVEL,
        'spec of model smollm2 asks for level "nope"',
    ),
    "no model": (
        {},
        {"model": None},
        Reason.MODEL_NOT_FOUND,
        "the service names model smollm2, its namespace has none",
    ),
    "unreadable model": (
        {},
        {"model": replace(build_model(), spec=refused("InvalidSpec", "owner: missing"))},
        Reason.INVALID_SPEC,
        "model smollm2 cannot be used: owner: missing",
    ),
    "unusable source": (
        {"predictor": inline(storageUri="https://files.example")},
        {},
        Reason.STORAGE_URI_INVALID,
        "it names no file",
    ),
    "no runtime": ({}, {"runtimes": {}}, Reason.RUNTIME_NOT_FOUND, "there is no Runtime; create one"),
    "unknown runtime": (
        {"predictor": inline(runtime="triton")},
        {},
        Reason.RUNTIME_NOT_FOUND,
        "the service names runtime triton; there are: llamacpp",
    ),
    "unknown runtime of none": (
        {"predictor": inline(runtime="triton")},
        {"runtimes": {}},
        Reason.RUNTIME_NOT_FOUND,
        "there are: none",
    ),
    "format of the named runtime": (
        {"predictor": inline(runtime="llamacpp", modelFormat={"name": "onnx"})},
        {},
        Reason.FORMAT_NOT_SERVED,
        "runtime llamacpp serves gguf, the model is onnx",
    ),
    "format of any runtime": (
        {"predictor": inline(modelFormat={"name": "gguf", "version": "4"})},
        {"runtimes": {"a": build_runtime(formats=[{"name": "gguf", "version": "3"}])}},
        Reason.FORMAT_NOT_SERVED,
        "no runtime serves format gguf 4: runtime a serves gguf 3, the model is gguf 4",
    ),
    "runtime that must be named": (
        {},
        {"runtimes": {"a": build_runtime(autoSelect=False)}},
        Reason.RUNTIME_NOT_FOUND,
        "runtime a must be named to be used",
    ),
    "no GPU for a runtime that needs one": (
        {"predictor": {"resources": {"gpus": 0}}},
        {"runtimes": GPU_RUNTIME},
        Reason.ACCELERATOR_MISSING,
        "runtime vllm needs nvidia, the service asks for 0 GPUs",
    ),
    "GPUs for a runtime that uses none": (
        {"predictor": {"resources": {"gpus": 2}}},
        {},
        Reason.ACCELERATOR_MISSING,
        "runtime llamacpp uses no GPU, the service asks for 2",
    ),
    "GPU memory for a runtime that uses none": (
        {"predictor": {"resources": {"gpuMemory": "80Gi"}}},
        {},
        Reason.ACCELERATOR_MISSING,
        "runtime llamacpp uses no GPU, the service asks for 80Gi of GPU memory",
    ),
    "a part of a GPU": (
        {"predictor": inline(resources={"limits": {"nvidia.com/gpu": "500m"}})},
        {"runtimes": GPU_RUNTIME},
        Reason.INVALID_SPEC,
        "the service asks for 500m of nvidia.com/gpu; GPUs are whole, ask for 1 or 0",
    ),
    "more CPU than there can be": (
        {"predictor": {"resources": {"cpu": "9000P"}}},
        {},
        Reason.INVALID_SPEC,
        "cpu comes to 9000000000000000000000 millicores, no node has more than 1099511627776; ask for less",
    ),
    "more GPUs than there can be": (
        {"predictor": inline(resources={"limits": {"nvidia.com/gpu": "9000P"}})},
        {"runtimes": GPU_RUNTIME},
        Reason.INVALID_SPEC,
        "a replica comes to 9000000000000000000 GPUs",
    ),
    "a model larger than any node": (
        {},
        {"model": build_model(size="8000P")},
        Reason.INVALID_SPEC,
        "memory comes to 7629394531762 MiB, no node has more than 1099511627776; ask for less, or correct the size",
    ),
    "weights that a service names by itself": (
        {**classed("public"), "predictor": inline()},
        {
            "policy": build_policy(
                public={
                    "weights": {
                        "signedBy": ["release"],
                        "scan": "Clean",
                        "evaluated": ["safety"],
                        "approvedBy": ["board"],
                    }
                }
            )
        },
        Reason.SEALED_WEIGHTS_REQUIRED,
        "weights.approvedBy: board; a storageUri in the service can show none of it; create a Model for the sealed and",
    ),
    "runtime's image without digest": (
        classed("confidential"),
        {"runtimes": {"a": build_runtime(image="registry/llamacpp:1")}},
        Reason.IMAGE_NOT_BY_DIGEST,
        'class confidential demands images by digest; runtime a has "registry/llamacpp:1"',
    ),
    "agent's image without digest": (
        classed("confidential"),
        {"settings": replace(SETTINGS, agent_image="registry/agent:1")},
        Reason.IMAGE_NOT_BY_DIGEST,
        'the agent\'s image (chart value images.agent) has "registry/agent:1"',
    ),
    "egress": (
        {"egress": [{"cidr": "198.51.100.0/24", "ports": [443]}]},
        {},
        Reason.EGRESS_NOT_ALLOWED,
        "the service declares egress to 198.51.100.0/24; class internal says egress Denied",
    ),
    "egress that opens a canary": (
        {**classed("public"), "egress": [{"cidr": "203.0.113.0/24", "ports": [80]}]},
        {"namespace_labels": {}},
        Reason.EGRESS_NOT_ALLOWED,
        "egress to 203.0.113.0/24 port 80 would open canary outside (203.0.113.10)",
    ),
    "a limit below the request": (
        {"predictor": inline(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}})},
        {},
        Reason.INVALID_SPEC,
        "cpu asks for 2000 millicores, its limit is 1000 millicores",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_not_accepted_is_refused_with_the_rule_and_the_facts_and_never_runs(case: str) -> None:
    service, world, reason, fact = CASES[case]
    decided = plan(build_service(**service), build_world(**world))
    accepted, ready = condition(decided, "Accepted"), condition(decided, "Ready")
    assert (accepted["status"], accepted["reason"]) == ("False", reason)
    assert fact in accepted["message"]
    assert (ready["status"], ready["reason"], ready["message"]) == ("False", reason, accepted["message"])
    assert (decided.isolation, decided.workload) == ((), ())
    assert condition(decided, "Serving")["status"] == "Unknown"
    assert "placement" not in decided.status


def test_a_spec_that_cannot_be_read_is_refused_as_it_was_found() -> None:
    service = replace(build_service(), spec=Rejection(Reason.INVALID_SPEC, "spec.predictor: missing"))
    decided = plan(service, build_world())
    assert condition(decided, "Accepted")["message"] == "spec.predictor: missing"


def test_a_class_that_is_no_label_is_refused() -> None:
    policy = build_policy()
    long = policy.model_copy(
        update={
            "unlabelled": LONG,
            "levels": (policy.levels[0].model_copy(update={"name": LONG}),),
            "compartments": (policy.compartments[0].model_copy(update={"name": "c" * 32}),),
        }
    )
    decided = plan(build_service(**classed(LONG, "c" * 32)), build_world(policy=long))
    accepted = condition(decided, "Accepted")
    assert accepted["reason"] == Reason.LABEL_INVALID
    assert "takes 65 characters as a label, 63 are possible" in accepted["message"]


def running(world: World) -> World:
    decided = plan(build_service(), world)
    return replace(world, children=observe(decided), pods=(build_pod(),))


def test_a_service_whose_class_is_refused_is_torn_down_and_loses_its_isolation_last() -> None:
    world = replace(running(build_world()), policy=None)
    decided = plan(build_service(), world)
    assert decided.prune == ("Deployment", "PodDisruptionBudget", "Service", "ConfigMap", "ServiceAccount")
    gone = plan(build_service(), replace(world, children={"NetworkPolicy": world.children["NetworkPolicy"]}, pods=()))
    assert gone.prune[-1] == "NetworkPolicy"
    lingering = plan(build_service(), replace(world, children={}))
    assert "NetworkPolicy" not in lingering.prune


@pytest.mark.parametrize(("world", "kind"), [({"policy": None}, "Reconciling"), ({"model": None}, "Reconciling")])
def test_what_may_still_come_is_waited_for(world: dict[str, Any], kind: str) -> None:
    assert kinds(plan(build_service(), build_world(**world)))[-1] == kind


def test_a_refusal_that_only_a_change_ends_is_stalled() -> None:
    decided = plan(build_service(**classed("secret")), build_world())
    assert kinds(decided)[-1] == "Stalled"
    assert decided.status["observedGeneration"] == 1


def test_the_class_is_the_join_of_all_floors_and_each_is_named() -> None:
    world = build_world(
        namespace_labels={"sekisho.dev/classification": "public"},
        model=build_model(labels={"sekisho.dev/classification": "public.gdpr"}, classification={"level": "internal"}),
    )
    service = build_service(labels={"sekisho.dev/classification": "public"}, **classed("confidential"))
    told = plan(service, world).status["class"]
    assert (told["display"], told["level"], told["compartments"]) == ("confidential+gdpr", "confidential", ["gdpr"])
    assert [item["source"] for item in told["from"]] == [
        "spec of the service",
        "label of the service",
        "spec of model smollm2",
        "label of model smollm2",
        "label of namespace legal",
    ]


def test_an_unreadable_model_still_counts_by_its_label() -> None:
    model = replace(
        build_model(labels={"sekisho.dev/classification": "confidential"}), spec=refused("InvalidSpec", "x")
    )
    assert plan(build_service(), build_world(model=model)).status["class"]["level"] == "confidential"


def test_egress_that_the_class_allows_is_opened_in_the_policy_and_told_to_the_agent() -> None:
    service = build_service(egress=[{"cidr": "198.51.100.0/24", "ports": [443]}], **classed("public"))
    decided = plan(service, build_world())
    assert decided.isolation[0]["spec"]["egress"][1]["to"] == [{"ipBlock": {"cidr": "198.51.100.0/24"}}]
    assert '"198.51.100.0/24"' in decided.workload[1]["data"]["agent.json"]


def test_egress_may_meet_the_address_of_a_canary_on_another_port() -> None:
    service = build_service(egress=[{"cidr": "203.0.113.0/24", "ports": [10250]}], **classed("public"))
    assert condition(plan(service, build_world()), "Accepted")["status"] == "True"


def test_the_first_runtime_by_name_that_fits_is_taken() -> None:
    runtimes = {"b": build_runtime(), "c": build_runtime(), "a": build_runtime(formats=[{"name": "onnx"}])}
    assert plan(build_service(), build_world(runtimes=runtimes)).status["runtime"] == "b"
    named = build_service(predictor=inline(runtime="c"))
    decided = plan(named, build_world(runtimes=runtimes, model=None))
    assert (decided.status["runtime"], decided.status["modelName"]) == ("c", "review")


def test_the_digest_of_the_model_or_of_its_reference_is_shown() -> None:
    digest = "sha256:" + "ef" * 32
    assert plan(build_service(), build_world(model=build_model(digest=digest))).status["weights"]["digest"] == digest
    uri = f"oci://registry.example/a@{digest}"
    assert plan(build_service(predictor=inline(storageUri=uri)), build_world()).status["weights"]["digest"] == digest
