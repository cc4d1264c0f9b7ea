"""What is known of the weights of a Model: what the depot found, whether it counts, and who approved it."""

from typing import Any

import pytest

from sekisho.plan.sealing import take_facts
from tests.unit.plan.seals import (
    ARTIFACT,
    MANIFEST,
    approve,
    build_inspection,
    plain_inspection,
    refused_inspection,
    sealed_model,
    see,
)
from tests.unit.plan.worlds import POLICY, build_policy

OTHER = "sha256:" + "11" * 32
BAD_APPROVALS: dict[str, tuple[dict[str, Any], str]] = {
    "of another manifest": (approve(digest=OTHER), f'the approval of "board" does not hold for {MANIFEST}'),
    "of another role by its own key": (approve(key="release"), 'the approval of "board" does not hold'),
    "by a stranger": (approve(key="stranger"), 'the approval of "board" does not hold'),
    "in the name of another": ({**approve(), "by": "somebody@else.test"}, 'the approval of "board" does not hold'),
    "of another day": ({**approve(), "at": "2026-11-26T06:00:00Z"}, 'the approval of "board" does not hold'),
    "of a day to come": (approve(at="2030-01-01T00:00:00Z"), "which is still to come"),
    "in a role nobody has": (approve("nobody"), 'the policy has no signer "nobody"'),
    "that says nothing": ({**approve(), "signature": "AAAAAAAAAAAAAAAAAAAA"}, "approval"),
}


@pytest.mark.parametrize("name", BAD_APPROVALS)
def test_an_approval_does_not_count(name: str) -> None:
    approval, problem = BAD_APPROVALS[name]
    assert problem in see(sealed_model(approvals=[approval])).approvals[approval["role"]]


def test_an_approval_of_the_role_for_this_manifest_counts() -> None:
    assert see(sealed_model(approvals=[approve()])).approvals == {"board": ""}


def test_no_approval_counts_while_a_signer_of_the_policy_cannot_be_read() -> None:
    shared = [{**item, "publicKeys": POLICY["signers"][0]["publicKeys"]} for item in POLICY["signers"]]  # type: ignore[index]
    policy = build_policy().model_validate({**POLICY, "signers": shared})
    model = sealed_model(build_inspection(policy), approvals=[approve()])
    assert "share a key" in see(model, policy).approvals["board"]


@pytest.mark.parametrize(
    "inspection",
    [plain_inspection(), refused_inspection("SignatureMissing", "x"), build_inspection(uri="oci://other/x:1")],
)
def test_nothing_is_approved_where_there_is_no_manifest_that_counts(inspection: dict[str, Any]) -> None:
    assert see(sealed_model(inspection, approvals=[approve()])).approvals == {}


def test_weights_on_a_claim_are_plain_whatever_a_status_says() -> None:
    uri = "pvc://claim/models/x"
    seen = see(sealed_model(build_inspection(uri=uri), storageUri=uri))
    assert (seen.waits, seen.is_sealed) == ("", False)
    assert take_facts(seen.last) is None


def test_what_was_sealed_stays_sealed_until_the_depot_has_looked_again() -> None:
    seen = see(sealed_model(storageUri="oci://registry.example:5000/models/smollm2:2"))
    assert (seen.found, seen.is_sealed) == (None, True)
    assert "what it last saw was somewhere else" in seen.waits


def test_the_pod_is_told_what_was_found() -> None:
    seen = see(sealed_model(digest=ARTIFACT))
    facts = take_facts(seen.found)
    assert facts is not None
    assert (facts.manifest_digest, facts.model, facts.version) == (MANIFEST, "legal/smollm2", 7)
    assert (facts.data_class, facts.kms, facts.key_id, facts.key_version) == (
        "internal",
        "openbao",
        "transit/legal",
        "3",
    )


def test_nothing_is_told_of_what_was_refused() -> None:
    assert take_facts(see(sealed_model(refused_inspection("SealBroken", "x"))).found) is None
    assert take_facts(None) is None
