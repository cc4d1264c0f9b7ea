"""The status of a ClassificationPolicy: whether it is in force, its order, and the digest that records name it by."""

from sekisho.api import names
from sekisho.api.v1alpha1.classificationpolicy import ClassificationPolicySpec, ClassificationPolicyStatus
from sekisho.errors import Reason, RefusedError, Rejection
from sekisho.plan.accepted import accept, publish, refuse
from sekisho.plan.signers import read_signers
from sekisho.plan.world import PolicyObject, Published
from sekisho.render.digest import digest_of


def plan_policy(obj: PolicyObject, *, now_at: float) -> Published:
    """Decide the status of a policy; only the one named "default" rules."""
    body: dict[str, object] = {}
    if isinstance(obj.spec, Rejection):
        facet = refuse(Rejection(Reason.POLICY_INVALID, obj.spec.detail))
    elif obj.name != names.DEFAULT_POLICY_NAME:
        detail = f'the policy in force is named "{names.DEFAULT_POLICY_NAME}"; "{obj.name}" is not read'
        facet = accept("the policy can be read", gap=Rejection(Reason.POLICY_INVALID, detail), lasting=True)
    else:
        rules = obj.spec.model_dump(by_alias=True, mode="json")
        body = {"digest": digest_of(rules), "order": " < ".join(level.name for level in obj.spec.levels)[:600]}
        facet = accept("the policy is in force", gap=_find_unusable(obj.spec), lasting=True)
    return publish(ClassificationPolicyStatus, facet, obj.status, generation=obj.generation, now_at=now_at, body=body)


def _find_unusable(spec: ClassificationPolicySpec) -> Rejection | None:
    """Return why no signature counts: one signer that cannot be read spoils all; the other rules stay in force."""
    try:
        read_signers(spec)
    except RefusedError as error:
        return Rejection(error.reason, f"no signature counts: {error.message}; all other rules are in force")
    return None
