"""The status of an AccessPolicy: whether its expressions can be computed, and whether it lets anybody in."""

from sekisho.access.policies import build_policy
from sekisho.api.v1alpha1.accesspolicy import AccessPolicySpec, AccessPolicyStatus
from sekisho.classify.lattice import Lattice
from sekisho.errors import Reason, RefusedError, Rejection
from sekisho.plan.accepted import accept, publish, refuse
from sekisho.plan.classing import require_policy
from sekisho.plan.grants import judge_force
from sekisho.plan.matching import describe_partners, look_again, read_now
from sekisho.plan.world import AccessWorld, GrantObject, Published
from sekisho.redact.categories import select


def plan_accesspolicy(obj: GrantObject[AccessPolicySpec], world: AccessWorld) -> Published:
    """Decide the status of an access policy."""
    body: dict[str, object] = {}
    wait: float | None = None
    if isinstance(obj.spec, Rejection):
        facet = refuse(obj.spec)
    else:
        spec = obj.spec
        body["summary"] = _summarise(spec)
        wait = look_again([spec], world.now_at)
        wrong = _find_wrong(obj, spec, world)
        if wrong is not None:
            facet = refuse(wrong)
        else:
            gap, lasting = _find_gap(spec, world)
            facet = accept("its expressions can be computed; the gateway decides by it", gap=gap, lasting=lasting)
    planned = publish(AccessPolicyStatus, facet, obj.status, generation=obj.generation, now_at=world.now_at, body=body)
    return Published(planned.status, planned.announcements, wait)


def _find_wrong(obj: GrantObject[AccessPolicySpec], spec: AccessPolicySpec, world: AccessWorld) -> Rejection | None:
    """Return what only a change of the policy itself mends."""
    in_force = spec.model_copy(update={"suspended": False})
    built = build_policy(obj.namespace, obj.name, in_force, system_namespace=world.system_namespace)
    if built.problem is not None:
        return built.problem
    try:
        select(spec.redact)
    except RefusedError as error:
        return Rejection(error.reason, error.message)
    return None


def _find_gap(spec: AccessPolicySpec, world: AccessWorld) -> tuple[Rejection | None, bool]:
    """Return why the policy lets nobody in, and whether only a change of it helps."""
    if (stopped := judge_force(spec, read_now(world.now_at))) is not None:
        return stopped, True
    try:
        lattice = Lattice.of(require_policy(world.policy))
        if spec.ceiling is not None:
            lattice.resolve_ref(spec.ceiling, source="ceiling")
    except RefusedError as error:
        return Rejection(error.reason, error.message), False
    if missing := sorted(set(spec.sites or ()) - world.sites):
        return Rejection(Reason.NO_SITE, f'there is no Site "{missing[0]}"; create it or name another'), False
    return None, False


def _summarise(spec: AccessPolicySpec) -> str:
    most = ""
    if spec.ceiling is not None:
        most = f" up to {'+'.join([spec.ceiling.level, *sorted(spec.ceiling.compartments)])}"
    return f"{describe_partners(spec.models)}{most}"[:256]
