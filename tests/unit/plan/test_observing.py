"""What is seen of the pods, and what conditions it makes: isolation, weights, serving."""

from dataclasses import replace
from typing import Any

import pytest

from sekisho.api.times import format_time
from sekisho.errors import Reason
from sekisho.plan.inferenceservice import plan
from sekisho.plan.world import Plan
from sekisho.render.additions import list_additions
from tests.unit.plan.worlds import (
    NOW,
    SETTINGS,
    build_model,
    build_pod,
    build_service,
    build_world,
    condition,
    kinds,
    observe,
    settle,
    starting_pod,
)

ISOLATED, WEIGHTS = "sekisho.dev/isolated", "sekisho.dev/weights"


def altered(*names: str) -> dict[str, Any]:
    """Return a pod that proves its isolation as others do, with containers beside the engine, as the store keeps it."""
    pod = build_pod()
    return {**pod, "spec": {**pod["spec"], "additions": list_additions({"containers": [{"name": n} for n in names]})}}


def look(*pods: dict[str, Any], ready: int = 0, **world: Any) -> Plan:
    """Plan once everything is applied and these pods are there."""
    base = build_world(**{key: value for key, value in world.items() if key in ("model", "settings")})
    service = world.pop("service", build_service())
    first = plan(service, base)
    seen = {"children": observe(first, ready=ready), "pods": pods, **world}
    return plan(replace(service, status=service.status or first.status), replace(base, **seen))


def proof(status: str, reason: str = "", message: str = "", at: float | None = NOW - 30) -> dict[str, Any]:
    probed = {"lastProbeTime": format_time(at)} if at is not None else {}
    return {"conditions": {ISOLATED: {"status": status, "reason": reason, "message": message, **probed}}}


def state(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "image": f"registry/{name}:1", "ready": False, "restartCount": 0, **fields}


def waiting(name: str, reason: str, message: str = "", **fields: Any) -> dict[str, Any]:
    return state(name, state={"waiting": {"reason": reason, "message": message}}, **fields)


def ended(exit_code: int, reason: str = "Error", message: str = "") -> dict[str, Any]:
    return {"terminated": {"exitCode": exit_code, "reason": reason, "message": message}}


# Isolation


@pytest.mark.parametrize(
    ("pod", "reason", "fact"),
    [
        (
            build_pod(**proof("False", "IsolationLeak", "canary outside answered by tcp")),
            Reason.ISOLATION_LEAK,
            "canary outside answered by tcp",
        ),
        (
            altered("engine", "istio-proxy"),
            Reason.POD_ALTERED,
            "container istio-proxy (spec.containers), which the operator did not write; exclude pods",
        ),
        (altered(*"abcdef"), Reason.POD_ALTERED, "container d (spec.containers) and 2 more, which"),
        (build_pod(**proof("False", "Invented", "")), Reason.ISOLATION_NOT_PROVEN, "no message"),
        (build_pod(**proof("True", at=NOW - 241)), Reason.ISOLATION_PROOF_STALE, "older than 240 s"),
        (build_pod(**proof("True", at=None)), Reason.ISOLATION_PROOF_STALE, "older than 240 s"),
        (build_pod(**proof("True", at=NOW + 61)), Reason.ISOLATION_PROOF_STALE, "older than 240 s"),
        (
            starting_pod(
                initContainerStatuses=[waiting("fence", "CrashLoopBackOff", "back-off 10s", lastState=ended(1))]
            ),
            Reason.FENCE_FAILED,
            "container fence ends with exit code 1; its log says why",
        ),
        (
            starting_pod(initContainerStatuses=[state("fence", state=ended(2, message="nft: no such table"))]),
            Reason.FENCE_FAILED,
            "container fence ends with exit code 2: nft: no such table; its log",
        ),
        (
            starting_pod(initContainerStatuses=[waiting("agent", "CrashLoopBackOff", "", lastState=ended(3))]),
            Reason.ISOLATION_NOT_PROVEN,
            "container agent ends with exit code 3; its log",
        ),
        (
            starting_pod(**proof("False", "IsolationProofIncomplete", "icmp was not tried")),
            Reason.ISOLATION_PROOF_INCOMPLETE,
            "icmp was not tried",
        ),
    ],
)
def test_isolation_that_fails_or_vanishes_ends_readiness_with_the_reason(
    pod: dict[str, Any], reason: Reason, fact: str
) -> None:
    decided = look(pod, ready=1)
    isolated, ready = condition(decided, "Isolated"), condition(decided, "Ready")
    assert (isolated["status"], isolated["reason"]) == ("False", reason)
    assert fact in isolated["message"]
    assert (ready["status"], ready["reason"]) == ("False", reason)


