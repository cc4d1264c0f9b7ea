"""The release decision: every refusal in its own words, in the written order; then what is released."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from sekisho.attest.claims import Tee, Window
from sekisho.attest.isolation import Verdict
from sekisho.broker.decide import Decision, ReleaseFacts, decide_release, policy_digest, wanted_evidence
from sekisho.errors import Reason, RefusedError
from tests.unit.attest.claims import NOW, SNP
from tests.unit.broker.release_cases import (
    IMAGE,
    SITE_KEY,
    build_evidence,
    build_facts,
    build_law,
    build_owner,
    build_rules,
    build_site,
    build_tenant,
)

OTHER = "sha256:" + "e" * 64
LEAK = Verdict(ok=False, reason=Reason.ISOLATION_LEAK, message='canary "outside" answered')

RAISE = "raise the class of the service, or seal the model anew for this one"
WEBHOOK = "something changes pods on their way (a webhook, as a rule): exclude these from it, and delete the pod"
SITE = "correct the Site, or delete the pod so that it is placed anew"
LABEL = "label the node, or delete the pod so that it is placed anew"


def refuse(facts: ReleaseFacts) -> tuple[Reason, str]:
    with pytest.raises(RefusedError) as refused:
        decide_release(facts)
    return refused.value.reason, refused.value.message


def test_without_a_law_nothing_is_released() -> None:
    assert refuse(build_facts(rules=build_rules(law=None))) == (
        Reason.POLICY_MISSING,
        (
            "there is no ClassificationPolicy that can be read, so no key is released; an administrator creates or "
            "corrects it"
        ),
    )


LAW_AND_POD: dict[str, tuple[dict[str, Any], Reason, str]] = {
    "a class that the law does not know": (
        {"workload": {"service_class": "secret"}}, Reason.UNKNOWN_LEVEL,
        'class of legal/chat asks for level "secret"; the policy knows public, internal, confidential, restricted',
    ),
    "a model sealed for a class that the law does not know": (
        {"question": {"data_class": "internal+x"}}, Reason.UNKNOWN_COMPARTMENT,
        'seal of model "legal/reviewer" asks for compartment "x"; the policy knows gdpr, gpu',
    ),
    "a model sealed for a higher class": (
        {"question": {"data_class": "restricted"}}, Reason.CLASS_MISMATCH,
        'model "legal/reviewer" is sealed for class restricted, legal/chat is of class confidential+gdpr; ' + RAISE,
    ),
    "a model sealed for another compartment": (
        {"question": {"data_class": "public+gpu"}}, Reason.CLASS_MISMATCH,
        'model "legal/reviewer" is sealed for class public+gpu, legal/chat is of class confidential+gdpr; ' + RAISE,
    ),
    "a pod whose images are not known": (
        {"workload": {"images": frozenset()}}, Reason.WORKLOAD_MISMATCH,
        "it is not known yet which images pod chat-predictor-1 runs; ask again",
    ),
    "a pod that was edited": (
        {"workload": {"template_digest": OTHER}}, Reason.WORKLOAD_MISMATCH,
        f"pod chat-predictor-1 has template {OTHER}, the operator made sha256:{'d' * 64} for legal/chat; {WEBHOOK}",
    ),
    "a pod whose template nobody made": (
        {"workload": {"template_digest": "", "expected_template_digest": ""}}, Reason.WORKLOAD_MISMATCH,
        "pod chat-predictor-1 has template , the operator made none for legal/chat; " + WEBHOOK,
    ),
    "a site that is not there": (
        {"workload": {"site": "kyoto"}}, Reason.NO_SITE,
        'pod chat-predictor-1 runs at site "kyoto", which has no nodes; ' + SITE,
    ),
    "a site without nodes": (
        {"rules": build_rules(sites={"tokyo": build_site(tier="ManagedApi", nodes=None)})}, Reason.NO_SITE,
        'pod chat-predictor-1 runs at site "tokyo", which has no nodes; ' + SITE,
    ),
    "a node of another site": (
        {"workload": {"node_labels": {SITE_KEY: "osaka"}}}, Reason.WORKLOAD_MISMATCH,
        'node tk-1 of pod chat-predictor-1 does not have the labels of site "tokyo"; ' + LABEL,
    ),
    "a site of another tier": (
        {"rules": build_rules(sites={"tokyo": build_site(tier="OwnCloud")})}, Reason.TIER_NOT_ALLOWED,
        'class confidential.gdpr allows Closed, site "tokyo" is OwnCloud; the service is placed anew',
    ),
    "a class that is allowed nowhere": (
        {"rules": build_rules(law=build_law(compartments=[{"name": "gdpr", "rules": {"tiers": []}}]))},
        Reason.TIER_NOT_ALLOWED,
        'class confidential.gdpr allows no site, site "tokyo" is Closed; the service is placed anew',
    ),
    "a site under another law": (
        {"rules": build_rules(sites={"tokyo": build_site(jurisdiction="US")})}, Reason.JURISDICTION_NOT_ALLOWED,
        'class confidential.gdpr allows JP, site "tokyo" is in US; the service is placed anew',
    ),
    "a class that is allowed under no law": (
        {"rules": build_rules(law=build_law(compartments=[{"name": "gdpr", "rules": {"jurisdictions": ["EU"]}}]))},
        Reason.JURISDICTION_NOT_ALLOWED,
        'class confidential.gdpr allows none, site "tokyo" is in JP; the service is placed anew',
    ),
    "a service that answers everybody": (
        {"workload": {"users": frozenset()}}, Reason.NOT_ALLOWED,
        "legal/chat names nobody in spec.users, so its key would be released for everybody; name whom it answers",
    ),
    "a pod that is not isolated": (
        {"isolation": LEAK}, Reason.ISOLATION_LEAK, 'pod chat-predictor-1: canary "outside" answered',
    ),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "reason", "message"), LAW_AND_POD.values(), ids=LAW_AND_POD)
def test_law_and_pod_are_held(changes: dict[str, Any], reason: Reason, message: str) -> None:
    assert refuse(build_facts(**changes)) == (reason, message)


def test_a_site_of_any_jurisdiction_will_do_where_the_law_names_none() -> None:
    facts = build_facts(
        rules=build_rules(sites={"tokyo": build_site(jurisdiction="US")}),
        workload={"service_class": "internal"},
    )
    assert decide_release(facts).owner == "owners/reviewer"


def test_the_owner_alone_releases_nothing() -> None:
    rules = build_rules(tenants=(build_tenant(services=["other"]), build_tenant(namespace="web")))
    held = "KeyReleasePolicy owners/reviewer"
    assert refuse(build_facts(rules=rules)) == (
        Reason.RELEASE_NOT_GRANTED,
        f"{held} grants the owner's side, which alone releases nothing; no DataGrant in namespace legal names chat",
    )


def test_the_tenant_alone_releases_nothing() -> None:
    elsewhere = [{"namespace": "web", "service": "chat", "images": [IMAGE]}]
    other = [{"namespace": "legal", "service": "other", "images": [IMAGE]}]
    rules = build_rules(owners=(build_owner(workloads=elsewhere), build_owner("b", workloads=other)))
    assert refuse(build_facts(rules=rules)) == (
        Reason.RELEASE_NOT_GRANTED,
        'no KeyReleasePolicy names legal/chat; the owner of model "legal/reviewer" grants it',
    )


def test_of_several_grants_the_nearest_miss_is_told() -> None:
    far = build_owner("a", model={"name": "other", "minVersion": 1})
    near = build_owner("b", users=["group:nobody"])
    told = "users does not name group:legal, whom spec.users of legal/chat names (the nearest of 2)"
    for owners in ((far, near), (near, far)):
        found = refuse(build_facts(rules=build_rules(owners=owners)))
        assert found == (Reason.NOT_ALLOWED, f"KeyReleasePolicy owners/b: {told}")


def test_of_several_equal_misses_the_first_by_name_is_told() -> None:
    tenants = (build_tenant("z", suspended=True), build_tenant("a", suspended=True))
    reason, message = refuse(build_facts(rules=build_rules(tenants=tenants)))
    assert reason == Reason.GRANT_SUSPENDED
    assert message.startswith("DataGrant legal/a: ")


def test_both_sides_must_hold_for_the_same_facts() -> None:
    """One pair whose owner's side holds, another whose tenant's side holds, make no release together."""
    owners = (build_owner("a"), build_owner("b", namespace="strangers"))
    tenants = (build_tenant(models=[{"owner": "strangers", "name": "legal/reviewer"}]),)
    assert refuse(build_facts(rules=build_rules(owners=owners, tenants=tenants))) == (
        Reason.RELEASE_NOT_GRANTED,
        'DataGrant legal/contracts: models does not name "legal/reviewer" of owner owners',
    )


def test_a_release_tells_what_it_rests_on() -> None:
    facts = build_facts()
    assert decide_release(facts) == Decision(
        lease_seconds=600,
        policy_digest=policy_digest(facts.rules, namespace="legal", service="chat"),
        evidence_digest=SNP.evidence_digest,
        owner="owners/reviewer",
        tenant="legal/contracts",
        evidence_policies=("genoa",),
        minimum_key_version=4,
    )


def test_a_renewal_is_decided_as_a_release_is() -> None:
    assert decide_release(build_facts(binding={"purpose": "renew"})).lease_seconds == 600
    assert refuse(build_facts(binding={"purpose": "renew"}, isolation=LEAK))[0] == Reason.ISOLATION_LEAK


def test_several_pieces_of_evidence_have_one_digest_whatever_their_order() -> None:
    second = replace(SNP, tee=Tee.TDX, evidence_digest="sha256:" + "0" * 64, chip_id=None)
    digests = {decide_release(build_facts(claims=claims)).evidence_digest for claims in ((SNP, second), (second, SNP))}
    assert len(digests) == 1
    assert digests.isdisjoint({SNP.evidence_digest, second.evidence_digest})


NOW_TEXT = "2026-11-29T12:00:00Z"
LEASES: dict[str, tuple[dict[str, Any], int]] = {
    "the owner's": ({"owners": (build_owner(leaseSeconds=300),)}, 300),
    "the tenant's": ({"tenants": (build_tenant(leaseSeconds=200),)}, 200),
    "the tenant's is no longer than the owner's": (
        {"owners": (build_owner(leaseSeconds=300),), "tenants": (build_tenant(leaseSeconds=400),)}, 300,
    ),
    "the age of proof that the class allows": ({"owners": (build_owner(leaseSeconds=86400),)}, 600),
    "the end of the owner's grant": ({"owners": (build_owner(expiresAt="2026-11-29T12:00:50Z"),)}, 50),
    "the end of the tenant's grant": ({"tenants": (build_tenant(expiresAt="2026-11-29T12:00:40Z"),)}, 40),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "seconds"), LEASES.values(), ids=LEASES)
def test_a_lease_is_the_shortest_of_what_is_allowed(changes: dict[str, Any], seconds: int) -> None:
    assert decide_release(build_facts(rules=build_rules(**changes))).lease_seconds == seconds


def test_a_lease_ends_before_what_its_evidence_rests_on() -> None:
    window = Window(NOW - timedelta(days=1), NOW + timedelta(seconds=30.9))
    assert decide_release(build_facts(claims=(replace(SNP, window=window),))).lease_seconds == 30


def test_without_hardware_trust_in_the_class_the_owner_still_has_his_evidence_and_lease() -> None:
    facts = build_facts(workload={"service_class": "internal"})
    assert decide_release(facts).lease_seconds == 900
    assert refuse(replace(facts, claims=())) == (Reason.EVIDENCE_MISSING, "no evidence was brought")


def test_a_lease_of_less_than_a_second_is_none() -> None:
    window = Window(NOW - timedelta(days=1), NOW + timedelta(seconds=0.9))
    assert refuse(build_facts(claims=(replace(SNP, window=window),))) == (
        Reason.GRANT_EXPIRED, "less than a second is left of the grant or of what its evidence rests on",
    )  # fmt: skip
    last = Window(NOW - timedelta(days=1), NOW + timedelta(seconds=1))
    assert decide_release(build_facts(claims=(replace(SNP, window=last),))).lease_seconds == 1


def test_the_first_grant_whose_evidence_holds_releases() -> None:
    strict = build_evidence(minimumTcb=[{"component": "microcode", "version": 99}])
    owners = (build_owner("a", evidence={"policy": "strict"}), build_owner("b", key={**KEY, "minVersion": 3}))
    rules = build_rules(owners=owners, evidence={"genoa": build_evidence(), "strict": strict})
    decision = decide_release(build_facts(rules=rules))
    assert (decision.owner, decision.minimum_key_version) == ("owners/b", 3)
    only_strict = replace(rules, evidence={"strict": strict})
    reason, message = refuse(build_facts(rules=only_strict))
    assert reason == Reason.TCB_TOO_OLD
    assert message.startswith('evidence policy "strict": snp evidence')


KEY = {"kms": "openbao", "keyId": "transit/legal"}


def test_a_pod_is_released_under_the_shorter_named_of_two_equal_grants() -> None:
    owners = (build_owner("b"), build_owner("a"))
    tenants = (build_tenant("y"), build_tenant("x"))
    decision = decide_release(build_facts(rules=build_rules(owners=owners, tenants=tenants)))
    assert (decision.owner, decision.tenant) == ("owners/a", "legal/x")


def test_grants_of_one_name_in_two_namespaces_are_tried_in_the_order_of_namespaces() -> None:
    keys = {"kms": "openbao", "keyIds": ["transit/legal"]}
    law = build_law(keyOwners=[{"namespace": name, **keys} for name in ("owners", "another")])
    models = [{"owner": name, "name": "legal/reviewer"} for name in ("owners", "another")]
    owners = (build_owner(), build_owner(namespace="another"))
    for mixed in (owners, owners[::-1]):
        rules = build_rules(law=law, owners=mixed, tenants=(build_tenant(models=models),))
        assert decide_release(build_facts(rules=rules)).owner == "another/reviewer"


def test_a_later_grant_whose_evidence_holds_releases_too() -> None:
    strict = build_evidence(minimumTcb=[{"component": "microcode", "version": 99}])
    names = ("a", "b", "c")
    owners = tuple(build_owner(name, evidence={"policy": "genoa" if name == "c" else "strict"}) for name in names)
    rules = build_rules(owners=owners, evidence={"genoa": build_evidence(), "strict": strict})
    assert decide_release(build_facts(rules=rules)).owner == "owners/c"


RULES = build_rules()
DIGEST = policy_digest(RULES, namespace="legal", service="chat")
DECIDING: dict[str, dict[str, Any]] = {
    "the law": {"law": build_law(unlabelled="public")},
    "its absence": {"law": None},
    "a site": {"sites": {"tokyo": build_site(jurisdiction="US")}},
    "another site": {"sites": {**RULES.sites, "osaka": build_site()}},
    "the owner's policy": {"owners": (build_owner(leaseSeconds=30),)},
    "another owner's policy": {"owners": (build_owner(), build_owner("b"))},
    "the tenant's grant": {"tenants": (build_tenant(suspended=True),)},
    "another grant": {"tenants": ()},
    "the evidence policy": {"evidence": {"genoa": build_evidence(least=2)}},
}


@pytest.mark.parametrize("changes", DECIDING.values(), ids=DECIDING)
def test_the_digest_tells_every_change_of_a_rule_that_decides(changes: dict[str, Any]) -> None:
    assert policy_digest(replace(RULES, **changes), namespace="legal", service="chat") != DIGEST


def test_the_digest_does_not_depend_on_what_does_not_decide() -> None:
    elsewhere = [{"namespace": "web", "service": "chat", "images": [IMAGE]}]
    rules = build_rules(
        owners=(build_owner("c", workloads=elsewhere), build_owner()),
        tenants=(build_tenant(namespace="web"), build_tenant("b", services=["other"]), build_tenant()),
        evidence={"unused": build_evidence(), "genoa": build_evidence()},
    )
    assert policy_digest(rules, namespace="legal", service="chat") == DIGEST
    assert DIGEST.startswith("sha256:")


def test_evidence_that_the_tenant_names_counts_in_the_digest() -> None:
    rules = build_rules(
        tenants=(build_tenant(evidence={"policy": "mine"}),),
        evidence={"genoa": build_evidence(), "mine": build_evidence()},
    )
    changed = replace(rules, evidence={"genoa": build_evidence(), "mine": build_evidence(least=2)})
    digests = {policy_digest(item, namespace="legal", service="chat") for item in (rules, changed)}
    assert len(digests) == 2


def wanted(*rules: dict[str, Any], site: str = "tokyo", **changes: Any) -> tuple[str, ...]:
    facts = {"measurements": ["ab" * 48], "minimumTcb": [{"component": "snp", "version": 0}]}
    alternatives = [{"name": f"a{i}", "evidence": [{**facts, **rule}]} for i, rule in enumerate(rules)]
    spec = type(build_evidence()).model_validate({"anyOf": [{**item, **changes} for item in alternatives]})
    return wanted_evidence(build_rules(evidence={"genoa": spec}), namespace="legal", service="chat", site=site)


def test_the_evidence_that_could_help_is_named() -> None:
    assert wanted({"tee": "tdx"}, {"tee": "snp"}, {"tee": "nvidia-gpu"}) == ("nvidia-gpu", "snp", "tdx")
    assert wanted({"tee": "snp", "behind": "tpm"}, {"tee": "tdx", "behind": "tpm"}) == ("azure-snp", "azure-tdx")
    assert wanted({"tee": "tpm"}, {"tee": "nitro"}, {"tee": "nvidia-switch"}) == ("nitro", "nvidia-switch", "tpm")
    assert wanted({"tee": "attestation-result"}) == ("ear-token", "gcs-token")
    assert wanted({"tee": "sgx"}, {"tee": "nitro", "behind": "tpm"}) == ()


def test_evidence_of_another_site_could_not_help() -> None:
    assert wanted({"tee": "snp"}, sites=["tokyo"]) == ("snp",)
    assert wanted({"tee": "snp"}, sites=["tokyo"], site="osaka") == ()


def test_the_tenants_evidence_is_asked_for_too() -> None:
    mine = type(build_evidence()).model_validate(
        {"anyOf": [{"name": "a", "evidence": [{"tee": "tpm", "measurements": ["ab" * 32]}]}]}
    )
    rules = build_rules(
        tenants=(build_tenant(evidence={"policy": "mine"}),), evidence={"genoa": build_evidence(), "mine": mine}
    )
    assert wanted_evidence(rules, namespace="legal", service="chat", site="tokyo") == ("snp", "tpm")
    missing = replace(rules, evidence={"mine": mine})
    assert wanted_evidence(missing, namespace="legal", service="chat", site="tokyo") == ("tpm",)
    assert wanted_evidence(rules, namespace="web", service="chat", site="tokyo") == ()


def test_the_digest_of_rules_is_computed_once_and_does_not_outlive_them() -> None:
    rules = build_rules()
    digest = policy_digest(rules, namespace="legal", service="chat")
    assert policy_digest(rules, namespace="legal", service="chat") is digest
    other = replace(rules, tenants=())
    assert other.memory == {}
    assert policy_digest(other, namespace="legal", service="chat") != digest
