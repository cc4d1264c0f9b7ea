"""What stands in the record of a decision: who asked for what, on what evidence, and what was decided. Pure."""

from collections.abc import Sequence
from typing import Any, Final

from sekisho.attest.claims import Claims
from sekisho.broker.decide import Decision, ReleaseFacts, decide_release
from sekisho.broker.replay import spell_facts
from sekisho.broker.verifying import digest_evidence
from sekisho.broker.wire import Lease, Question, spell_time
from sekisho.errors import RefusedError
from sekisho.kube.pods import PodFacts
from sekisho.ledger.entry import Spelt

_MOST_TEXT: Final = 512
_MOST_FACTS_BYTES: Final = 48 * 1024


def describe_asker(pod: PodFacts, question: Question) -> dict[str, Any]:
    """Say who asked for which key."""
    wrapped, context = question.wrapped, question.context
    return {
        "pod": {"namespace": pod.namespace, "name": pod.name, "uid": pod.uid, "service": pod.service},
        "model": {
            "name": context.model, "version": context.version, "class": context.data_class[:_MOST_TEXT],
            "manifestDigest": question.manifest_digest,
        },
        "key": {
            "kms": wrapped.kms, "keyId": wrapped.key_id[:_MOST_TEXT], "keyVersion": wrapped.key_version[:_MOST_TEXT],
        },
    }  # fmt: skip


def describe_evidence(claims: Sequence[Claims]) -> dict[str, Any]:
    """Say what the evidence was; its bytes are not kept, its digests are."""
    pieces = [
        {
            "tee": claim.tee.value, "chip": (claim.chip_id or b"").hex(), "measurement": claim.measurement.hex(),
            "tcbStatus": claim.tcb_status.value, "digest": claim.evidence_digest,
        }
        for claim in claims
    ]  # fmt: skip
    return {"evidence": pieces, "evidenceDigest": digest_evidence(claims)} if claims else {}


def describe_decision(decision: Decision, lease: Lease) -> dict[str, Any]:
    """Say under which rules it was granted, and for how long."""
    return {
        "owner": decision.owner, "tenant": decision.tenant, "evidencePolicies": list(decision.evidence_policies),
        "policyDigest": decision.policy_digest, "evidenceDigest": decision.evidence_digest,
        "leaseSeconds": lease.seconds, "leaseEndsAt": spell_time(lease.ends_at),
    }  # fmt: skip


def describe_facts(facts: ReleaseFacts) -> dict[str, Any]:
    """Spell all that was decided on, so that it can be replayed; only its size where it is too large for a line."""
    text = spell_facts(facts)
    return {"facts": Spelt(text)} if len(text) <= _MOST_FACTS_BYTES else {"factsBytes": len(text)}


def decide_on_record(facts: ReleaseFacts, entry: dict[str, Any], *, keep: bool) -> Decision:
    """Decide, and put the facts into the entry of the record: of each refusal, and where `keep` says so.

    Raises:
        RefusedError: As `decide_release` does.
    """
    try:
        decision = decide_release(facts)
    except RefusedError:
        entry |= describe_facts(facts)
        raise
    if keep:
        entry |= describe_facts(facts)
    return decision
