"""The status of a KeyReleasePolicy: whether it is in force, and which services it lets open the key."""

from sekisho.api.v1alpha1.keyreleasepolicy import KeyReleasePolicySpec, KeyReleasePolicyStatus
from sekisho.classify.lattice import Lattice
from sekisho.errors import Reason, RefusedError, Rejection
from sekisho.plan.accepted import accept, publish, refuse
from sekisho.plan.classing import require_policy
from sekisho.plan.grants import judge_force, names_model, owns_key
from sekisho.plan.matching import describe_partners, find_evidence_gap, look_again, read_now
from sekisho.plan.world import GrantWorld, KeyReleaseObject, Published


def plan_keyreleasepolicy(obj: KeyReleaseObject, world: GrantWorld) -> Published:
    """Decide the status of the owner's side; it says what the broker would say before it asks for evidence."""
    services: tuple[str, ...] = ()
    wait: float | None = None
    if isinstance(obj.spec, Rejection):
        facet = refuse(obj.spec)
    else:
        services = _find_services(obj.namespace, obj.spec, world)
        gap, lasting = _find_gap(obj, obj.spec, world)
        if gap is None and not services:
            gap, lasting = _lacks_tenant(obj.spec), False
        told = f"{describe_partners(services)} may open the key, given evidence"
        facet = accept(told if gap is None else "the policy can be read", gap=gap, lasting=lasting)
        wait = look_again([obj.spec, *(item.spec for item in world.tenants)], world.now_at)
    body = {"services": services[:64], "summary": describe_partners(services) if services else None}
    planned = publish(
        KeyReleasePolicyStatus, facet, obj.status, generation=obj.generation, now_at=world.now_at, body=body
    )
    return Published(planned.status, planned.announcements, wait)


def _find_services(namespace: str, spec: KeyReleasePolicySpec, world: GrantWorld) -> tuple[str, ...]:
    """Return the workloads for which a grant of the tenant's is in force that names the model and the service."""
    now, found = read_now(world.now_at), set()
    for tenant in world.tenants:
        grant = tenant.spec
        if isinstance(grant, Rejection) or judge_force(grant, now) is not None:
            continue
        if names_model(grant, namespace, spec.model.name):
            named = {item.service for item in spec.workloads if item.namespace == tenant.namespace}
            found |= {f"{tenant.namespace}/{service}" for service in named.intersection(grant.services)}
    return tuple(sorted(found))


def _find_gap(obj: KeyReleaseObject, spec: KeyReleasePolicySpec, world: GrantWorld) -> tuple[Rejection | None, bool]:
    """Return why the policy lets nobody open anything, and whether only a change of it helps."""
    if (stopped := judge_force(spec, read_now(world.now_at))) is not None:
        return stopped, True
    try:
        law = require_policy(world.policy)
        Lattice.of(law).resolve_ref(spec.classes.at_most, source="classes.atMost")
    except RefusedError as error:
        return Rejection(error.reason, error.message), False
    if not owns_key(law.key_owners, obj.namespace, kms=spec.key.kms, key_id=spec.key.key_id):
        detail = (
            f"keyOwners of the ClassificationPolicy gives key {spec.key.kms}:{spec.key.key_id} not to namespace "
            f"{obj.namespace}, so the policy releases nothing; an administrator adds it"
        )
        return Rejection(Reason.KEY_NOT_OWNED, detail), False
    return find_evidence_gap(spec.evidence, world), False


def _lacks_tenant(spec: KeyReleasePolicySpec) -> Rejection:
    names = ", ".join(sorted(f"{item.namespace}/{item.service}" for item in spec.workloads))
    return Rejection(
        Reason.RELEASE_NOT_GRANTED,
        f"this grants the owner's side, which alone releases nothing: no DataGrant in force names model "
        f'"{spec.model.name}" for {names}'[:1024],
    )
