"""Decide whether a pod may have the key of a sealed model: model × workload × site × class × users, and its evidence.

Pure. The order of what is judged is written here and is the order of refusals: the law and the pod itself, then what
the model's owner grants, then what the tenant grants, then isolation, then evidence. Nothing is released on one side's
word: one KeyReleasePolicy and one DataGrant must both hold, whole, for the same facts.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sekisho.api.v1alpha1.classificationpolicy import ClassificationPolicySpec
from sekisho.api.v1alpha1.keyreleasepolicy import EvidenceDemand
from sekisho.attest.appraise import Appraisal
from sekisho.attest.claims import Tee
from sekisho.broker.grants import Case, Shortfall, judge_owner, judge_tenant
from sekisho.broker.proving import appraise_demand, check_binding, check_evidence
from sekisho.broker.releasefacts import (
    Decision,
    OwnerPolicy,
    Question,
    ReleaseFacts,
    ReleaseRules,
    TenantGrant,
    Workload,
)
from sekisho.classify.jurisdiction import is_covered
from sekisho.classify.lattice import DataClass, Lattice
from sekisho.classify.rules import EffectiveRules, EffectiveTrust, rules_of
from sekisho.errors import Reason, RefusedError
from sekisho.placement.requirement import is_met, requirements_of_selector
from sekisho.plan.grants import names_workload
from sekisho.render.digest import digest_of

__all__ = [
    "Decision", "OwnerPolicy", "Question", "ReleaseFacts", "ReleaseRules", "TenantGrant", "Workload",
    "choose_grants", "decide_release", "policy_digest", "wanted_evidence",
]  # fmt: skip
# The kinds of evidence, as they travel, that can give claims of a kind: outright, or behind a virtual TPM.
_BRINGS: Final = {
    Tee.SNP: ("snp",), Tee.TDX: ("tdx",), Tee.NITRO: ("nitro",), Tee.TPM: ("tpm",), Tee.NVIDIA_GPU: ("nvidia-gpu",),
    Tee.NVIDIA_SWITCH: ("nvidia-switch",), Tee.RESULT: ("ear-token", "gcs-token"),
}  # fmt: skip
_BEHIND_TPM: Final = {Tee.SNP: ("azure-snp",), Tee.TDX: ("azure-tdx",)}


@dataclass(frozen=True, slots=True, eq=False)
class _Law:
    """The law in force, and its lattice; the same as itself alone."""

    spec: ClassificationPolicySpec
    lattice: Lattice


@dataclass(frozen=True, slots=True)
class _Grant:
    """Both sides of a release."""

    owner: OwnerPolicy
    tenant: TenantGrant

    def demands(self) -> Iterator[EvidenceDemand]:
        """Yield what each side wants of evidence."""
        yield self.owner.spec.evidence
        if self.tenant.spec.evidence is not None:
            yield self.tenant.spec.evidence


def decide_release(facts: ReleaseFacts) -> Decision:
    """Release for a lease, or refuse.

    Raises:
        RefusedError: With the reason of the first rule that does not hold, in the written order. Where several grants
            could apply, the one that came nearest is told.
    """
    case, rules = _read_law(facts)
    _check_template(facts.workload)
    _check_site(facts, rules)
    if not facts.workload.users:
        raise RefusedError(
            Reason.NOT_ALLOWED,
            f"{facts.workload.full_name} names nobody in spec.users, so its key would be released for everybody; name "
            "whom it answers",
        )
    grants = _find_grants(facts, case)
    if not facts.isolation.ok:
        raise RefusedError(facts.isolation.reason, f"pod {facts.workload.pod}: {facts.isolation.message}")
    digest = policy_digest(facts.rules, namespace=facts.workload.namespace, service=facts.workload.service)
    check_binding(facts, digest)
    check_evidence(facts, rules.trust)
    return _conclude(facts, grants, rules.trust, digest=digest)


def _read_law(facts: ReleaseFacts) -> tuple[Case, EffectiveRules]:
    law, workload, question = facts.rules.once(_read_spec), facts.workload, facts.question
    if law is None:
        raise RefusedError(
            Reason.POLICY_MISSING,
            "there is no ClassificationPolicy that can be read, so no key is released; an "
            "administrator creates or corrects it",
        )
    lattice = law.lattice
    cleared = lattice.resolve_label(workload.service_class, source=f"class of {workload.full_name}")
    sealed = _resolve_display(lattice, question.data_class, source=f'seal of model "{question.model}"')
    if not cleared.dominates(sealed):
        raise RefusedError(
            Reason.CLASS_MISMATCH,
            f'model "{question.model}" is sealed for class {sealed}, {workload.full_name} is of class {cleared}; '
            "raise the class of the service, or seal the model anew for this one",
        )
    case = Case(question, workload, lattice, law.spec.key_owners, cleared, facts.now)
    return case, facts.rules.once(_read_rules, law, cleared)


def _read_spec(rules: ReleaseRules) -> _Law | None:
    return None if rules.law is None else _Law(rules.law, Lattice.of(rules.law))


def _read_rules(_: ReleaseRules, law: _Law, cleared: DataClass) -> EffectiveRules:
    return rules_of(law.spec, cleared)


def _resolve_display(lattice: Lattice, text: str, *, source: str) -> DataClass:
    level, *compartments = text.split("+")
    return lattice.resolve(level, compartments, source=source)


def _check_template(workload: Workload) -> None:
    if not workload.images:
        raise RefusedError(
            Reason.WORKLOAD_MISMATCH, f"it is not known yet which images pod {workload.pod} runs; ask again"
        )
    if not workload.expected_template_digest or workload.template_digest != workload.expected_template_digest:
        expected = workload.expected_template_digest or "none"
        raise RefusedError(
            Reason.WORKLOAD_MISMATCH,
            f"pod {workload.pod} has template {workload.template_digest}, the operator made {expected} for "
            f"{workload.full_name}; something changes pods on their way (a webhook, as a rule): exclude these from it, "
            "and delete the pod",
        )


def _check_site(facts: ReleaseFacts, rules: EffectiveRules) -> None:
    """Hold the site against the law once more: placement held it when the pod was made."""
    workload, site = facts.workload, facts.rules.sites.get(facts.workload.site)
    if site is None or site.nodes is None:
        raise RefusedError(
            Reason.NO_SITE,
            f'pod {workload.pod} runs at site "{workload.site}", which has no nodes; '
            "correct the Site, or delete the pod so that it is placed anew",
        )
    if not is_met(requirements_of_selector(site.nodes), workload.node_labels):
        raise RefusedError(
            Reason.WORKLOAD_MISMATCH,
            f'node {workload.node} of pod {workload.pod} does not have the labels of site "{workload.site}"; '
            "label the node, or delete the pod so that it is placed anew",
        )
    if site.tier not in rules.tiers:
        allowed = ", ".join(sorted(rules.tiers)) or "no site"
        raise RefusedError(
            Reason.TIER_NOT_ALLOWED,
            f'class {workload.service_class} allows {allowed}, site "{workload.site}" is {site.tier}; '
            "the service is placed anew",
        )
    if rules.jurisdictions is not None and not is_covered(rules.jurisdictions, site.jurisdiction):
        allowed = ", ".join(sorted(rules.jurisdictions)) or "none"
        raise RefusedError(
            Reason.JURISDICTION_NOT_ALLOWED,
            f'class {workload.service_class} allows {allowed}, site "{workload.site}" is in {site.jurisdiction}; '
            "the service is placed anew",
        )


def _find_grants(facts: ReleaseFacts, case: Case) -> tuple[_Grant, ...]:
    """Return every pair of an owner's policy and a tenant's grant that both hold; at least one, sorted by name."""
    namespace, service = facts.workload.namespace, facts.workload.service
    owners, tenants = choose_grants(facts.rules, namespace, service)
    if not owners:
        raise RefusedError(
            Reason.RELEASE_NOT_GRANTED,
            f'no KeyReleasePolicy names {namespace}/{service}; the owner of model "{facts.question.model}" grants it',
        )
    judged = [(owner, judge_owner(owner, case)) for owner in owners]
    held = [owner for owner, shortfall in judged if shortfall is None]
    if not held:
        raise _nearest([shortfall for _, shortfall in judged])
    if not tenants:
        raise RefusedError(
            Reason.RELEASE_NOT_GRANTED,
            f"KeyReleasePolicy {held[0].full_name} grants the owner's side, which alone releases nothing; no DataGrant "
            f"in namespace {namespace} names {service}",
        )
    pairs = [(_Grant(owner, tenant), judge_tenant(tenant, owner, case)) for owner in held for tenant in tenants]
    grants = tuple(grant for grant, shortfall in pairs if shortfall is None)
    if not grants:
        raise _nearest([shortfall for _, shortfall in pairs])
    return grants


def choose_grants(
    rules: ReleaseRules, namespace: str, service: str
) -> tuple[tuple[OwnerPolicy, ...], tuple[TenantGrant, ...]]:
    """Return the policies and grants about a service, sorted by name, so that their order decides nothing."""
    return rules.once(_choose, namespace, service)


def _choose(
    rules: ReleaseRules, namespace: str, service: str
) -> tuple[tuple[OwnerPolicy, ...], tuple[TenantGrant, ...]]:
    owners = (item for item in rules.owners if names_workload(item.spec, namespace, service))
    tenants = (item for item in rules.tenants if item.namespace == namespace and service in item.spec.services)
    return tuple(sorted(owners, key=_name_of)), tuple(sorted(tenants, key=_name_of))


def _name_of(item: OwnerPolicy | TenantGrant) -> tuple[str, str]:
    return item.namespace, item.name


def _nearest(shortfalls: Sequence[Shortfall | None]) -> RefusedError:
    known = [item for item in shortfalls if item is not None]
    nearest = max(known, key=lambda item: item.held)
    more = f" (the nearest of {len(known)})" if len(known) > 1 else ""
    return RefusedError(nearest.rejection.reason, f"{nearest.rejection.detail}{more}")


def _conclude(
    facts: ReleaseFacts, grants: tuple[_Grant, ...], trust: EffectiveTrust | None, *, digest: str
) -> Decision:
    """Release under the first grant whose demands on evidence hold; where none does, tell the first one's refusal."""
    first, *others = grants
    try:
        return _release(facts, first, trust, digest=digest)
    except RefusedError:
        for grant in others:
            with suppress(RefusedError):
                return _release(facts, grant, trust, digest=digest)
        raise


