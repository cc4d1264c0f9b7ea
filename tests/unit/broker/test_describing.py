"""What stands in the record of a decision: all that is needed to hold somebody to it, and never more than a line."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from sekisho.broker.describing import (
    decide_on_record,
    describe_asker,
    describe_decision,
    describe_evidence,
    describe_facts,
)
from sekisho.broker.releasefacts import Decision
from sekisho.broker.replay import spell_facts
from sekisho.broker.wire import Lease, Question
from sekisho.errors import Reason, RefusedError
from sekisho.kube.pods import PodFacts
from sekisho.ledger.entry import Spelt
from sekisho.seal.keys import KeyContext, WrappedKey
from tests.unit.attest.claims import CHIP, MEASUREMENT, SNP, build_gpu
from tests.unit.broker.release_cases import MANIFEST, build_facts, build_rules

MOST_TEXT = 512
MOST_FACTS = 48 * 1024
POD = PodFacts("legal", "chat-1", "uid-1", "chat", "chat-predictor", "10.9.0.2", frozenset(), 0.0, False, {})


def ask(*, data_class: str = "internal", key_id: str = "transit/legal", version: str = "4") -> Question:
    wrapped = WrappedKey("openbao", key_id, version, b"opaque")
    return Question(wrapped, KeyContext("legal/reviewer", 7, data_class), MANIFEST, "sha256:" + "9" * 64)


def test_the_record_says_who_asked_for_which_key_of_which_model_and_holds_no_wrapped_key() -> None:
    assert describe_asker(POD, ask()) == {
        "pod": {"namespace": "legal", "name": "chat-1", "uid": "uid-1", "service": "chat"},
        "model": {"name": "legal/reviewer", "version": 7, "class": "internal", "manifestDigest": MANIFEST},
        "key": {"kms": "openbao", "keyId": "transit/legal", "keyVersion": "4"},
    }


@pytest.mark.parametrize("extra", [0, 1])
def test_what_a_pod_says_of_its_key_and_class_is_cut_to_512_characters(extra: int) -> None:
    said = "x" * (MOST_TEXT + extra)
    told = describe_asker(POD, ask(data_class=said, key_id=said, version=said))
    cut = "x" * MOST_TEXT
    assert (told["model"]["class"], told["key"]["keyId"], told["key"]["keyVersion"]) == (cut, cut, cut)


def test_the_record_holds_digests_of_evidence_in_its_order_and_what_it_says_of_machine_and_code() -> None:
    gpu = build_gpu(1, chip_id=None)
    told = describe_evidence((SNP, gpu))
    assert told["evidence"] == [
        {
            "tee": "snp", "chip": CHIP.hex(), "measurement": MEASUREMENT.hex(), "tcbStatus": SNP.tcb_status.value,
            "digest": SNP.evidence_digest,
        },
        {
            "tee": "nvidia-gpu", "chip": "", "measurement": "", "tcbStatus": gpu.tcb_status.value,
            "digest": gpu.evidence_digest,
        },
    ]  # fmt: skip
    assert told["evidenceDigest"] == describe_evidence((gpu, SNP))["evidenceDigest"]
    assert describe_evidence((SNP,))["evidenceDigest"] == SNP.evidence_digest


def test_without_evidence_the_record_says_nothing_of_it() -> None:
    assert describe_evidence(()) == {}


def test_the_record_says_under_which_rules_and_for_how_long_a_key_was_granted() -> None:
    decision = Decision(
        lease_seconds=900, policy_digest="sha256:p", evidence_digest="sha256:e", owner="owners/reviewer",
        tenant="legal/contracts", evidence_policies=("genoa", "milan"), minimum_key_version=4,
    )  # fmt: skip
    lease = Lease(600, datetime(2026, 11, 29, 12, 10, tzinfo=UTC))
    assert describe_decision(decision, lease) == {
        "owner": "owners/reviewer", "tenant": "legal/contracts", "evidencePolicies": ["genoa", "milan"],
        "policyDigest": "sha256:p", "evidenceDigest": "sha256:e",
        "leaseSeconds": 600, "leaseEndsAt": "2026-11-29T12:10:00Z",
    }  # fmt: skip


def test_facts_of_up_to_48_kib_are_recorded_and_of_larger_ones_their_size() -> None:
    facts = build_facts()
    room = MOST_FACTS - len(spell_facts(facts))
    service = facts.workload.pod
    full = replace(facts, workload=replace(facts.workload, pod=service + "x" * room))
    over = replace(facts, workload=replace(facts.workload, pod=service + "x" * (room + 1)))
    assert describe_facts(full) == {"facts": Spelt(spell_facts(full))}
    assert describe_facts(over) == {"factsBytes": MOST_FACTS + 1}


@pytest.mark.parametrize("keep", [True, False])
def test_facts_of_a_refusal_are_recorded_always_and_those_of_a_grant_where_it_is_wanted(*, keep: bool) -> None:
    refused, granted = dict[str, Any](), dict[str, Any]()
    with pytest.raises(RefusedError) as caught:
        decide_on_record(build_facts(rules=build_rules(owners=())), refused, keep=keep)
    assert caught.value.reason is Reason.RELEASE_NOT_GRANTED
    assert set(refused) == {"facts"}
    assert decide_on_record(build_facts(), granted, keep=keep).owner == "owners/reviewer"
    assert set(granted) == ({"facts"} if keep else set())