@pytest.mark.parametrize(
    ("pod", "fact"),
    [
        (starting_pod(phase="Running"), "a running pod has not proven yet"),
        (
            starting_pod(initContainerStatuses=[state("fence", state=ended(0)), waiting("agent", "PodInitializing")]),
            "pods start and prove isolation first",
        ),
        (build_pod(metadata={"deletionTimestamp": "x"}), "pods start and prove isolation first"),
        (build_pod(phase="Succeeded"), "pods start and prove isolation first"),
    ],
)
def test_isolation_is_not_claimed_before_a_pod_has_proven_it(pod: dict[str, Any], fact: str) -> None:
    isolated = condition(look(pod), "Isolated")
    assert (isolated["status"], isolated["reason"]) == ("Unknown", Reason.ISOLATION_PENDING)
    assert fact in isolated["message"]


def test_a_pod_that_is_made_as_was_asked_for_is_no_news() -> None:
    asked, made = look(), look(starting_pod())
    assert "pods start and prove isolation first" in condition(asked, "Isolated")["message"]
    assert made.status == asked.status


def test_where_no_pod_is_asked_for_none_is_promised() -> None:
    service = build_service(predictor={"minReplicas": 0, "maxReplicas": 0})
    assert "no pod runs that could prove more" in condition(look(service=service), "Isolated")["message"]


def test_a_policy_that_is_gone_or_changed_ends_isolation_of_running_pods() -> None:
    service, world = settle(build_service(), build_world())
    rest = {kind: item for kind, item in world.children.items() if kind != "NetworkPolicy"}
    gone = condition(plan(service, replace(world, children=rest)), "Isolated")
    assert (gone["status"], gone["reason"]) == ("False", Reason.NETWORK_POLICY_NOT_OBSERVED)
    opened = {**world.children["NetworkPolicy"], "spec": {"podSelector": {}}}
    changed = condition(plan(service, replace(world, children={**rest, "NetworkPolicy": opened})), "Isolated")
    assert changed["status"] == "False"
    assert "is not the one that is wanted" in changed["message"]


def test_one_pod_of_many_that_leaks_ends_isolation_of_the_service() -> None:
    leak = build_pod("review-predictor-2", **proof("False", "IsolationLeak", "leak"))
    assert condition(look(build_pod(), leak, ready=2), "Isolated")["status"] == "False"


@pytest.mark.parametrize("missing", [{"depot_host": ""}, {"ca_pem": ""}])
def test_without_the_depot_nothing_new_starts_and_nothing_that_runs_is_touched(missing: dict[str, str]) -> None:
    settings = replace(SETTINGS, **missing)
    decided = plan(build_service(), build_world(settings=settings))
    assert decided.workload == decided.prune == ()
    assert decided.isolation
    seen = {"NetworkPolicy": decided.isolation[0]}
    later = plan(build_service(), build_world(settings=settings, children=seen))
    isolated = condition(later, "Isolated")
    assert (isolated["status"], isolated["reason"]) == ("Unknown", Reason.DEPOT_UNREACHABLE)
    assert "Service sekisho-depot in namespace sekisho-system has no address" in isolated["message"]
    assert later.check_after_seconds == 5.0
    service, world = settle(build_service(), build_world())
    running = plan(service, replace(world, settings=settings))
    assert running.workload == running.prune == ()
    assert condition(running, "Serving")["status"] == "True"


