"""What the depot publishes of sealed models, and approvals that hold."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sekisho.api.v1alpha1.classificationpolicy import ClassificationPolicySpec
from sekisho.api.v1alpha1.model import ModelSpec
from sekisho.plan.sealing import Seen, see_weights
from sekisho.plan.signers import digest_signers
from sekisho.plan.world import ModelObject
from sekisho.seal.trust import encode_approval_signature, encode_approval_statement
from tests.unit.plan.worlds import NOW, build_model, build_policy
from tests.unit.seal.signing import ed25519_key, sign

MANIFEST = "sha256:" + "cd" * 32
ARTIFACT = "sha256:" + "ef" * 32
URI = "oci://registry.example:5000/models/smollm2:1"
AT = "2026-11-25T06:00:00Z"
SCAN: Mapping[str, Any] = {"result": "Clean", "scanner": "sekisho 1", "at": AT}
SAFETY: Mapping[str, Any] = {"name": "safety", "score": "0.97", "at": AT}
DEMANDS: Mapping[str, Any] = {
    "sealed": True, "signedBy": ["release"], "scan": "Clean", "evaluated": ["safety"], "approvedBy": ["board"],
}  # fmt: skip


def demanding(**weights: Any) -> ClassificationPolicySpec:
    """Return a policy whose level internal, the class of what nobody labelled, demands this of weights."""
    return build_policy(internal={"tiers": ["Closed", "OwnCloud"], "weights": weights})


def build_inspection(policy: ClassificationPolicySpec | None = None, **changes: Any) -> dict[str, Any]:
    """Return what the depot publishes of a sealed model that lacks nothing."""
    whole = {
        "uri": URI, "policyDigest": digest_signers(policy or build_policy()), "inspectedAt": AT, "sealed": True,
        "artifactDigest": ARTIFACT, "manifestDigest": MANIFEST, "model": "legal/smollm2", "version": 7,
        "class": "internal", "kms": "openbao", "keyId": "transit/legal", "keyVersion": "3", "sizeBytes": 110_000_000,
        "signedBy": ["release"], "scan": dict(SCAN), "evaluations": [dict(SAFETY)],
    }  # fmt: skip
    return {key: value for key, value in {**whole, **changes}.items() if value is not None}


def plain_inspection(**changes: Any) -> dict[str, Any]:
    """Return what the depot publishes of plain weights."""
    base = {key: build_inspection()[key] for key in ("uri", "policyDigest", "inspectedAt", "artifactDigest")}
    return {**base, **changes}


def refused_inspection(reason: str, message: str, *, sealed: bool = True) -> dict[str, Any]:
    """Return what the depot publishes of weights that it refuses."""
    return plain_inspection(sealed=sealed, refusal={"reason": reason, "message": message})


def approve(role: str = "board", *, key: str = "", digest: str = MANIFEST, at: str = AT) -> dict[str, Any]:
    """Return an approval as `spec.approvals` holds it, signed by the key of `role` unless another is named."""
    statement = encode_approval_statement(digest, role, "head@example.test", at)
    signature = encode_approval_signature(sign(ed25519_key(key or role), statement))
    return {"role": role, "by": "head@example.test", "at": at, "signature": signature}


def sealed_model(inspection: Any = None, *, accepted: Any = None, **spec: Any) -> ModelObject:
    """Return the Model of the tests with what the depot published of it."""
    status = {"inspection": build_inspection() if inspection is None else inspection, "acceptedVersion": accepted}
    return replace(build_model(**spec), status=status)


def see(model: ModelObject, policy: ClassificationPolicySpec | None = None) -> Seen:
    assert isinstance(model.spec, ModelSpec)
    return see_weights(model, model.spec, policy or build_policy(), now_at=NOW)
