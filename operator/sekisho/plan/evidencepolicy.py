"""The status of an EvidencePolicy: which kinds of evidence it takes, and who names it."""

from sekisho.api.v1alpha1.evidencepolicy import EvidencePolicySpec, EvidencePolicyStatus
from sekisho.errors import Rejection
from sekisho.plan.accepted import accept, publish, refuse
from sekisho.plan.world import EvidencePolicyObject, GrantWorld, Published
from sekisho.render.digest import digest_of


def plan_evidencepolicy(obj: EvidencePolicyObject, world: GrantWorld) -> Published:
    """Decide the status of an evidence policy."""
    body: dict[str, object] = {"policies": _count_users(obj.name, world)}
    if isinstance(obj.spec, Rejection):
        facet = refuse(obj.spec)
    else:
        rules = obj.spec.model_dump(by_alias=True, mode="json", exclude_none=True)
        body |= {"kinds": _spell_kinds(obj.spec), "digest": digest_of(rules)}
        facet = accept("evidence can be appraised by it")
    return publish(EvidencePolicyStatus, facet, obj.status, generation=obj.generation, now_at=world.now_at, body=body)


def _count_users(name: str, world: GrantWorld) -> int:
    owners = (item.spec for item in world.owners if not isinstance(item.spec, Rejection))
    tenants = (item.spec for item in world.tenants if not isinstance(item.spec, Rejection))
    named = [spec.evidence.policy for spec in owners]
    named += [spec.evidence.policy for spec in tenants if spec.evidence is not None]
    return named.count(name)


def _spell_kinds(spec: EvidencePolicySpec) -> str:
    alternatives = ["+".join(rule.tee for rule in item.evidence) for item in spec.any_of]
    return " or ".join(dict.fromkeys(alternatives))[:600]