def test_a_vanishing_proof_is_noticed_in_time() -> None:
    decided = look(build_pod(**proof("True", at=NOW - 100)), build_pod("b", **proof("True", at=NOW - 10)), ready=2)
    assert decided.check_after_seconds == 240 - 100 + 1
    assert look(build_pod(**proof("True", at=NOW - 9999)), ready=1).check_after_seconds == 5.0
    assert look(build_pod(**proof("False")), ready=1).check_after_seconds is None


# Weights


def weights(status: str, reason: str, message: str = "") -> dict[str, Any]:
    return {"conditions": {WEIGHTS: {"status": status, "reason": reason, "message": message}}}


@pytest.mark.parametrize(
    ("pods", "status", "reason", "fact"),
    [
        (
            [starting_pod(**weights("False", "DigestMismatch", "sha256:aa wanted, sha256:bb there"))],
            "False",
            "DigestMismatch",
            "sha256:aa wanted, sha256:bb there",
        ),
        ([starting_pod(**weights("False", "Invented"))], "False", "SourceInvalid", "no message"),
        (
            [starting_pod(**weights("False", "Fetching", "3 of 9 MB"))],
            "False",
            "Fetching",
            "status.weights.progress tells how far",
        ),
        (
            [starting_pod(**weights("False", "WeightsPending", ""))],
            "Unknown",
            "WeightsPending",
            "once a pod has proven isolation",
        ),
        ([starting_pod()], "Unknown", "WeightsPending", "once a pod has proven isolation"),
        ([build_pod(), starting_pod("b", **weights("False", "Fetching", "x"))], "True", "WeightsAvailable", "1 file"),
        (
            [build_pod(), starting_pod("b", **weights("False", "SourceDenied", "401"))],
            "False",
            "SourceDenied",
            "weights from oci://registry.example:5000/models/smollm2:1: 401",
        ),
        ([build_pod(**weights("True", "Other"))], "True", "WeightsAvailable", "are in place"),
    ],
)
def test_weights_are_as_the_depot_says(pods: list[dict[str, Any]], status: str, reason: str, fact: str) -> None:
    found = condition(look(*pods), "WeightsAvailable")
    assert (found["status"], found["reason"]) == (status, reason)
    assert fact in found["message"]


def test_the_progress_of_a_fetch_is_in_the_status_and_not_in_the_condition() -> None:
    one = look(starting_pod("a"), starting_pod(**weights("False", "Fetching", "3 of 9 MB")))
    two = look(starting_pod("a"), starting_pod(**weights("False", "Fetching", "5 of 9 MB")))
    assert one.status["weights"]["progress"] == "3 of 9 MB"
    assert condition(one, "WeightsAvailable") == condition(two, "WeightsAvailable")


def test_a_source_that_is_tried_again_and_again_is_told_once() -> None:
    first = look(starting_pod(**weights("False", "SourceUnreachable", "attempt 1 of 9")))
    service = replace(build_service(), status=first.status)
    again = look(starting_pod(**weights("False", "SourceUnreachable", "attempt 2 of 9")), service=service)
    assert condition(again, "WeightsAvailable")["message"].endswith("attempt 1 of 9")
    assert again.announcements == ()


def test_a_source_is_named_once_where_the_depot_names_it_and_told_once_while_it_fails() -> None:
    uri = "oci://registry.example:5000/models/smollm2:1"
    first = look(starting_pod(**weights("False", "SourceUnreachable", f"{uri} cannot be reached: refused")))
    assert condition(first, "WeightsAvailable")["message"] == f"{uri} cannot be reached: refused"
    service = replace(build_service(), status=first.status)
    again = look(starting_pod(**weights("False", "SourceUnreachable", f"{uri} answered with 503")), service=service)
    assert condition(again, "WeightsAvailable")["message"] == f"{uri} cannot be reached: refused"
    assert again.announcements == ()


PVC = {"model": build_model(storageUri="pvc://claim/a")}


