"""Whether a service is isolated: its policy is there, nobody else's opens it, and every pod keeps proving it."""

from collections.abc import Iterator

from sekisho.api import names
from sekisho.errors import Reason, Rejection
from sekisho.plan.conditions import Aspect, is_false, is_true, is_unknown
from sekisho.plan.outcome import Outcome
from sekisho.plan.pods import ContainerState, Pod, PodCondition, clip, map_reason
from sekisho.render.digest import encode_canonical

KIND = "Isolated"
_CLOCK_SKEW_SECONDS = 60
_MOST_TOLD = 4


def observe_isolation(outcome: Outcome) -> Aspect:
    """Judge isolation; whatever is not shown does not hold."""
    if outcome.stop is not None and outcome.stop.reason is Reason.FOREIGN_NETWORK_POLICY:
        return is_false(KIND, outcome.stop.reason, outcome.stop.detail)
    gap = _find_policy_gap(outcome)
    if gap is not None:
        return (is_false if outcome.pods else is_unknown)(KIND, gap.reason, gap.detail)
    failing = next(_failures(outcome), None)
    if failing is not None:
        return is_false(KIND, failing.reason, failing.detail)
    return _conclude(outcome)


def _find_policy_gap(outcome: Outcome) -> Rejection | None:
    name = names.name_child(outcome.obj.name)
    seen = outcome.world.children.get("NetworkPolicy")
    if seen is None:
        return Rejection(
            Reason.NETWORK_POLICY_NOT_OBSERVED,
            f"NetworkPolicy {name} is not seen on the server yet; nothing starts before it",
        )
    if encode_canonical(seen.get("spec")) != encode_canonical(outcome.isolation.get("spec")):
        return Rejection(
            Reason.NETWORK_POLICY_NOT_OBSERVED,
            f"NetworkPolicy {name} on the server is not the one that is wanted; it is put right, "
            "and where that goes on, find what changes it",
        )
    return None


def _failures(outcome: Outcome) -> Iterator[Rejection]:
    for pod in outcome.pods:
        failure = _judge_pod(pod, outcome)
        if failure is not None:
            yield failure


def _judge_pod(pod: Pod, outcome: Outcome) -> Rejection | None:
    if pod.additions:
        return Rejection(Reason.POD_ALTERED, _describe_additions(pod.additions))
    fence = pod.container("fence")
    if fence is not None and fence.exit_code not in (None, 0):
        return Rejection(Reason.FENCE_FAILED, _describe_end("fence", fence))
    proof = pod.condition(names.ISOLATED_POD_CONDITION)
    if proof.status == "False":
        reason = map_reason(proof.reason, Reason.ISOLATION_NOT_PROVEN)
        return Rejection(reason, f"a pod of the service is not isolated: {proof.message or 'no message'}")
    if proof.status == "True" and not is_fresh(proof, outcome):
        return Rejection(
            Reason.ISOLATION_PROOF_STALE,
            f"a pod's last proof of isolation is older than {outcome.proof_limit_seconds:.0f} s; see whether the "
            "depot and the pod's agent run",
        )
    agent = pod.container("agent")
    if proof.status != "True" and agent is not None and agent.waiting == "CrashLoopBackOff":
        return Rejection(Reason.ISOLATION_NOT_PROVEN, _describe_end("agent", agent))
    return None


def _describe_additions(additions: tuple[str, ...]) -> str:
    named, more = ", ".join(additions[:_MOST_TOLD]), len(additions) - _MOST_TOLD
    return (
        f"a pod of the service has {named}{f' and {more} more' if more > 0 else ''}, which the operator did not write; "
        f"exclude pods with the label {names.SERVICE_LABEL} from what adds it to pods (a webhook, as a rule), and "
        "delete the pod"
    )


def _describe_end(name: str, state: ContainerState) -> str:
    said = f": {clip(state.message)}" if state.message and state.waiting != "CrashLoopBackOff" else ""
    return f"container {name} ends with exit code {state.exit_code}{said}; its log says why"


def is_fresh(proof: PodCondition, outcome: Outcome) -> bool:
    """Tell whether a good proof still counts; one without a time, or from the future, does not."""
    if proof.probed_at is None:
        return False
    age = outcome.world.now_at - proof.probed_at
    return -_CLOCK_SKEW_SECONDS <= age <= outcome.proof_limit_seconds


def _conclude(outcome: Outcome) -> Aspect:
    proofs = [pod.condition(names.ISOLATED_POD_CONDITION) for pod in outcome.pods if pod.phase == "Running"]
    if not proofs:
        return _explain_absence(outcome)
    if any(proof.status != "True" for proof in proofs):
        return is_unknown(KIND, Reason.ISOLATION_PENDING, "a running pod has not proven yet that it is isolated")
    return is_true(KIND, Reason.ISOLATION_PROVEN, f"every running pod proves it: {proofs[0].message}")


def _explain_absence(outcome: Outcome) -> Aspect:
    settings = outcome.world.settings
    if outcome.waits_for_depot and not (settings.depot_host and settings.ca_pem):
        return is_unknown(
            KIND,
            Reason.DEPOT_UNREACHABLE,
            f"Service {names.DEPOT_SERVICE} in namespace {settings.system_namespace} has no address, or "
            "its certificate is not issued yet; pods start once both are there",
        )
    # Said of pods that are only asked for as of those that start: a moment later there would be another message.
    if outcome.pods or (outcome.deployment is not None and outcome.replicas):
        return is_unknown(
            KIND, Reason.ISOLATION_PENDING, "the NetworkPolicy is there; pods start and prove isolation first"
        )
    return is_unknown(KIND, Reason.ISOLATION_PENDING, "the NetworkPolicy is there; no pod runs that could prove more")


def next_staleness_seconds(outcome: Outcome) -> float | None:
    """Return after how long the oldest good proof would count as vanished; None without one."""
    proofs = [pod.condition(names.ISOLATED_POD_CONDITION) for pod in outcome.pods]
    times = [item.probed_at for item in proofs if item.status == "True" and item.probed_at is not None]
    if not times:
        return None
    return max(5.0, min(times) + outcome.proof_limit_seconds - outcome.world.now_at + 1)
