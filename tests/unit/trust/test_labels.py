"""What the trust controller writes is what placement reads, and what people are told."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from sekisho.api.names import NODE_TRUST_PREFIX, NODE_TRUST_SUFFIX
from sekisho.attest.claims import Tee
from sekisho.errors import Reason
from sekisho.placement.snapshot import take_snapshot
from sekisho.plan.explain import explain_service
from sekisho.plan.inferenceservice import plan
from sekisho.trust.judging import LABELS
from sekisho.trust.nodes import Result, TrustedNode, spell_result, spell_withdrawal
from tests.unit.plan.worlds import NOW, build_node, build_policy, build_service, build_world, condition

NODE = TrustedNode("tk-1", "uid-1")
CONFIDENTIAL = {"classification": {"level": "confidential"}}


def decide(patch: dict[str, Any], *, any_of: list[str], age: int = 600, devices: Sequence[str] = ()) -> Any:
    """Plan a service where the one node of the site carries what the patch left on it."""
    bare = {key: value for key, value in build_node("tk-1", "tokyo").labels.items() if NODE_TRUST_SUFFIX not in key}
    merged = bare | patch["labels"]
    labels = {key: value for key, value in merged.items() if value is not None}
    snapshot = take_snapshot([build_node("tk-1", "tokyo", labels=labels)], [])
    rules = {"tiers": ["Closed"], "trust": {"anyOf": any_of, "devices": list(devices), "maxAgeSeconds": age}}
    world = replace(build_world(snapshot=snapshot), policy=build_policy(confidential=rules))
    return plan(build_service(**CONFIDENTIAL), world)


def result(*tees: str, ago: int) -> Result:
    return Result(tees, ("sha256:e",), at=int(NOW) - ago, expires_at=int(NOW) + 3600)


@pytest.mark.parametrize("tee", [label for label in LABELS.values() if label != "nvidia-cc"])
def test_a_label_that_is_written_places_a_service_and_its_age_is_told(tee: str) -> None:
    decided = decide(spell_result(NODE, result(tee, ago=212)), any_of=[tee])
    assert condition(decided, "Placed")["status"] == "True"
    assert f"{tee} verified 212 s ago" in decided.status["placement"]["because"]
    told = explain_service("legal", "review", decided.status)
    assert f"{tee} verified 212 s ago" in " ".join(told.split())


def test_a_class_that_wants_gpus_in_confidential_mode_goes_by_their_label_and_its_age() -> None:
    def decide_gpus(*tees: str, ago: int) -> Any:
        return condition(
            decide(spell_result(NODE, result(*tees, ago=ago)), any_of=["snp"], devices=["nvidia-cc"]), "Placed"
        )

    assert decide_gpus("nvidia-cc", "snp", ago=60)["status"] == "True"
    assert decide_gpus("snp", ago=60)["reason"] == Reason.TRUST_MISSING
    assert decide_gpus("nvidia-cc", "snp", ago=601)["reason"] == Reason.TRUST_TOO_OLD


def test_hardware_is_called_as_policies_call_it() -> None:
    assert LABELS == {Tee.SNP: "snp", Tee.TDX: "tdx", Tee.TPM: "tpm", Tee.NVIDIA_GPU: "nvidia-cc"}


def test_a_label_older_than_the_class_allows_places_nothing_and_the_age_is_told() -> None:
    decided = decide(spell_result(NODE, result("tpm", ago=601)), any_of=["tpm"])
    placed = condition(decided, "Placed")
    assert (placed["status"], placed["reason"]) == ("False", Reason.TRUST_TOO_OLD)
    assert "newest proof is 601 s old (node tk-1)" in placed["message"]


def test_what_was_proven_before_and_not_now_places_nothing() -> None:
    before = replace(NODE, attested=("snp", "tpm"))
    patch = spell_result(before, result("tpm", ago=1))
    assert patch["labels"][f"{NODE_TRUST_PREFIX}snp-attested-at"] is None
    assert condition(decide(patch, any_of=["snp"]), "Placed")["reason"] == Reason.TRUST_MISSING


def test_what_is_withdrawn_places_nothing() -> None:
    before = replace(NODE, attested=("tpm",))
    patch = spell_withdrawal(before, Reason.EVIDENCE_STALE, "it ended")
    assert condition(decide(patch, any_of=["tpm"]), "Placed")["reason"] == Reason.TRUST_MISSING
    assert patch["annotations"][f"{NODE_TRUST_PREFIX}refusal"] == "EvidenceStale: it ended"


def test_a_withdrawal_keeps_the_key_and_bounds_what_it_tells() -> None:
    patch = spell_withdrawal(replace(NODE, ak_name="000b"), Reason.APPRAISAL_FAILED, "x" * 5000)
    assert not any("ak-name" in key or "ek-digest" in key for key in patch["annotations"])
    assert len(patch["annotations"][f"{NODE_TRUST_PREFIX}refusal"]) == 512
