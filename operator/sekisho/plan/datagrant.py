"""The status of a DataGrant: whether it is in force, and which owners' policies it meets."""

from sekisho.api.v1alpha1.datagrant import DataGrantSpec, DataGrantStatus
from sekisho.classify.lattice import Lattice
from sekisho.errors import Reason, RefusedError, Rejection
from sekisho.plan.accepted import accept, publish, refuse
from sekisho.plan.classing import require_policy
from sekisho.plan.grants import judge_force, names_model, names_workload
from sekisho.plan.matching import describe_partners, find_evidence_gap, look_again, read_now
from sekisho.plan.world import DataGrantObject, GrantWorld, Published


def plan_datagrant(obj: DataGrantObject, world: GrantWorld) -> Published:
    """Decide the status of the tenant's side."""
    policies: tuple[str, ...] = ()
    wait: float | None = None
    if isinstance(obj.spec, Rejection):
        facet = refuse(obj.spec)
    else:
        policies = _find_policies(obj.namespace, obj.spec, world)
        gap, lasting = _find_gap(obj.spec, world)
        if gap is None and not policies:
            gap, lasting = _lacks_owner(obj.spec), False
        told = f"meets KeyReleasePolicy {describe_partners(policies)}"
        facet = accept(told if gap is None else "the grant can be read", gap=gap, lasting=lasting)
        wait = look_again([obj.spec, *(item.spec for item in world.owners)], world.now_at)
    body = {"policies": policies[:64], "summary": describe_partners(policies) if policies else None}
    planned = publish(DataGrantStatus, facet, obj.status, generation=obj.generation, now_at=world.now_at, body=body)
    return Published(planned.status, planned.announcements, wait)


def _find_policies(namespace: str, spec: DataGrantSpec, world: GrantWorld) -> tuple[str, ...]:
    """Return the owners' policies in force that name a service and a model of the grant."""
    now, found = read_now(world.now_at), []
    for owner in world.owners:
        policy = owner.spec
        if isinstance(policy, Rejection) or judge_force(policy, now) is not None:
            continue
        about = any(names_workload(policy, namespace, service) for service in spec.services)
        if about and names_model(spec, owner.namespace, policy.model.name):
            found.append(owner.full_name)
    return tuple(sorted(found))


def _find_gap(spec: DataGrantSpec, world: GrantWorld) -> tuple[Rejection | None, bool]:
    """Return why the grant lets nothing see the data, and whether only a change of it helps."""
    if (stopped := judge_force(spec, read_now(world.now_at))) is not None:
        return stopped, True
    try:
        Lattice.of(require_policy(world.policy)).resolve_ref(spec.classes.at_most, source="classes.atMost")
    except RefusedError as error:
        return Rejection(error.reason, error.message), False
    return (None if spec.evidence is None else find_evidence_gap(spec.evidence, world)), False


def _lacks_owner(spec: DataGrantSpec) -> Rejection:
    names = ", ".join(sorted(f'"{item.name}" of {item.owner}' for item in spec.models))
    return Rejection(
        Reason.RELEASE_NOT_GRANTED,
        f"this grants the tenant's side, which alone releases nothing: no KeyReleasePolicy in force names a service of "
        f"this grant for model {names}"[:1024],
    )
