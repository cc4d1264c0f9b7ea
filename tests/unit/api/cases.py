"""Objects that must be refused, by the models and by the API server alike, each with words of the refusal."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sekisho.api.names import API_VERSION

PEM = """-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAEOlRCZR/BIFyrHvXZPDxEX1yo42eR928+MYOmXVTJiA=
-----END PUBLIC KEY-----
"""
SIGNER: Mapping[str, Any] = {"name": "release", "publicKeys": [PEM]}
APPROVAL: Mapping[str, Any] = {
    "role": "board",
    "by": "board@example.test",
    "at": "2026-11-25T06:00:00Z",
    "signature": "c2lnbmF0dXJlIG9mIHRoZSBib2FyZA==",
}
POLICY: Mapping[str, Any] = {
    "unlabelled": "internal",
    "levels": [{"name": "public"}, {"name": "internal", "rules": {"tiers": ["Closed"], "trust": {"anyOf": ["snp"]}}}],
    "compartments": [{"name": "gdpr", "rules": {"jurisdictions": ["EU"], "weights": {"signedBy": ["release"]}}}],
    "signers": [
        SIGNER,
        {"name": "mail", "authorities": [{"certificates": [PEM], "subjects": ["email:a@example.test"]}]},
    ],
}
SITE: Mapping[str, Any] = {
    "tier": "Closed",
    "jurisdiction": "JP",
    "operatedBy": "own",
    "nodes": {"matchLabels": {"site": "tokyo"}},
    "models": [
        {
            "name": "x/*",
            "price": {"inputPerMillionTokens": "0.50", "outputPerMillionTokens": "1.50", "currency": "USD"},
        },
        {"name": "example-large"},
    ],
}
RUNTIME: Mapping[str, Any] = {"formats": [{"name": "gguf"}], "image": "registry.test/engines/llamacpp:1"}
MODEL: Mapping[str, Any] = {
    "owner": "team@example.test",
    "format": {"name": "gguf"},
    "storageUri": "oci://registry.test:5000/models/small@sha256:" + "0" * 64,
    "capabilities": {"risk": "limited", "evaluations": [{"name": "qa", "score": "0.9", "at": "2026-11-25T06:00:00Z"}]},
    "approvals": [APPROVAL],
}
SERVICE: Mapping[str, Any] = {
    "predictor": {"model": {"modelRef": {"name": "small"}}},
    "users": ["group:legal", "user:ann@example.test", "serviceaccount:legal:chat"],
}
IMAGE = "sha256:" + "1" * 64
SNP: Mapping[str, Any] = {
    "tee": "snp",
    "measurements": ["ab" * 48],
    "minimumTcb": [{"component": "microcode", "version": 219}],
    "registers": [{"name": "r", "values": ["cd" * 48]}],
    "facts": [{"name": "product", "values": ["Genoa"]}],
    "chips": ["ef" * 64],
}
EVIDENCE: Mapping[str, Any] = {"anyOf": [{"name": "genoa", "sites": ["tokyo"], "evidence": [SNP]}]}
RELEASE: Mapping[str, Any] = {
    "model": {"name": "legal/reviewer", "minVersion": 7},
    "key": {"kms": "openbao", "keyId": "transit/legal", "minVersion": 4},
    "workloads": [{"namespace": "legal", "service": "chat", "images": [IMAGE]}],
    "classes": {"atMost": {"level": "confidential", "compartments": ["gdpr"]}},
    "sites": ["tokyo"],
    "users": ["group:legal"],
    "evidence": {"policy": "genoa"},
    "expiresAt": "2027-01-01T00:00:00Z",
}
GRANT: Mapping[str, Any] = {
    "services": ["chat"],
    "models": [{"owner": "model-owners", "name": "legal/reviewer"}],
    "images": [IMAGE],
    "classes": {"atMost": {"level": "confidential"}},
    "users": ["group:legal", "serviceaccount:legal:chat"],
}
ACCESS: Mapping[str, Any] = {
    "subjects": [{"user": "group:legal"}, {"cel": "claims.email.endsWith('@example.test')"}],
    "models": ["x/*", "x/chat"],
    "ceiling": {"level": "confidential", "compartments": ["gdpr"]},
    "sites": ["tokyo"],
    "budgets": {
        "requestsPerMinute": 600,
        "tokensPerDay": 5_000_000,
        "cost": {"perDay": "20", "perMonth": "300.50", "currency": "USD"},
    },
    "redact": ["person"],
    "dictionary": {"words": ["Polaris"], "patterns": ["MB-[0-9]{6}"]},
    "expiresAt": "2027-01-01T00:00:00Z",
}
GOOD: Mapping[str, Mapping[str, Any]] = {
    "ClassificationPolicy": POLICY,
    "Site": SITE,
    "Runtime": RUNTIME,
    "Model": MODEL,
    "InferenceService": SERVICE,
    "EvidencePolicy": EVIDENCE,
    "KeyReleasePolicy": RELEASE,
    "DataGrant": GRANT,
    "AccessPolicy": ACCESS,
}
NAMESPACED = ("Model", "InferenceService", "KeyReleasePolicy", "DataGrant", "AccessPolicy")


@dataclass(frozen=True, slots=True)
class Bad:
    """A spec that is refused.

    Attributes:
        server: Words of the API server's refusal.
        model: Words of the model's refusal, where they differ.
    """

    kind: str
    spec: Mapping[str, Any]
    server: str
    model: str = ""


def manifest(kind: str, spec: Mapping[str, Any], *, name: str = "x", namespace: str | None = None) -> dict[str, Any]:
    """Put a spec into an object; cluster kinds get no namespace, the policy gets its only name."""
    metadata = {"name": "default" if kind == "ClassificationPolicy" else name}
    if namespace is not None and kind in NAMESPACED:
        metadata["namespace"] = namespace
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": dict(spec)}


def _service(**changes: Any) -> dict[str, Any]:
    return {**SERVICE, **changes}


def _predictor(**changes: Any) -> dict[str, Any]:
    return {"predictor": {"model": {"modelRef": {"name": "small"}}, **changes}}


def _model(**changes: Any) -> dict[str, Any]:
    return {"predictor": {"model": changes}}


def _demand(**weights: Any) -> list[dict[str, Any]]:
    return [{"name": "public"}, {"name": "internal", "rules": {"weights": weights}}]


def _evidence(**changes: Any) -> dict[str, Any]:
    """A policy whose only rule has other fields; a field that is None is left out."""
    rule = {key: value for key, value in {**SNP, **changes}.items() if value is not None}
    return {"anyOf": [{"name": "genoa", "evidence": [rule]}]}


_NO_MEASUREMENT = "snp, tdx, sgx and nitro need measurements: without them any code on genuine hardware would do"
_NO_REFERENCE = "evidence needs at least one of measurements, registers and facts: without them anything genuine"
_UNKNOWN_SIGNER = "weights.signedBy and weights.approvedBy of {} must name signers of spec.signers"
_UNKNOWN_WORD = "detect and redact of {} must name categories or groups of items that can be found"
_SOURCE = "give either modelRef, or both modelFormat and storageUri"
_CIDR = "cidr must be an address range without host bits, such as 10.1.0.0/16"
_VALUES = "values belong to In and NotIn, which need at least one, and to no other operator"

BAD: Mapping[str, Bad] = {
    "a policy whose unlabelled level is unknown": Bad(
        "ClassificationPolicy", {**POLICY, "unlabelled": "secret"}, "unlabelled must be the name of one of the levels",
        'unlabelled is "secret"; the levels are public, internal',
    ),
    "a policy without levels": Bad(
        "ClassificationPolicy", {"unlabelled": "a", "levels": []}, "should have at least 1 items", "at least 1 item"
    ),
    "a policy with a level twice": Bad(
        "ClassificationPolicy", {"unlabelled": "a", "levels": [{"name": "a"}, {"name": "a"}]}, "Duplicate value",
        "names of levels, and of compartments, must differ",
    ),
    "a level with a dot, which separates compartments in labels": Bad(
        "ClassificationPolicy", {"unlabelled": "a.b", "levels": [{"name": "a.b"}]}, "should match", "match pattern"
    ),
    "a level too long for a label with compartments": Bad(
        "ClassificationPolicy", {"unlabelled": "a" * 33, "levels": [{"name": "a" * 33}]}, "may not be more than 32",
        "at most 32 characters",
    ),
    "a level that detects what nobody can find": Bad(
        "ClassificationPolicy", {"unlabelled": "a", "levels": [{"name": "a", "detect": ["shoe-size"]}]},
        _UNKNOWN_WORD.format("levels"), 'detect and redact of levels name "shoe-size"',
    ),
    "a compartment that redacts what nobody can find": Bad(
        "ClassificationPolicy", {**POLICY, "compartments": [{"name": "c", "rules": {"redact": ["shoe-size"]}}]},
        _UNKNOWN_WORD.format("compartments"), 'detect and redact of compartments name "shoe-size"',
    ),
    "an answer that is to be free of what nobody can find": Bad(
        "ClassificationPolicy",
        {"unlabelled": "a", "levels": [{"name": "a", "rules": {"answers": {"examine": "Held", "detect": ["feet"]}}}]},
        _UNKNOWN_WORD.format("levels"), 'detect and redact of levels name "feet"',
    ),
    "answers that are looked into for nothing": Bad(
        "ClassificationPolicy",
        {"unlabelled": "a", "levels": [{"name": "a", "rules": {"answers": {"examine": "Windowed"}}}]},
        "detect must name what is looked for in answers",
    ),
    "a tier nobody knows": Bad(
        "ClassificationPolicy", {"unlabelled": "a", "levels": [{"name": "a", "rules": {"tiers": ["Open"]}}]},
        'Unsupported value: "Open"', "Input should be 'Closed', 'OwnCloud' or 'ManagedApi'",
    ),
    "a proof that may be ageless": Bad(
        "ClassificationPolicy",
        {"unlabelled": "a", "levels": [{"name": "a", "rules": {"trust": {"anyOf": ["snp"], "maxAgeSeconds": 0}}}]},
        "should be greater than or equal to 1", "greater than or equal to 1",
    ),
    "a level that wants the signature of nobody known": Bad(
        "ClassificationPolicy", {**POLICY, "levels": _demand(signedBy=["release", "stranger"])},
        _UNKNOWN_SIGNER.format("levels"),
    ),
    "a level that wants the approval of nobody known": Bad(
        "ClassificationPolicy", {**POLICY, "levels": _demand(approvedBy=["board"])}, _UNKNOWN_SIGNER.format("levels")
    ),
    "a compartment whose signer was removed": Bad(
        "ClassificationPolicy", {**POLICY, "signers": []}, _UNKNOWN_SIGNER.format("compartments")
    ),
    "a signer with neither key nor certificate": Bad(
        "ClassificationPolicy", {**POLICY, "signers": [SIGNER, {"name": "nobody"}]},
        "a signer needs at least one of publicKeys and authorities",
    ),
    "a signer twice": Bad(
        "ClassificationPolicy", {**POLICY, "signers": [SIGNER, SIGNER]}, "Duplicate value",
        "names of signers must differ",
    ),
    "a public key that is no PEM": Bad(
        "ClassificationPolicy", {**POLICY, "signers": [{"name": "release", "publicKeys": ["MCowBQYDK2Vw" * 4]}]},
        "should match", "match pattern",
    ),
    "an authority that vouches for anybody": Bad(
        "ClassificationPolicy",
        {**POLICY, "signers": [SIGNER, {"name": "any", "authorities": [{"certificates": [PEM], "subjects": []}]}]},
        "should have at least 1 items", "at least 1 item",
    ),
    "an authority without a root": Bad(
        "ClassificationPolicy",
        {**POLICY, "signers": [SIGNER, {"name": "any", "authorities": [{"certificates": [], "subjects": ["a"]}]}]},
        "should have at least 1 items", "at least 1 item",
    ),
    "too many signers": Bad(
        "ClassificationPolicy",
        {**POLICY, "signers": [SIGNER, *({**SIGNER, "name": f"s{index}"} for index in range(16))]},
        "must have at most 16 items", "at most 16 items",
    ),
    "a scan that may have findings": Bad(
        "ClassificationPolicy", {**POLICY, "levels": _demand(scan="Findings")}, 'Unsupported value: "Findings"',
        "Input should be 'Clean'",
    ),
    "a role that approves twice": Bad(
        "Model", {**MODEL, "approvals": [APPROVAL, {**APPROVAL, "by": "other"}]}, "Duplicate value",
        "roles of approvals must differ",
    ),
    "an approval at a local time": Bad(
        "Model", {**MODEL, "approvals": [{**APPROVAL, "at": "2026-11-25T06:00:00+09:00"}]}, "may not be more than 20",
        "at most 20 characters",
    ),
    "an approval whose signature is no base64": Bad(
        "Model", {**MODEL, "approvals": [{**APPROVAL, "signature": "signed, the board"}]}, "should match",
        "match pattern",
    ),
    "an evaluation twice": Bad(
        "Model", {**MODEL, "capabilities": {"evaluations": [*MODEL["capabilities"]["evaluations"]] * 2}},
        "Duplicate value", "names of evaluations must differ",
    ),
    "a namespace that owns the keys of a service twice": Bad(
        "ClassificationPolicy",
        {**POLICY, "keyOwners": [{"namespace": "a", "kms": "aws", "keyIds": [key]} for key in ("x", "y")]},
        "Duplicate value", "pairs of namespace and kms of keyOwners must differ",
    ),
    "a key owner with a star in the middle": Bad(
        "ClassificationPolicy", {**POLICY, "keyOwners": [{"namespace": "a", "kms": "aws", "keyIds": ["a*b"]}]},
        "should match", "match pattern",
    ),
    "a key owner of no key": Bad(
        "ClassificationPolicy", {**POLICY, "keyOwners": [{"namespace": "a", "kms": "aws", "keyIds": []}]},
        "should have at least 1 items", "at least 1 item",
    ),
    "an evidence policy without an alternative": Bad(
        "EvidencePolicy", {"anyOf": []}, "should have at least 1 items", "at least 1 item"
    ),
    "an alternative that wants nothing": Bad(
        "EvidencePolicy", {"anyOf": [{"name": "a", "evidence": []}]}, "should have at least 1 items", "at least 1 item"
    ),
    "an alternative twice": Bad(
        "EvidencePolicy", {"anyOf": [EVIDENCE["anyOf"][0]] * 2}, "Duplicate value",
        "names of alternatives must differ",
    ),
    "a kind of evidence twice": Bad(
        "EvidencePolicy", {"anyOf": [{"name": "a", "evidence": [SNP, SNP]}]}, "Duplicate value",
        "kinds of evidence must differ",
    ),
    "snp evidence of any code": Bad("EvidencePolicy", _evidence(measurements=None), _NO_MEASUREMENT),
    "nitro evidence of any code": Bad("EvidencePolicy", _evidence(tee="nitro", measurements=[]), _NO_MEASUREMENT),
    "tpm evidence without a reference value": Bad(
        "EvidencePolicy", _evidence(tee="tpm", measurements=None, registers=None, facts=[]), _NO_REFERENCE
    ),
    "snp evidence of any firmware": Bad(
        "EvidencePolicy", _evidence(minimumTcb=None),
        "snp needs minimumTcb: nobody publishes a status of its firmware",
    ),
    "evidence behind itself": Bad(
        "EvidencePolicy", _evidence(behind="snp"), "behind names another kind of evidence"
    ),
    "a register twice": Bad(
        "EvidencePolicy", _evidence(registers=[{"name": "a", "values": ["ab" * 32]}] * 2), "Duplicate value",
        "names of registers must differ",
    ),
    "a component twice": Bad(
        "EvidencePolicy", _evidence(minimumTcb=[{"component": "snp", "version": 1}] * 2), "Duplicate value",
        "names of minimumTcb must differ",
    ),
    "a fact twice": Bad(
        "EvidencePolicy", _evidence(facts=[{"name": "a", "values": ["b"]}] * 2), "Duplicate value",
        "names of facts must differ",
    ),
    "a measurement that is too short to be one": Bad(
        "EvidencePolicy", _evidence(measurements=["ab"]), "should be at least 40 chars", "at least 40 characters"
    ),
    "a measurement in capitals": Bad(
        "EvidencePolicy", _evidence(measurements=["AB" * 48]), "should match", "match pattern"
    ),
    "a revoked platform that is let through": Bad(
        "EvidencePolicy", _evidence(tcbStatuses=["Revoked"]), 'Unsupported value: "Revoked"', "Input should be"
    ),
    "a release of any version of a model": Bad(
        "KeyReleasePolicy", {**RELEASE, "model": {"name": "legal/reviewer"}},
        "name the digest of a sealed manifest, a minVersion, or both: without them an old version would do",
    ),
    "a release to any image": Bad(
        "KeyReleasePolicy", {**RELEASE, "workloads": [{"namespace": "legal", "service": "chat", "images": []}]},
        "should have at least 1 items", "at least 1 item",
    ),
    "a release to a service twice": Bad(
        "KeyReleasePolicy", {**RELEASE, "workloads": [RELEASE["workloads"][0]] * 2}, "Duplicate value",
        "pairs of namespace and service of workloads must differ",
    ),
    "a release for nobody": Bad(
        "KeyReleasePolicy", {**RELEASE, "users": []}, "should have at least 1 items", "at least 1 item"
    ),
    "a release at no site": Bad(
        "KeyReleasePolicy", {**RELEASE, "sites": []}, "should have at least 1 items", "at least 1 item"
    ),
    "a release without evidence": Bad(
        "KeyReleasePolicy", {key: value for key, value in RELEASE.items() if key != "evidence"}, "Required value",
        "Field required",
    ),
    "a release without a highest class": Bad(
        "KeyReleasePolicy", {**RELEASE, "classes": {}}, "Required value", "Field required"
    ),
    "a lease of seconds": Bad(
        "KeyReleasePolicy", {**RELEASE, "leaseSeconds": 29}, "should be greater than or equal to 30",
        "greater than or equal to 30",
    ),
    "a release that ends at a local time": Bad(
        "KeyReleasePolicy", {**RELEASE, "expiresAt": "2027-01-01T00:00:00+09:00"}, "may not be more than 20",
        "at most 20 characters",
    ),
    "a release that ends on no day": Bad(
        "KeyReleasePolicy", {**RELEASE, "expiresAt": "2027-13-41T00:00:00Z"}, "must be of type date-time",
        "month must be in 1..12",
    ),
    "a user of no kind": Bad(
        "KeyReleasePolicy", {**RELEASE, "users": ["legal-team"]}, "should match", "match pattern"
    ),
    "a user with a blank": Bad("InferenceService", _service(users=["group:a b"]), "should match", "match pattern"),
    "a service account without a namespace": Bad(
        "DataGrant", {**GRANT, "users": ["serviceaccount:chat"]}, "should match", "match pattern"
    ),
    "a grant of data to any model": Bad(
        "DataGrant", {**GRANT, "models": []}, "should have at least 1 items", "at least 1 item"
    ),
    "a grant of data to a model twice": Bad(
        "DataGrant", {**GRANT, "models": [GRANT["models"][0]] * 2}, "Duplicate value",
        "pairs of owner and name of models must differ",
    ),
    "a grant of data to any image": Bad(
        "DataGrant", {**GRANT, "images": []}, "should have at least 1 items", "at least 1 item"
    ),
    "a subject that is both a user and an expression": Bad(
        "AccessPolicy", {**ACCESS, "subjects": [{"user": "group:a", "cel": "true"}]},
        "a subject is either a user or a cel expression",
    ),
    "a subject that is nobody": Bad(
        "AccessPolicy", {**ACCESS, "subjects": [{}]}, "a subject is either a user or a cel expression"
    ),
    "a policy that lets nobody in": Bad(
        "AccessPolicy", {**ACCESS, "subjects": []}, "should have at least 1 items", "at least 1 item"
    ),
    "a policy without models": Bad(
        "AccessPolicy", {**ACCESS, "models": []}, "should have at least 1 items", "at least 1 item"
    ),
    "a star in the middle of a model": Bad(
        "AccessPolicy", {**ACCESS, "models": ["x/a*b"]}, "should match", "match pattern"
    ),
    "a model without a namespace": Bad("AccessPolicy", {**ACCESS, "models": ["chat"]}, "should match", "match pattern"),
    "an expression without an end": Bad(
        "AccessPolicy", {**ACCESS, "subjects": [{"cel": "a" * 1025}]}, "may not be more than 1024", "at most 1024"
    ),
    "a budget of nothing": Bad(
        "AccessPolicy", {**ACCESS, "budgets": {"requestsPerMinute": 0}},
        "should be greater than or equal to 1", "greater than or equal to 1",
    ),
    "a dictionary of a word of one sign": Bad(
        "AccessPolicy", {**ACCESS, "dictionary": {"words": ["x"]}}, "should be at least 2 chars long", "at least 2"
    ),
    "a dictionary of too many patterns": Bad(
        "AccessPolicy", {**ACCESS, "dictionary": {"patterns": [f"x{at}" for at in range(17)]}},
        "must have at most 16 items", "at most 16",
    ),
    "a budget of cost for no time": Bad(
        "AccessPolicy", {**ACCESS, "budgets": {"cost": {"currency": "JPY"}}},
        "a budget of cost needs perDay, perMonth or both",
    ),
    "a budget of cost below zero": Bad(
        "AccessPolicy", {**ACCESS, "budgets": {"cost": {"perMonth": "-300"}}}, "should match", "match pattern"
    ),
    "a budget in a currency without a code": Bad(
        "AccessPolicy", {**ACCESS, "budgets": {"cost": {"perMonth": "300", "currency": "$"}}},
        "should match", "match pattern",
    ),
    "a closed site without nodes": Bad(
        "Site", {key: value for key, value in SITE.items() if key != "nodes"},
        "nodes is required: a site of tier Closed or OwnCloud is a pool of nodes of this cluster",
        "nodes is required: a site of tier Closed is a pool of nodes of this cluster",
    ),
    "a site that claims every node": Bad(
        "Site", {**SITE, "nodes": {}}, "nodes must name at least one label; an empty selector would claim every node"
    ),
    "a site that claims every node by empty lists": Bad(
        "Site", {**SITE, "nodes": {"matchLabels": {}, "matchExpressions": []}}, "nodes must name at least one label"
    ),
    "a jurisdiction in small letters": Bad("Site", {**SITE, "jurisdiction": "jp"}, "should match", "match pattern"),
    "a selector with In and no values": Bad(
        "Site", {**SITE, "nodes": {"matchExpressions": [{"key": "a", "operator": "In"}]}}, _VALUES
    ),
    "a selector with Exists and a value": Bad(
        "Site", {**SITE, "nodes": {"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["x"]}]}}, _VALUES
    ),
    "a selector label that is no label": Bad(
        "Site", {**SITE, "nodes": {"matchLabels": {"a b": "c"}}}, "a key must match", "match pattern"
    ),
    "a price of tokens with seven decimals": Bad(
        "Site",
        {**SITE, "models": [{"name": "a", "price": {"inputPerMillionTokens": "0.0000001"}}]},
        "should match", "match pattern",
    ),
    "a price of answers that is left out": Bad(
        "Site", {**SITE, "models": [{"name": "a/*", "price": {"inputPerMillionTokens": "1"}}]},
        "outputPerMillionTokens", "Field required",
    ),
    "two prices of one model": Bad(
        "Site", {**SITE, "models": [{"name": "a/b"}, {"name": "a/b"}]}, "Duplicate value",
        "names of models must differ",
    ),
    "a price below zero": Bad("Site", {**SITE, "price": {"gpuHour": "-1"}}, "should match", "match pattern"),
    "a runtime that takes the agent's port": Bad(
        "Runtime", {**RUNTIME, "port": 8181}, "port 8181 belongs to the agent in the pod"
    ),
    "a runtime that decrypts what its engine cannot": Bad(
        "Runtime", {**RUNTIME, "loader": "sealed"}, "an engine with loader sealed decrypts safetensors and no other"
    ),
    "a runtime with an unknown loader": Bad(
        "Runtime", {**RUNTIME, "loader": "mine"}, 'Unsupported value: "mine"', "Input should be 'files' or 'sealed'"
    ),
    "a runtime that serves nothing": Bad(
        "Runtime", {**RUNTIME, "formats": []}, "should have at least 1 items", "at least 1 item"
    ),
    "an image that is no image": Bad("Runtime", {**RUNTIME, "image": "a b"}, "should match", "match pattern"),
    "a quantity that is none": Bad(
        "Runtime", {**RUNTIME, "memory": {"overhead": "4 GB"}}, "should match",
        '"4 GB" is not a quantity such as 4Gi, 500m or 2',
    ),
    "a quantity below zero": Bad(
        "Runtime", {**RUNTIME, "memory": {"overhead": -4}}, "should be greater than or equal to 0", "is not a quantity"
    ),
    "a model from plain http": Bad(
        "Model", {**MODEL, "storageUri": "http://example.test/a.gguf"}, "should match", "match pattern"
    ),
    "a model whose URI holds a password": Bad(
        "Model", {**MODEL, "storageUri": "https://user:word@example.test/a.gguf"}, "should match", "match pattern"
    ),
    "a model whose URI holds a signature": Bad(
        "Model", {**MODEL, "storageUri": "https://example.test/a.gguf?sig=abc"}, "should match", "match pattern"
    ),
    "a model whose path climbs": Bad(
        "Model", {**MODEL, "storageUri": "pvc://claim/../other"}, "should match", "match pattern"
    ),
    "a digest that is too short": Bad("Model", {**MODEL, "digest": "sha256:abc"}, "should match", "match pattern"),
    "a model nobody answers for": Bad(
        "Model", {key: value for key, value in MODEL.items() if key != "owner"}, "Required value", "Field required"
    ),
    "a service with neither reference nor weights": Bad("InferenceService", _model(), _SOURCE),
    "a service with reference and weights": Bad(
        "InferenceService", _model(modelRef={"name": "a"}, storageUri="pvc://claim/a"), _SOURCE
    ),
    "a service with weights of no format": Bad("InferenceService", _model(storageUri="pvc://claim/a"), _SOURCE),
    "a service that shrinks while it grows": Bad(
        "InferenceService", _predictor(minReplicas=3, maxReplicas=2), "maxReplicas must not be smaller than minReplicas"
    ),
    "a service that falls asleep between two words": Bad(
        "InferenceService", _predictor(idleSeconds=9), "should be greater than or equal to 10",
        "greater than or equal to 10",
    ),
    "a toleration of nothing": Bad(
        "InferenceService", _predictor(tolerations=[{"value": "a"}]), "without a key, operator must be Exists"
    ),
    "a toleration of any and one value": Bad(
        "InferenceService", _predictor(tolerations=[{"key": "a", "operator": "Exists", "value": "b"}]),
        "operator Exists takes no value",
    ),
    "a toleration for a time without an eviction": Bad(
        "InferenceService", _predictor(tolerations=[{"key": "a", "operator": "Exists", "tolerationSeconds": 3}]),
        "tolerationSeconds needs effect NoExecute",
    ),
    "egress to no address": Bad(
        "InferenceService", _service(egress=[{"cidr": "999.1.1.1/8", "ports": [1]}]), _CIDR
    ),
    "egress with host bits": Bad("InferenceService", _service(egress=[{"cidr": "10.1.2.3/8", "ports": [1]}]), _CIDR),
    "egress to every port": Bad(
        "InferenceService", _service(egress=[{"cidr": "10.0.0.0/8", "ports": []}]), "should have at least 1 items",
        "at least 1 item",
    ),
    "a resource name that is none": Bad(
        "InferenceService", {"predictor": {"model": {"modelRef": {"name": "a"}, "resources": {"limits": {"a b": 1}}}}},
        "a key must match", "match pattern",
    ),
    "too many compartments": Bad(
        "InferenceService",
        _service(classification={"level": "a", "compartments": [f"c{index}" for index in range(32)]}),
        "must have at most 31 items", "at most 31 items",
    ),
}  # fmt: skip