def _release(facts: ReleaseFacts, grant: _Grant, trust: EffectiveTrust | None, *, digest: str) -> Decision:
    appraisals = [appraise_demand(facts, demand, trust) for demand in grant.demands()]
    evidence = appraisals[0].evidence
    return Decision(
        lease_seconds=_clamp_lease(facts, grant, trust, appraisals=appraisals),
        policy_digest=digest,
        evidence_digest=evidence[0] if len(evidence) == 1 else digest_of(evidence),
        owner=grant.owner.full_name,
        tenant=grant.tenant.full_name,
        evidence_policies=tuple(dict.fromkeys(item.policy for item in appraisals)),
        minimum_key_version=grant.owner.spec.key.min_version,
    )


def _clamp_lease(
    facts: ReleaseFacts, grant: _Grant, trust: EffectiveTrust | None, *, appraisals: Sequence[Appraisal]
) -> int:
    """Return the shortest of what each side, the class and the evidence allow; a lease outlives none of them."""
    owner, tenant = grant.owner.spec, grant.tenant.spec
    ends = [datetime.fromisoformat(item) for item in (owner.expires_at, tenant.expires_at) if item is not None]
    ends += [item.not_after for item in appraisals]
    seconds: list[float] = [owner.lease_seconds, *((end - facts.now).total_seconds() for end in ends)]
    if tenant.lease_seconds is not None:
        seconds.append(tenant.lease_seconds)
    if trust is not None:
        seconds.append(trust.max_age_seconds)
    if (lease := int(min(seconds))) < 1:
        raise RefusedError(
            Reason.GRANT_EXPIRED, "less than a second is left of the grant or of what its evidence rests on"
        )
    return lease


