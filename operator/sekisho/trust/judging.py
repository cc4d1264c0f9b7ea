"""Whether the evidence of a node is good: bound to its challenge, verified, up to the policy; nothing is fetched."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sekisho.api.v1alpha1.classificationpolicy import DeviceTrust
from sekisho.api.v1alpha1.classificationpolicy import Tee as NodeTee
from sekisho.attest.appraise import AppraisalPolicy, appraise, find_shown
from sekisho.attest.claims import Claims, Tee
from sekisho.attest.evidence import UnverifiedEvidence
from sekisho.errors import Reason, RefusedError, Rejection
from sekisho.trust.challenges import Challenge
from sekisho.trust.devices import check_node_devices, find_lack, name_devices
from sekisho.trust.nodes import Result, TrustedNode

Verify = Callable[[UnverifiedEvidence, TrustedNode, datetime], Claims]
"""Verify a piece of a node's evidence; a TPM's only where its key is the one that was enrolled for the node."""

NONCE_BYTES: Final = 32

# What placement calls what a node has proven.
LABELS: Final[dict[Tee, NodeTee | DeviceTrust]] = {
    Tee.SNP: "snp",
    Tee.TDX: "tdx",
    Tee.TPM: "tpm",
    Tee.NVIDIA_GPU: "nvidia-cc",
}
_GPUS: Final = LABELS[Tee.NVIDIA_GPU]
# What says that a node is not what it was; everything else may be trouble of ours or of the way between.
DAMNING: Final = frozenset({
    Reason.EVIDENCE_INVALID, Reason.EVIDENCE_UNTRUSTED, Reason.EVIDENCE_REVOKED, Reason.EVIDENCE_NOT_BOUND,
    Reason.TCB_TOO_OLD, Reason.DEBUG_ENABLED, Reason.MEASUREMENT_UNKNOWN, Reason.CHIP_UNKNOWN, Reason.APPRAISAL_FAILED,
    Reason.EVIDENCE_MISSING,
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rules:
    """By what nodes are judged.

    Attributes:
        policy: The named policy.
        digest: "sha256:…" of it as it stands.
    """

    policy: AppraisalPolicy
    digest: str


def judge_node(
    pieces: Sequence[UnverifiedEvidence],
    node: TrustedNode,
    challenge: Challenge,
    *,
    rules: Rules,
    verify: Verify,
    valid_seconds: int,
    now_at: float,
) -> Result:
    """Judge all evidence that a node brought for its challenge.

    A label is worth what an alternative of the policy that holds speaks of, and nothing else that came along.

    Raises:
        RefusedError: The first thing that is not as it must be.
    """
    if challenge.policy_digest != rules.digest:
        raise RefusedError(
            Reason.CHALLENGE_UNKNOWN, f"evidence policy {rules.policy.name} was changed since the challenge; ask anew"
        )
    now = datetime.fromtimestamp(now_at, UTC)
    claims = [_verify_bound(piece, node, challenge, verify, now) for piece in pieces]
    appraisal = appraise(claims, rules.policy, now=now)
    shown = find_shown(claims, rules.policy)
    lack = _judge_gpus(claims, node, shown, challenge) if Tee.NVIDIA_GPU in shown else None
    tees = {LABELS[tee] for tee in shown if tee in LABELS} - ({_GPUS} if lack else set())
    if not tees:
        told = f"the evidence of node {node.name} proves no hardware that a class could ask for"
        raise RefusedError(lack.reason, lack.detail) if lack else RefusedError(Reason.APPRAISAL_FAILED, told)
    ends_at = min(now_at + valid_seconds, appraisal.not_after.timestamp())
    return Result(
        tees=tuple(sorted(tees)),
        evidence=tuple(item.evidence_digest for item in claims),
        at=math.floor(now_at),
        expires_at=math.floor(ends_at),
        devices=name_devices(claims) if _GPUS in tees else (),
        remark=f"{lack.reason}: {lack.detail}" if lack else "",
    )


def _judge_gpus(
    claims: Sequence[Claims], node: TrustedNode, shown: frozenset[Tee], challenge: Challenge
) -> Rejection | None:
    """Refuse devices that cannot be true together, and return what they lack to be worth a label."""
    check_node_devices(claims, nonce=challenge.binding.digest(NONCE_BYTES))
    return find_lack(claims, node, shown)


def _verify_bound(
    piece: UnverifiedEvidence, node: TrustedNode, challenge: Challenge, verify: Verify, now: datetime
) -> Claims:
    claims = verify(piece, node, now)
    if not challenge.binding.matches(claims.bound_data):
        raise RefusedError(
            Reason.EVIDENCE_NOT_BOUND,
            f"the {piece.kind} evidence of node {node.name} was made for something else than its challenge",
        )
    return claims