def test_mounted_weights_are_there_once_a_pod_runs() -> None:
    assert (
        condition(look(build_pod(conditions={WEIGHTS: {}}), **PVC), "WeightsAvailable")["reason"]
        == Reason.WEIGHTS_MOUNTED
    )
    assert condition(look(starting_pod(), **PVC), "WeightsAvailable")["status"] == "Unknown"


def test_a_claim_that_does_not_exist_is_named() -> None:
    scheduled = {"status": "False", "reason": "Unschedulable", "message": 'persistentvolumeclaim "claim" not found'}
    found = condition(look(starting_pod(conditions={"PodScheduled": scheduled}), **PVC), "WeightsAvailable")
    assert (found["status"], found["reason"]) == ("False", Reason.VOLUME_MISSING)
    assert 'persistentvolumeclaim "claim" not found; create it' in found["message"]


# Serving


@pytest.mark.parametrize(
    ("pod", "reason", "fact"),
    [
        (
            starting_pod(containerStatuses=[waiting("engine", "ImagePullBackOff", "not found")]),
            Reason.IMAGE_PULL_FAILED,
            'image "registry/engine:1" of container engine cannot be pulled: not found; check its name',
        ),
        (
            starting_pod(initContainerStatuses=[waiting("agent", "ErrImagePull")]),
            Reason.IMAGE_PULL_FAILED,
            'image "registry/agent:1" of container agent cannot be pulled: ErrImagePull',
        ),
        (
            starting_pod(
                containerStatuses=[
                    waiting("engine", "CrashLoopBackOff", "back-off", restartCount=4, lastState=ended(1))
                ]
            ),
            Reason.ENGINE_CRASHING,
            "ended with exit code 1, restarts: 4; look at kubectl logs review-predictor-1 -c engine --previous",
        ),
        (
            starting_pod(
                phase="Running", containerStatuses=[state("engine", restartCount=1, lastState=ended(137, "OOMKilled"))]
            ),
            Reason.ENGINE_CRASHING,
            "was killed for using more memory than its limit with exit code 137, restarts: 1",
        ),
        (
            starting_pod(
                conditions={
                    "PodScheduled": {"status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available"}
                }
            ),
            Reason.UNSCHEDULABLE,
            "the scheduler finds no node: 0/3 nodes are available",
        ),
        (
            starting_pod(conditions={"PodScheduled": {"status": "False", "reason": "SchedulingGated"}}),
            Reason.UNSCHEDULABLE,
            "SchedulingGated",
        ),
        (
            starting_pod(containerStatuses=[waiting("engine", "CreateContainerConfigError", "configmap not found")]),
            Reason.POD_REFUSED,
            "container engine cannot be created: CreateContainerConfigError: configmap not found",
        ),
        (
            starting_pod(phase="Failed", reason="Evicted", message="low on disk"),
            Reason.POD_REFUSED,
            "ended by its node: Evicted: low on disk",
        ),
        (starting_pod(phase="Failed"), Reason.POD_REFUSED, "ended by its node: no message"),
        (
            starting_pod(containerStatuses=[state("engine", ready=True, lastState=ended(1))]),
            Reason.ENGINE_STARTING,
            "0 of 1 replicas serve; pods are starting",
        ),
        (starting_pod(), Reason.ENGINE_STARTING, "0 of 1 replicas serve; pods are starting"),
    ],
)
def test_what_stands_in_the_way_of_serving_is_named_with_its_facts(
    pod: dict[str, Any], reason: Reason, fact: str
) -> None:
    found = condition(look(pod), "Serving")
    assert (found["status"], found["reason"]) == ("False", reason)
    assert fact in found["message"]


def test_a_kubelet_that_words_a_failed_pull_anew_at_each_try_causes_no_write() -> None:
    first = look(starting_pod(containerStatuses=[waiting("engine", "ErrImagePull", "manifest unknown")]))
    service, world = build_service(status=first.status), build_world()
    pod = starting_pod(containerStatuses=[waiting("engine", "ImagePullBackOff", "Back-off pulling image")])
    seen = replace(world, children=observe(first, ready=0), pods=(pod,))
    again = plan(service, seen)
    assert condition(again, "Serving")["message"] == condition(first, "Serving")["message"]
    assert again.announcements == ()


