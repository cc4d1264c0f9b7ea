"""Whether the evidence is this pod's, for this challenge, and good enough. Pure."""

from typing import Final

from sekisho.api.v1alpha1.keyreleasepolicy import EvidenceDemand
from sekisho.attest.appraise import Appraisal, AppraisalPolicy, appraise, find_unacceptable
from sekisho.attest.claims import Claims, Tee
from sekisho.attest.devices import ExpectedDevices, check_devices
from sekisho.broker.releasefacts import ReleaseFacts, ReleaseRules
from sekisho.classify.rules import EffectiveTrust
from sekisho.errors import Reason, RefusedError
from sekisho.plan.evidence import read_evidence_policy

PURPOSES: Final = frozenset({"release", "renew"})
_MACHINES: Final = frozenset({Tee.SNP, Tee.TDX})
_BY_HARDWARE: Final = "hardware"  # the fact "ak-trust" of an attestation key that a report of hardware names
_NVIDIA: Final = frozenset({Tee.NVIDIA_GPU, Tee.NVIDIA_SWITCH})
# What the law calls device trust, and the evidence that shows it.
_DEVICES: Final = {"nvidia-cc": Tee.NVIDIA_GPU}


def check_binding(facts: ReleaseFacts, digest: str) -> None:
    """Refuse evidence that was made for anything but this challenge, key, pod, question and these rules.

    Raises:
        RefusedError: EvidenceNotBound; ChallengeUnknown where only the rules have changed since the challenge.
    """
    binding, workload = facts.binding, facts.workload
    if binding.purpose not in PURPOSES:
        raise RefusedError(
            Reason.EVIDENCE_NOT_BOUND, f'evidence made for "{binding.purpose}" releases no key; release and renew do'
        )
    made_for = (binding.namespace, binding.pod, binding.uid)
    if made_for != (workload.namespace, workload.pod, workload.uid):
        raise RefusedError(
            Reason.EVIDENCE_NOT_BOUND,
            f"the evidence was made for pod {binding.namespace}/{binding.pod} ({binding.uid}), asked has "
            f"{workload.namespace}/{workload.pod} ({workload.uid})",
        )
    if binding.policy_digest != digest:
        raise RefusedError(
            Reason.CHALLENGE_UNKNOWN,
            f"the challenge was made under rules {binding.policy_digest}, by now they are {digest}; ask for a new one",
        )
    for piece in facts.claims:
        if not binding.matches(piece.bound_data):
            raise RefusedError(
                Reason.EVIDENCE_NOT_BOUND,
                f"{piece.tee} evidence {piece.evidence_digest[:19]} was not made for this challenge, key and pod",
            )


def check_evidence(facts: ReleaseFacts, trust: EffectiveTrust | None) -> None:
    """Hold evidence to what no grant can waive: what is never acceptable, the node's TPM, what the class asks for.

    Raises:
        RefusedError: With the reason of the first that does not hold.
    """
    if (fault := find_unacceptable(facts.claims, now=facts.now)) is not None:
        raise RefusedError(fault.reason, fault.detail)
    key = facts.workload.node_key
    for piece in facts.claims:
        if piece.tee is Tee.TPM and not _is_vouched_for(piece) and (key is None or piece.chip_id != key):
            raise RefusedError(
                Reason.CHIP_UNKNOWN,
                f"tpm evidence {piece.evidence_digest[:19]} is of another TPM than that enrolled for node "
                f"{facts.workload.node} of the pod",
            )
    if trust is not None:
        _check_trust(facts, trust)
    if any(piece.tee in _NVIDIA for piece in facts.claims):
        _check_devices(facts)


def _is_vouched_for(piece: Claims) -> bool:
    """Tell a virtual TPM of the guest's own, whose key the hardware's report inside vouches for, from one of a node."""
    return piece.fact("ak-trust") == _BY_HARDWARE and any(part.tee in _MACHINES for part in piece.parts)


def _check_devices(facts: ReleaseFacts) -> None:
    """Hold devices against each other: as many as the pod has, none twice, one nonce, wired to one another."""
    kinds = [piece.tee for piece in facts.claims]
    gpus = facts.workload.gpus or kinds.count(Tee.NVIDIA_GPU)
    expected = ExpectedDevices(gpus=gpus, switches=kinds.count(Tee.NVIDIA_SWITCH))
    check_devices(facts.claims, expected, nonce=facts.binding.digest(32))


def _check_trust(facts: ReleaseFacts, trust: EffectiveTrust) -> None:
    who = f"class {facts.workload.service_class}"
    kinds = [piece.tee for piece in facts.claims]
    shown = {*kinds, *(part.tee for piece in facts.claims for part in piece.parts)}
    brought = ", ".join(sorted(shown))
    if trust.any_of is not None and not shown & trust.any_of:
        wanted = " or ".join(sorted(trust.any_of)) or "evidence that is none"
        raise RefusedError(Reason.EVIDENCE_MISSING, f"{who} wants {wanted}, the evidence is of {brought}")
    for device in sorted(trust.devices):
        least, there = max(1, facts.workload.gpus), kinds.count(_DEVICES[device])
        if there < least:
            raise RefusedError(
                Reason.EVIDENCE_MISSING, f"{who} wants {device} of each of {least} devices, the evidence is of {there}"
            )


def appraise_demand(facts: ReleaseFacts, demand: EvidenceDemand, trust: EffectiveTrust | None) -> Appraisal:
    """Appraise the evidence as one side of a grant demands it, and hold its age against that and against the class.

    Raises:
        RefusedError: With the reason of the first rule that does not hold; ChallengeUnknown where the clock was set
            back.
    """
    if demand.policy not in facts.rules.evidence:
        raise RefusedError(Reason.POLICY_MISSING, f'there is no EvidencePolicy "{demand.policy}" that can be read')
    most = min(demand.max_age_seconds, trust.max_age_seconds if trust is not None else demand.max_age_seconds)
    age = (facts.now - facts.challenged_at).total_seconds()
    if age < 0:
        raise RefusedError(
            Reason.CHALLENGE_UNKNOWN,
            f"the broker's clock was set back by {-age:.0f} s since the challenge; ask for a new one",
        )
    if age > most:
        raise RefusedError(
            Reason.EVIDENCE_STALE,
            f'the challenge is {age:.0f} s old, evidence policy "{demand.policy}" is demanded within {most} s of it',
        )
    if any(map(_is_vouched_for, facts.claims)):
        _check_registers(facts, demand.policy)
    policy = facts.rules.once(_read_policy, demand.policy, facts.workload.site)
    return appraise(facts.claims, policy, now=facts.now)


def _check_registers(facts: ReleaseFacts, name: str) -> None:
    """Refuse a policy that takes any machine of a provider: behind a virtual TPM all have the provider's measurement.

    What a machine itself booted stands in the TPM's registers alone.
    """
    for item in facts.rules.evidence[name].any_of:
        named = any(rule.tee == "tpm" and (rule.registers or rule.measurements) for rule in item.evidence)
        if not named and any(rule.behind == "tpm" for rule in item.evidence):
            raise RefusedError(
                Reason.APPRAISAL_FAILED,
                f'evidence policy "{name}", alternative "{item.name}", takes hardware behind a virtual tpm and says '
                "nothing of the tpm's registers: any machine of that provider would do; name what it must have booted",
            )


def _read_policy(rules: ReleaseRules, name: str, site: str) -> AppraisalPolicy:
    return read_evidence_policy(name, rules.evidence[name], site=site)
