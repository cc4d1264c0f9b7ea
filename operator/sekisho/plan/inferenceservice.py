"""The plan of an InferenceService: accept, place, isolate, then run; and what is said of it."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from sekisho.api import names
from sekisho.api.v1alpha1.datagrant import DataGrantSpec
from sekisho.api.v1alpha1.inferenceservice import InferenceServiceSpec, Predictor
from sekisho.api.v1alpha1.keyreleasepolicy import KeyReleasePolicySpec
from sekisho.api.v1alpha1.runtime import RuntimeSpec
from sekisho.errors import Reason, RefusedError, Rejection
from sekisho.placement.engine import place
from sekisho.placement.requirement import Demand
from sekisho.plan.aspects import describe
from sekisho.plan.classing import Classing, classify_service
from sekisho.plan.conditions import settle_conditions
from sekisho.plan.demands import find_pending
from sekisho.plan.foreign import find_foreign
from sekisho.plan.isolation import next_staleness_seconds
from sekisho.plan.law import check_egress, check_images, check_weights
from sekisho.plan.matching import look_again
from sekisho.plan.misplaced import find_misplaced, next_expiry_seconds, plan_evictions
from sekisho.plan.outcome import Design, Outcome
from sekisho.plan.pods import Pod, read_pods
from sekisho.plan.release import next_end_seconds
from sekisho.plan.resolution import Weights, resolve_runtime, resolve_weights
from sekisho.plan.sleeping import count_replicas, may_sleep, next_sleep_seconds
from sekisho.plan.status import compose_status, settle_placement
from sekisho.plan.world import Eviction, Manifest, Plan, ServiceObject, World
from sekisho.render.blueprint import Blueprint
from sekisho.render.estimate import Needs, estimate_needs
from sekisho.render.manifests import ISOLATION_KINDS, WORKLOAD_KINDS, render_isolation, render_workload
from sekisho.render.metadata import render_labels
from sekisho.render.storage import BESIDE_BYTES, bound_weights_bytes

_MIN_LOOK_SECONDS = 5.0
_TRUST_LOOK_SECONDS = 60.0
_ENDING: Final = (
    "the service is being deleted, so nothing of it runs any more; where it stays, its metadata.finalizers keep it"
)
_TEMPLATE_HASH = "pod-template-hash"  # the ReplicaSet that a pod is of, by Kubernetes' own label


def plan(obj: ServiceObject, world: World) -> Plan:
    """Decide all that should be so for a service.

    What is not accepted or not placed does not run: its workload is pruned, its NetworkPolicy last. Nor does what is
    being deleted: whoever may write the object may keep it by a finalizer for as long as they like.
    """
    pods = read_pods(world.pods)
    if obj.deleting:
        return _refuse(Outcome(obj, world, pods, None, Rejection(Reason.TERMINATING, _ENDING)))
    classing: Classing | None = None
    try:
        spec = _require_spec(obj)
        classing = classify_service(obj, world, spec=spec.classification)
        design, runtime = _design(obj, world, spec, classing=classing, pods=pods)
    except RefusedError as refusal:
        return _refuse(Outcome(obj, world, pods, classing, Rejection(refusal.reason, refusal.message)))
    return _realise(Outcome(obj, world, pods, classing, design), design, spec, runtime=runtime)


def _require_spec(obj: ServiceObject) -> InferenceServiceSpec:
    if isinstance(obj.spec, Rejection):
        raise RefusedError.of(obj.spec)
    return obj.spec


def _design(
    obj: ServiceObject, world: World, spec: InferenceServiceSpec, *, classing: Classing, pods: tuple[Pod, ...]
) -> tuple[Design, RuntimeSpec]:
    rules, data_class = classing.rules, classing.data_class
    weights = resolve_weights(spec, world)
    runtime_name, runtime = resolve_runtime(spec.predictor, weights.format, world.runtimes)
    check_weights(rules, data_class, weights.seen)
    images = [(f"runtime {runtime_name}", runtime.image)]
    check_images(
        rules, data_class, [*images, ("the agent's image (chart value images.agent)", world.settings.agent_image)]
    )
    check_egress(rules, data_class, spec.egress, canaries=world.settings.canaries)
    volume = _memory_of_weights(classing, weights, runtime, world)
    needs = estimate_needs(
        spec.predictor, runtime, memory=weights.memory, size_bytes=weights.size_bytes, volume_bytes=volume
    )
    demand = _demand(obj, world, spec, classing=classing, needs=needs)
    placement = place(demand, world.sites, world.snapshot.without(obj.namespace, obj.name), now_at=world.now_at)
    misplaced = find_misplaced(demand, placement.site, world, pods)
    pending = find_pending(weights.seen) if weights.seen is not None else None
    return Design(
        classing, weights, runtime_name, needs, demand, placement, spec.predictor, misplaced, pending
    ), runtime


def _keeps_in_memory(classing: Classing, weights: Weights) -> bool:
    """Tell whether the volume of weights is kept in memory: where they are unsealed, or may be nothing but sealed."""
    return not weights.storage.is_mounted and (classing.rules.weights.sealed or weights.sealed is not None)


def _memory_of_weights(classing: Classing, weights: Weights, runtime: RuntimeSpec, world: World) -> int:
    """Return how large the volume of weights is where it is kept in memory; 0 where it is not."""
    if not _keeps_in_memory(classing, weights):
        return 0
    if weights.sealed is not None and runtime.loader == "sealed":
        return BESIDE_BYTES
    return bound_weights_bytes(weights.size_bytes, world.settings.max_weights_bytes)


def _demand(
    obj: ServiceObject, world: World, spec: InferenceServiceSpec, *, classing: Classing, needs: Needs
) -> Demand:
    replicas = count_replicas(spec.predictor, obj.status, now_at=world.now_at)
    return Demand(
        namespace=obj.namespace,
        service=obj.name,
        replicas=replicas,
        cpu_millis=needs.pod_cpu_millis,
        memory_mib=needs.pod_memory_mib,
        gpus=needs.gpus,
        gpu_memory_mib=needs.gpu_memory_mib,
        node_selector=spec.predictor.node_selector,
        tolerations=spec.predictor.tolerations,
        sites=spec.placement.sites,
        rules=classing.rules,
        data_class=classing.data_class,
        current_site=_current_site(obj, world),
        wakes=replicas > 0 and _wakes(spec.predictor, world),
    )


def _wakes(predictor: Predictor, world: World) -> bool:
    """Tell whether a service that is asked for has neither pods nor anything that makes them."""
    deployment = world.children.get("Deployment") or {}
    return may_sleep(predictor) and not world.pods and not (deployment.get("spec") or {}).get("replicas")


def _current_site(obj: ServiceObject, world: World) -> str | None:
    """Return where the service runs: what the Deployment says, else what was last published."""
    deployment = world.children.get("Deployment")
    labels = (deployment or {}).get("metadata", {}).get("labels") or {}
    site = labels.get(names.SITE_LABEL) or (obj.status.get("placement") or {}).get("site")
    return str(site) if site else None


def _refuse(outcome: Outcome) -> Plan:
    return _conclude(outcome, isolation=(), workload=(), prune=_prune_all(outcome))


def _prune_all(outcome: Outcome) -> tuple[str, ...]:
    """Prune the workload, and what isolates it only once nothing of it is left."""
    gone = not outcome.world.pods and "Deployment" not in outcome.world.children
    return (*reversed(WORKLOAD_KINDS), *(ISOLATION_KINDS if gone else ()))


def _realise(outcome: Outcome, design: Design, spec: InferenceServiceSpec, *, runtime: RuntimeSpec) -> Plan:
    world, site = outcome.world, design.placement.site
    blueprint = _draw(outcome, design, spec, runtime=runtime)
    isolation = render_isolation(blueprint)
    decided = replace(outcome, isolation=isolation[0])
    if site is None:
        return _conclude(decided, isolation=isolation, workload=(), prune=tuple(reversed(WORKLOAD_KINDS)))
    foreign = find_foreign(world.network_policies, [render_labels(blueprint), *(pod.labels for pod in outcome.pods)])
    stop = foreign or _find_move(outcome, site)
    waits = design.pending is not None or not (world.settings.depot_host and world.settings.ca_pem)
    keyless = design.weights.sealed is not None and world.settings.release is None
    decided = replace(decided, stop=stop, waits_for_depot=waits, waits_for_release=keyless)
    if (waits or keyless) and stop is None:
        return _conclude(decided, isolation=isolation, workload=(), prune=())
    halted = replace(blueprint, replicas=decided.replicas)
    workload = render_workload(halted, live=world.children.get("Deployment"))
    return _conclude(replace(decided, deployment=workload[-1]), isolation=isolation, workload=workload, prune=())


def _find_move(outcome: Outcome, site: str) -> Rejection | None:
    """Stop first where pods are at a site that was left: a site is only left because law or trust forbid it now."""
    left = sorted({pod.labels.get(names.SITE_LABEL, site) for pod in outcome.pods} - {site})
    if not left:
        return None
    return Rejection(Reason.STOPPED, f"the service moves from site {left[0]} to {site}; its pods there end first")


def _draw(outcome: Outcome, design: Design, spec: InferenceServiceSpec, *, runtime: RuntimeSpec) -> Blueprint:
    obj, rules = outcome.obj, design.classing.rules
    weights: Weights = design.weights
    return Blueprint(
        namespace=obj.namespace,
        name=obj.name,
        uid=obj.uid,
        data_class=design.classing.data_class,
        site=design.placement.site or "",
        predictor=spec.predictor,
        runtime=runtime,
        storage=weights.storage,
        size_bytes=weights.size_bytes,
        needs=design.needs,
        replicas=outcome.replicas,
        terms=design.placement.terms,
        egress=spec.egress,
        tenancy=rules.tenancy,
        in_memory=_keeps_in_memory(design.classing, weights),
        by_digest=rules.images_by_digest,
        agent_image=outcome.world.settings.agent_image,
        settings=outcome.world.settings,
        sealed=weights.sealed,
        isolation_uid=str((outcome.world.children.get("NetworkPolicy") or {}).get("metadata", {}).get("uid") or ""),
        yields=_serves_nobody_while_it_changes(outcome.pods),
    )


def _serves_nobody_while_it_changes(pods: tuple[Pod, ...]) -> bool:
    """Tell whether there are pods of several templates and none of them serves: so none is lost by going first."""
    templates = {pod.labels[_TEMPLATE_HASH] for pod in pods if _TEMPLATE_HASH in pod.labels}
    return len(templates) > 1 and not any(pod.is_ready for pod in pods)


def _conclude(
    outcome: Outcome, *, isolation: tuple[Manifest, ...], workload: tuple[Manifest, ...], prune: tuple[str, ...]
) -> Plan:
    obj, world = outcome.obj, outcome.world
    placement, message = settle_placement(outcome)
    facet = describe(outcome, placement_message=message)
    conditions, told = settle_conditions(facet, obj.status, generation=obj.generation, now_at=world.now_at)
    return Plan(
        isolation=isolation,
        workload=workload,
        prune=prune,
        status=compose_status(outcome, conditions, placement=placement),
        announcements=told,
        check_after_seconds=_look_again(outcome),
        evictions=_evict(outcome),
    )


def _grants(outcome: Outcome) -> Iterator[KeyReleasePolicySpec | DataGrantSpec | Rejection]:
    yield from (item.spec for item in outcome.world.owners)
    yield from (item.spec for item in outcome.world.tenants)


def _evict(outcome: Outcome) -> tuple[Eviction, ...]:
    """Evict what may not stay where it is, where something is to run at all; what is pruned goes by itself."""
    if isinstance(outcome.design, Rejection) or not outcome.replicas:
        return ()
    return plan_evictions(outcome.design.misplaced, outcome.obj.status, now_at=outcome.world.now_at)


def _look_again(outcome: Outcome) -> float | None:
    """Say when to look without an event: proofs, of pods and of nodes, grow old silently."""
    waits = [
        next_staleness_seconds(outcome),
        next_end_seconds(outcome),
        look_again(_grants(outcome), outcome.world.now_at),
    ]
    if isinstance(outcome.design, Design):
        predictor, now_at = outcome.design.predictor, outcome.world.now_at
        waits.append(next_sleep_seconds(predictor, outcome.obj.status, now_at=now_at))
    trust = outcome.classing.rules.trust if outcome.classing is not None else None
    if trust is not None:
        waits.append(max(_MIN_LOOK_SECONDS, min(_TRUST_LOOK_SECONDS, trust.max_age_seconds / 4)))
        if not isinstance(outcome.design, Rejection):
            waits.append(next_expiry_seconds(outcome.design.demand, outcome.world, outcome.pods))
            waits.append(_MIN_LOOK_SECONDS if outcome.design.misplaced else None)
    if outcome.waits_for_depot:
        waits.append(_MIN_LOOK_SECONDS)
    return min((item for item in waits if item is not None), default=None)