@pytest.mark.parametrize(
    ("message", "fact"),
    [
        (
            'pods "review-predictor-5d4-x7k2p" is forbidden: violates PodSecurity "restricted:latest": x',
            "pods cannot be created: the pod is forbidden: violates PodSecurity",
        ),
        (
            'Error creating: pods "a-b" is forbidden: exceeded quota: q, requested: memory=1Gi',
            "raise the namespace's ResourceQuota",
        ),
        ("admission webhook denied the request", "see what the message names"),
    ],
)
def test_pods_that_cannot_be_created_are_explained_with_the_next_step(message: str, fact: str) -> None:
    found = condition(look(replica_failures=(message,)), "Serving")
    assert fact in found["message"]
    assert (found["status"], found["reason"]) == ("False", Reason.POD_REFUSED)
    if "PodSecurity" in message:
        assert "turn the fence off (isolation.fence)" in found["message"]
        assert "x7k2p" not in found["message"]


def test_readiness_tells_of_a_failure_before_it_tells_of_a_wait() -> None:
    pull = starting_pod(containerStatuses=[waiting("engine", "ImagePullBackOff", "not found")])
    decided = look(pull)
    assert condition(decided, "Isolated")["reason"] == Reason.ISOLATION_PENDING
    assert condition(decided, "Ready")["reason"] == Reason.IMAGE_PULL_FAILED
    assert condition(look(starting_pod()), "Ready")["reason"] == Reason.ISOLATION_PENDING


def test_before_anything_is_applied_serving_is_not_decided() -> None:
    assert condition(plan(build_service(), build_world()), "Serving")["reason"] == Reason.PENDING


def test_a_service_with_some_ready_pods_serves_and_is_not_ready_until_all_are() -> None:
    service = build_service(predictor={"minReplicas": 2})
    decided = look(
        build_pod(),
        starting_pod("b", conditions={"PodScheduled": {"status": "False", "message": "full"}}),
        ready=1,
        service=service,
    )
    assert condition(decided, "Serving")["message"] == "1 of 2 replicas serve"
    ready = condition(decided, "Ready")
    assert (ready["status"], ready["reason"]) == ("False", Reason.UNSCHEDULABLE)
    assert decided.status["replicas"] == {"desired": 2, "ready": 1, "summary": "1/2"}


def test_a_change_that_is_not_applied_yet_keeps_the_service_from_being_ready() -> None:
    service, world = settle(build_service(), build_world())
    changed = replace(world, runtimes={"llamacpp": world.runtimes["llamacpp"].model_copy(update={"args": ("--new",)})})
    ready = condition(plan(service, changed), "Ready")
    assert (ready["status"], ready["message"]) == ("False", "a change of the pods is being applied")
    deployment = world.children["Deployment"]
    lagging = {**deployment, "metadata": {**deployment["metadata"], "generation": 2}}
    behind = plan(service, replace(world, children={**world.children, "Deployment": lagging}))
    assert condition(behind, "Ready")["reason"] == Reason.ENGINE_STARTING
    lost = {kind: item for kind, item in world.children.items() if kind != "Deployment"}
    assert condition(plan(service, replace(world, children=lost)), "Ready")["reason"] == Reason.ENGINE_STARTING


def test_a_service_of_no_replicas_rests_and_is_as_asked() -> None:
    service = build_service(predictor={"minReplicas": 0})
    decided = look(service=service)
    assert condition(decided, "Serving")["reason"] == Reason.SCALED_TO_ZERO
    ready = condition(decided, "Ready")
    assert (ready["status"], ready["reason"]) == ("True", Reason.SCALED_TO_ZERO)
    assert kinds(decided)[-1] == "Ready"
    ending = look(build_pod(), service=service)
    assert condition(ending, "Ready")["status"] == "False"
