"""A release that every rule allows; each test changes the one fact it speaks of."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from sekisho.api.v1alpha1.classificationpolicy import ClassificationPolicySpec
from sekisho.api.v1alpha1.datagrant import DataGrantSpec
from sekisho.api.v1alpha1.evidencepolicy import EvidencePolicySpec
from sekisho.api.v1alpha1.keyreleasepolicy import KeyReleasePolicySpec
from sekisho.api.v1alpha1.site import SiteSpec
from sekisho.attest.binding import Binding
from sekisho.attest.claims import Claims, Tee
from sekisho.attest.isolation import Verdict
from sekisho.broker.decide import (
    OwnerPolicy,
    Question,
    ReleaseFacts,
    ReleaseRules,
    TenantGrant,
    Workload,
    policy_digest,
)
from sekisho.errors import Reason
from tests.unit.attest.claims import CHIP, MEASUREMENT, NOW, SNP

IMAGE = "sha256:" + "a" * 64
AGENT = "sha256:" + "b" * 64
MANIFEST = "sha256:" + "c" * 64
TEMPLATE = "sha256:" + "d" * 64
SITE_KEY = "sekisho.node-restriction.kubernetes.io/site"
LAW: Mapping[str, Any] = {
    "unlabelled": "internal",
    "levels": [
        {"name": "public", "rules": {"tiers": ["Closed", "OwnCloud"]}},
        {"name": "internal", "rules": {"tiers": ["Closed", "OwnCloud"]}},
        {
            "name": "confidential",
            "rules": {
                "tiers": ["Closed"],
                "jurisdictions": ["JP"],
                "trust": {"anyOf": ["snp", "tdx"], "maxAgeSeconds": 600},
            },
        },
        {"name": "restricted"},
    ],
    "compartments": [
        {"name": "gdpr"},
        {"name": "gpu", "rules": {"trust": {"devices": ["nvidia-cc"]}}},
    ],
    "keyOwners": [{"namespace": "owners", "kms": "openbao", "keyIds": ["transit/legal"]}],
}
EVIDENCE: Mapping[str, Any] = {
    "anyOf": [
        {
            "name": "genoa",
            "evidence": [
                {
                    "tee": "snp",
                    "measurements": [MEASUREMENT.hex()],
                    "minimumTcb": [{"component": "microcode", "version": 84}],
                    "chips": [CHIP.hex()],
                }
            ],
        }
    ]
}
OWNER: Mapping[str, Any] = {
    "model": {"name": "legal/reviewer", "minVersion": 7},
    "key": {"kms": "openbao", "keyId": "transit/legal", "minVersion": 4},
    "workloads": [{"namespace": "legal", "service": "chat", "images": [IMAGE, AGENT]}],
    "classes": {"atMost": {"level": "confidential", "compartments": ["gdpr", "gpu"]}},
    "sites": ["tokyo"],
    "users": ["group:legal", "user:ann"],
    "evidence": {"policy": "genoa", "maxAgeSeconds": 120},
    "leaseSeconds": 900,
}
TENANT: Mapping[str, Any] = {
    "services": ["chat"],
    "models": [{"owner": "owners", "name": "legal/reviewer"}],
    "images": [IMAGE, AGENT],
    "classes": {"atMost": {"level": "restricted", "compartments": ["gdpr", "gpu"]}},
    "users": ["group:legal", "group:audit"],
}


def build_law(**changes: Any) -> ClassificationPolicySpec:
    return ClassificationPolicySpec.model_validate({**LAW, **changes})


def build_owner(name: str = "reviewer", *, namespace: str = "owners", **changes: Any) -> OwnerPolicy:
    return OwnerPolicy(namespace, name, KeyReleasePolicySpec.model_validate({**OWNER, **changes}))


def build_tenant(name: str = "contracts", *, namespace: str = "legal", **changes: Any) -> TenantGrant:
    return TenantGrant(namespace, name, DataGrantSpec.model_validate({**TENANT, **changes}))


def build_evidence(**changes: Any) -> EvidencePolicySpec:
    """Return the evidence policy with other fields in its only rule."""
    alternative = EVIDENCE["anyOf"][0]
    return EvidencePolicySpec.model_validate(
        {"anyOf": [{**alternative, "evidence": [{**alternative["evidence"][0], **changes}]}]}
    )


def build_site(**changes: Any) -> SiteSpec:
    spec = {
        "tier": "Closed",
        "jurisdiction": "JP",
        "operatedBy": "own",
        "nodes": {"matchLabels": {SITE_KEY: "tokyo"}},
        **changes,
    }
    return SiteSpec.model_validate(spec)


def build_rules(**changes: Any) -> ReleaseRules:
    made = ReleaseRules(
        law=build_law(),
        sites={"tokyo": build_site()},
        owners=(build_owner(),),
        tenants=(build_tenant(),),
        evidence={"genoa": build_evidence()},
    )
    return replace(made, **changes)


QUESTION = Question(
    model="legal/reviewer",
    version=7,
    data_class="internal",
    manifest_digest=MANIFEST,
    kms="openbao",
    key_id="transit/legal",
    key_version="4",
)
WORKLOAD = Workload(
    namespace="legal",
    service="chat",
    pod="chat-predictor-1",
    uid="uid-1",
    node="tk-1",
    images=frozenset({IMAGE, AGENT}),
    template_digest=TEMPLATE,
    expected_template_digest=TEMPLATE,
    service_class="confidential.gdpr",
    site="tokyo",
    node_labels={SITE_KEY: "tokyo"},
    node_key=None,
    users=frozenset({"group:legal"}),
)
NVIDIA = frozenset({Tee.NVIDIA_GPU, Tee.NVIDIA_SWITCH})
PROVEN = Verdict(ok=True, reason=Reason.ISOLATION_PROVEN, message="7 attempts stayed without an answer")


def build_facts(
    *,
    rules: ReleaseRules | None = None,
    claims: tuple[Claims, ...] = (SNP,),
    question: Mapping[str, Any] | None = None,
    workload: Mapping[str, Any] | None = None,
    binding: Mapping[str, Any] | None = None,
    **changes: Any,
) -> ReleaseFacts:
    """Return facts whose evidence is bound to all of them; `binding` changes what it is bound to."""
    law = rules or build_rules()
    pod = replace(WORKLOAD, **(workload or {}))
    bound = Binding(
        purpose="release",
        nonce=b"n" * 32,
        public_key=b"k" * 32,
        namespace=pod.namespace,
        pod=pod.pod,
        uid=pod.uid,
        policy_digest=policy_digest(law, namespace=pod.namespace, service=pod.service),
        isolation_digest="sha256:" + "1" * 64,
        question_digest="sha256:" + "2" * 64,
    )
    bound = replace(bound, **(binding or {}))
    facts = ReleaseFacts(
        question=replace(QUESTION, **(question or {})),
        workload=pod,
        rules=law,
        binding=bound,
        isolation=PROVEN,
        claims=tuple(replace(item, bound_data=bound.digest(32 if item.tee in NVIDIA else 64)) for item in claims),
        challenged_at=NOW - timedelta(seconds=5),
        now=NOW,
    )
    return replace(facts, **changes)