def policy_digest(rules: ReleaseRules, *, namespace: str, service: str) -> str:
    """Return "sha256:…" over every rule that can decide about a service; other services' grants do not count."""
    return rules.once(_digest, namespace, service)


def _digest(rules: ReleaseRules, namespace: str, service: str) -> str:
    owners, tenants = choose_grants(rules, namespace, service)
    grants: list[OwnerPolicy | TenantGrant] = [*owners, *tenants]
    named = {item.policy for grant in grants if (item := grant.spec.evidence) is not None}
    return digest_of(
        {
            "law": _spell(rules.law),
            "sites": {name: _spell(site) for name, site in rules.sites.items()},
            "owners": {item.full_name: _spell(item.spec) for item in owners},
            "tenants": {item.full_name: _spell(item.spec) for item in tenants},
            "evidence": {name: _spell(spec) for name, spec in rules.evidence.items() if name in named},
        }
    )


def _spell(spec: Any) -> Any:
    return None if spec is None else spec.model_dump(mode="json", by_alias=True, exclude_none=True)


def wanted_evidence(rules: ReleaseRules, *, namespace: str, service: str, site: str) -> tuple[str, ...]:
    """Return the kinds of evidence that could help a pod of a service at a site, sorted; empty where nothing can."""
    return rules.once(_want, namespace, service, site)


def _want(rules: ReleaseRules, namespace: str, service: str, site: str) -> tuple[str, ...]:
    owners, tenants = choose_grants(rules, namespace, service)
    grants: list[OwnerPolicy | TenantGrant] = [*owners, *tenants]
    named = {item.policy for grant in grants if (item := grant.spec.evidence) is not None}
    wanted: set[str] = set()
    for spec in (rules.evidence[name] for name in named if name in rules.evidence):
        for alternative in spec.any_of:
            if alternative.sites is not None and site not in alternative.sites:
                continue
            for rule in alternative.evidence:
                brings = _BRINGS if rule.behind is None else _BEHIND_TPM
                wanted.update(brings.get(Tee(rule.tee), ()))
    return tuple(sorted(wanted))
