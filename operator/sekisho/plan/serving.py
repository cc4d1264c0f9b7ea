"""Whether a service serves, and if not, which of the many things in a pod's way it is."""

import re
from collections.abc import Callable, Sequence
from typing import Final

from sekisho.api.v1alpha1.inferenceservice import Predictor
from sekisho.errors import Reason, Rejection
from sekisho.plan.conditions import Aspect, is_false, is_true, is_unknown
from sekisho.plan.outcome import Outcome
from sekisho.plan.pods import ContainerState, Pod, clip
from sekisho.plan.sleeping import explain_sleep
from sekisho.plan.world import Manifest
from sekisho.render.workload import TEMPLATE_DIGEST_ANNOTATION, read_agent_images

KIND = "Serving"
_PULL: Final = frozenset({
    "ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError",
    "RegistryUnavailable",
})  # fmt: skip
_CREATE: Final = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})


def observe_serving(outcome: Outcome, predictor: Predictor) -> Aspect:
    """Judge whether requests are answered: at least one pod is ready, that is healthy, isolated and with weights."""
    if outcome.stop is not None:
        return is_false(KIND, Reason.STOPPED, f"no pod shall run: {outcome.stop.detail}")
    wanted, ready = outcome.replicas, count_ready(outcome)
    if wanted == 0:
        why = explain_sleep(predictor, outcome.obj.status, now_at=outcome.world.now_at)
        return is_false(KIND, Reason.SCALED_TO_ZERO, why)
    if ready:
        return is_true(KIND, Reason.SERVING, f"{min(ready, wanted)} of {wanted} replicas serve")
    if outcome.world.children.get("Deployment") is None and not outcome.pods:
        return is_unknown(KIND, Reason.PENDING, "the pods are not created yet")
    problem = find_problem(outcome)
    return is_false(KIND, problem.reason, problem.detail, stem=stem_of(problem))


def count_ready(outcome: Outcome) -> int:
    """Count the pods that requests may reach."""
    return sum(pod.is_ready for pod in outcome.pods)


def find_gap(outcome: Outcome) -> Rejection | None:
    """Return why not all replicas serve as they shall; None where they do."""
    deployment = outcome.world.children.get("Deployment")
    wanted = outcome.replicas
    if deployment is None or outcome.deployment is None:
        return None if wanted == 0 and outcome.deployment is None else _starting(outcome)
    if not _is_applied(outcome.deployment, deployment):
        return Rejection(Reason.ENGINE_STARTING, "a change of the pods is being applied")
    status = deployment.get("status") or {}
    seen = int(status.get("observedGeneration") or 0) >= int(deployment["metadata"].get("generation") or 0)
    counts = [int(status.get(key) or 0) for key in ("replicas", "updatedReplicas", "readyReplicas")]
    if seen and counts == [wanted] * 3:
        return None
    return find_problem(outcome)


def _is_applied(wanted: Manifest, live: Manifest) -> bool:
    """Tell whether the server has the replicas and the pod template that are wanted."""
    noted = [(item["metadata"].get("annotations") or {}).get(TEMPLATE_DIGEST_ANNOTATION) for item in (wanted, live)]
    replicas = [(item.get("spec") or {}).get("replicas") for item in (wanted, live)]
    return noted[0] == noted[1] and replicas[0] == replicas[1] and read_agent_images(wanted) == read_agent_images(live)


def find_problem(outcome: Outcome) -> Rejection:
    """Name what stands in the way of the pods that are not ready; the first cause in the order of a pod's life."""
    pods = [pod for pod in outcome.pods if not pod.is_ready]
    if len(outcome.pods) < outcome.replicas and outcome.world.replica_failures:
        return _explain_refusal(outcome.world.replica_failures[0])
    for look in (_find_refused, _find_unschedulable, _find_pull, _find_create, _find_crash):
        found = look(pods)
        if found is not None:
            return found
    return _starting(outcome)


def stem_of(problem: Rejection) -> str:
    """Return the part of a problem that matters where kubelets word it anew at each try."""
    return problem.detail.partition(": ")[0] if problem.reason is Reason.IMAGE_PULL_FAILED else ""


def _starting(outcome: Outcome) -> Rejection:
    return Rejection(
        Reason.ENGINE_STARTING,
        f"{min(count_ready(outcome), outcome.replicas)} of {outcome.replicas} replicas serve; pods are starting",
    )


def _explain_refusal(message: str) -> Rejection:
    # The name of the pod that was not made is new at every try.
    told = clip(re.sub(r'^(Error creating: )?pods? "[^"]*" is ', "the pod is ", clip(message)))
    lowered = told.lower()
    step = "see what the message names, then wait or change it"
    if "violates podsecurity" in lowered:
        step = (
            "the namespace's Pod Security level refuses the fence (NET_ADMIN); label the namespace "
            "pod-security.kubernetes.io/enforce: privileged, exempt the service, or turn the fence off "
            "(isolation.fence)"
        )
    elif "exceeded quota" in lowered:
        step = "raise the namespace's ResourceQuota or ask for less"
    return Rejection(Reason.POD_REFUSED, f"pods cannot be created: {told}; {step}")


def _find_refused(pods: Sequence[Pod]) -> Rejection | None:
    for pod in pods:
        if pod.phase == "Failed":
            told = ": ".join(item for item in (pod.reason, pod.message) if item) or "no message"
            return Rejection(
                Reason.POD_REFUSED,
                f"a pod was ended by its node: {told}; it is made anew, and where that goes on, see kubectl describe "
                f"node {pod.node or 'NAME'}",
            )
    return None


def _find_unschedulable(pods: Sequence[Pod]) -> Rejection | None:
    for pod in pods:
        scheduled = pod.condition("PodScheduled")
        if scheduled.status == "False":
            return Rejection(
                Reason.UNSCHEDULABLE,
                f"the scheduler finds no node: {scheduled.message or scheduled.reason}; make room, or ask for less",
            )
    return None


def _find_container(pods: Sequence[Pod], fits: Callable[[ContainerState], bool]) -> ContainerState | None:
    return next((state for pod in pods for state in pod.containers if fits(state)), None)


def _find_pull(pods: Sequence[Pod]) -> Rejection | None:
    state = _find_container(pods, lambda item: item.waiting in _PULL)
    if state is None:
        return None
    told = state.message or state.waiting
    return Rejection(
        Reason.IMAGE_PULL_FAILED,
        f'image "{state.image}" of container {state.name} cannot be pulled: {told}; check its name, the '
        "registry and imagePullSecrets",
    )


def _find_create(pods: Sequence[Pod]) -> Rejection | None:
    state = _find_container(pods, lambda item: item.waiting in _CREATE)
    if state is None:
        return None
    return Rejection(
        Reason.POD_REFUSED,
        f"container {state.name} cannot be created: {state.waiting}: {state.message or 'no message'}; create or "
        "correct what it names, or see kubectl describe pod",
    )


def _find_crash(pods: Sequence[Pod]) -> Rejection | None:
    for pod in pods:
        engine = pod.container("engine")
        if engine is None or engine.exit_code is None or engine.ready:
            continue
        why = "was killed for using more memory than its limit" if engine.ended == "OOMKilled" else "ended"
        return Rejection(
            Reason.ENGINE_CRASHING,
            f"the engine {why} with exit code {engine.exit_code}, restarts: {engine.restarts}; look at "
            f"kubectl logs {pod.name} -c engine --previous",
        )
    return None
