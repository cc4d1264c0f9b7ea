"""Whom a service may answer: those it names, and where its key is guarded, whom owner and tenant both grant."""

from sekisho.api import names
from sekisho.api.v1alpha1.inferenceservice import InferenceServiceSpec
from sekisho.api.v1alpha1.keyreleasepolicy import KeyReleasePolicySpec
from sekisho.errors import Rejection
from sekisho.plan.classing import require_policy
from sekisho.plan.grants import judge_force, names_model, owns_key
from sekisho.plan.matching import read_now
from sekisho.plan.outcome import Design, Outcome
from sekisho.plan.world import World
from sekisho.render.settings import SealedFacts


def grant_users(outcome: Outcome) -> tuple[str, ...] | None:
    """Return the users that the gateway lets through; None where no key is guarded, so that spec.users alone decides.

    A key counts as guarded as long as a KeyReleasePolicy names the service or a pod was given it: what is taken away
    from a grant is taken from callers at once, and from the pod within the lease.
    """
    spec, design = outcome.obj.spec, outcome.design
    if not isinstance(design, Design) or not isinstance(spec, InferenceServiceSpec) or design.weights.sealed is None:
        return None
    held = any(pod.condition(names.KEY_RELEASED_POD_CONDITION).status == "True" for pod in outcome.pods)
    if not outcome.world.owners and not held:
        return None
    return tuple(sorted(_granted(outcome.world, design.weights.sealed).intersection(spec.users)))


def _granted(world: World, sealed: SealedFacts) -> set[str]:
    """Return whom some policy of an owner and some grant of the tenant, both in force, name alike."""
    now, found = read_now(world.now_at), set[str]()
    for owner in world.owners:
        policy = owner.spec
        if isinstance(policy, Rejection) or not _holds(owner.namespace, policy, world, sealed):
            continue
        for tenant in world.tenants:
            grant = tenant.spec
            if isinstance(grant, Rejection) or judge_force(grant, now) is not None:
                continue
            if names_model(grant, owner.namespace, sealed.model):
                found |= set(policy.users).intersection(grant.users)
    return found


def _holds(namespace: str, policy: KeyReleasePolicySpec, world: World, sealed: SealedFacts) -> bool:
    """Tell whether the owner's side is in force for a model and its key, and the key is the owner's."""
    about = (policy.model.name, policy.key.kms, policy.key.key_id) == (sealed.model, sealed.kms, sealed.key_id)
    law = require_policy(world.policy)  # which there is: the service was accepted by it
    owned = owns_key(law.key_owners, namespace, kms=sealed.kms, key_id=sealed.key_id)
    return about and owned and judge_force(policy, read_now(world.now_at)) is None
