"""Evidence is this pod's, for this challenge and these rules, of hardware that class, owner and tenant ask for."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from sekisho.attest.claims import Claims, TcbStatus, Tee
from sekisho.broker.decide import ReleaseFacts, ReleaseRules, decide_release
from sekisho.broker.telling import BEGIN_ANEW, tell
from sekisho.errors import Reason, RefusedError
from tests.unit.attest.claims import AK, NOW, SNP, TPM, build_gpu
from tests.unit.broker.release_cases import (
    EVIDENCE,
    build_evidence,
    build_facts,
    build_law,
    build_owner,
    build_rules,
    build_site,
    build_tenant,
)

OTHER = "sha256:" + "e" * 64
SPEC = type(build_evidence())


def refuse(facts: ReleaseFacts) -> tuple[Reason, str]:
    with pytest.raises(RefusedError) as refused:
        decide_release(facts)
    return refused.value.reason, refused.value.message


@pytest.mark.parametrize("purpose", ["evicted", "node", ""])
def test_evidence_made_for_another_purpose_releases_nothing(purpose: str) -> None:
    assert refuse(build_facts(binding={"purpose": purpose})) == (
        Reason.EVIDENCE_NOT_BOUND, f'evidence made for "{purpose}" releases no key; release and renew do',
    )  # fmt: skip


@pytest.mark.parametrize("changes", [{"namespace": "web"}, {"pod": "chat-predictor-2"}, {"uid": "uid-2"}])
def test_evidence_made_for_another_pod_releases_nothing(changes: dict[str, str]) -> None:
    made = {"namespace": "legal", "pod": "chat-predictor-1", "uid": "uid-1", **changes}
    who = f"{made['namespace']}/{made['pod']} ({made['uid']})"
    assert refuse(build_facts(binding=changes)) == (
        Reason.EVIDENCE_NOT_BOUND,
        f"the evidence was made for pod {who}, asked has legal/chat-predictor-1 (uid-1)",
    )


def test_rules_that_changed_since_the_challenge_want_a_new_one() -> None:
    facts = build_facts(binding={"policy_digest": OTHER})
    reason, message = refuse(facts)
    assert reason == Reason.CHALLENGE_UNKNOWN
    assert message.startswith(f"the challenge was made under rules {OTHER}, by now they are sha256:")
    assert message.endswith("; ask for a new one")
    stale = replace(build_facts(), rules=build_rules(sites={"tokyo": build_site(operatedBy="other")}))
    assert refuse(stale)[0] == Reason.CHALLENGE_UNKNOWN


UNBOUND = "snp evidence sha256:5a5a5a5a5a5a was not made for this challenge, key and pod"


@pytest.mark.parametrize(
    "field", ["nonce", "public_key", "isolation_digest", "question_digest", "purpose"]
)  # fmt: skip
def test_evidence_made_for_anything_else_is_not_bound(field: str) -> None:
    facts = build_facts()
    other: dict[str, Any] = {
        "nonce": b"m" * 32, "public_key": b"l" * 32, "isolation_digest": OTHER, "question_digest": OTHER,
        "purpose": "renew",
    }  # fmt: skip
    moved = replace(facts, binding=replace(facts.binding, **{field: other[field]}))
    assert refuse(moved) == (Reason.EVIDENCE_NOT_BOUND, UNBOUND)


@pytest.mark.parametrize("data", [b"", b"\x00" * 64, b"bound"])
def test_evidence_bound_to_nothing_is_refused(data: bytes) -> None:
    facts = build_facts()
    assert refuse(replace(facts, claims=(replace(SNP, bound_data=data),))) == (Reason.EVIDENCE_NOT_BOUND, UNBOUND)


def test_each_form_that_hardware_gives_the_binding_counts_and_no_part_of_one() -> None:
    facts = build_facts()
    short, long = facts.binding.digest(32), facts.binding.digest(64)
    for data in (long, short, short + bytes(32), short.hex().encode()):
        assert decide_release(replace(facts, claims=(replace(SNP, bound_data=data),))).lease_seconds == 600
    for data in (long[:32], short + b"\x01" + bytes(31), short[:31], short.hex().upper().encode(), long + b"x"):
        assert refuse(replace(facts, claims=(replace(SNP, bound_data=data),)))[0] == Reason.EVIDENCE_NOT_BOUND


def test_every_piece_must_be_bound() -> None:
    facts = build_facts(claims=(SNP, build_gpu(1)))
    for place in (0, 1):
        claims = list(facts.claims)
        claims[place] = replace(claims[place], bound_data=b"x" * 64)
        assert refuse(replace(facts, claims=tuple(claims)))[0] == Reason.EVIDENCE_NOT_BOUND


def test_what_is_never_acceptable_is_refused_before_any_policy() -> None:
    debug = build_facts(claims=(replace(SNP, debug=True),), rules=build_rules(evidence={}))
    assert refuse(debug)[0] == Reason.DEBUG_ENABLED
    assert refuse(build_facts(claims=())) == (Reason.EVIDENCE_MISSING, "no evidence was brought")


TPM_RULE = {"tee": "tpm", "measurements": [TPM.measurement.hex()]}
SNP_RULE = EVIDENCE["anyOf"][0]["evidence"][0]


def tpm_rules(**changes: Any) -> ReleaseRules:
    spec = SPEC.model_validate({"anyOf": [{"name": "a", "evidence": [TPM_RULE]}]})
    return build_rules(evidence={"genoa": spec}, **changes)


@pytest.mark.parametrize(
    ("node_key", "chip"), [(None, AK), (b"\x78" * 32, AK), (AK, None), (AK, b"\x78" * 32), (b"", AK), (None, None)]
)
def test_a_tpm_counts_only_where_it_is_enrolled_for_the_pods_node(node_key: bytes | None, chip: bytes | None) -> None:
    facts = build_facts(
        rules=tpm_rules(),
        claims=(replace(TPM, chip_id=chip),),
        workload={"node_key": node_key, "service_class": "internal"},
    )
    assert refuse(facts) == (
        Reason.CHIP_UNKNOWN,
        "tpm evidence sha256:7b7b7b7b7b7b is of another TPM than that enrolled for node tk-1 of the pod",
    )


def test_the_tpm_of_the_pods_node_counts() -> None:
    facts = build_facts(rules=tpm_rules(), claims=(TPM,), workload={"node_key": AK, "service_class": "internal"})
    assert decide_release(facts).evidence_digest == TPM.evidence_digest


def test_the_class_wants_one_of_its_kinds_of_hardware_whatever_the_grants_want() -> None:
    facts = build_facts(rules=tpm_rules(), claims=(TPM,), workload={"node_key": AK})
    assert refuse(facts) == (
        Reason.EVIDENCE_MISSING, "class confidential.gdpr wants snp or tdx, the evidence is of tpm",
    )  # fmt: skip


def test_hardware_behind_a_virtual_tpm_counts_for_the_class() -> None:
    spec = SPEC.model_validate({"anyOf": [{"name": "a", "evidence": [TPM_RULE, {**SNP_RULE, "behind": "tpm"}]}]})
    facts = build_facts(
        rules=build_rules(evidence={"genoa": spec}), claims=(replace(TPM, parts=(SNP,)),), workload={"node_key": AK}
    )
    assert decide_release(facts).evidence_policies == ("genoa",)


OWN = replace(TPM, chip_id=b"\x99" * 32, facts=(("ak-trust", "hardware"),), parts=(SNP,))
BEHIND = {**SNP_RULE, "behind": "tpm"}


def own_rules(*alternatives: list[dict[str, Any]]) -> ReleaseRules:
    spelt = [{"name": f"a{number}", "evidence": each} for number, each in enumerate(alternatives)]
    return build_rules(evidence={"genoa": SPEC.model_validate({"anyOf": spelt})})


@pytest.mark.parametrize(
    "rule", [TPM_RULE, {"tee": "tpm", "registers": [{"name": "pcr4", "values": [(b"\x66" * 32).hex()]}]}]
)
def test_a_guests_own_virtual_tpm_counts_by_the_hardware_behind_it(rule: dict[str, Any]) -> None:
    for key in (AK, None):
        facts = build_facts(rules=own_rules([rule, BEHIND]), claims=(OWN,), workload={"node_key": key})
        assert decide_release(facts).evidence_digest == TPM.evidence_digest


@pytest.mark.parametrize(
    "changes",
    [{"facts": ()}, {"facts": (("ak-trust", "certified"),)}, {"parts": ()}, {"parts": (replace(TPM, chip_id=b"x"),)}],
    ids=["nothing told", "certified", "nothing behind", "a TPM behind"],
)
def test_a_virtual_tpm_that_no_hardware_vouches_for_is_one_of_nodes(changes: dict[str, Any]) -> None:
    facts = build_facts(
        rules=own_rules([TPM_RULE, BEHIND]), claims=(replace(OWN, **changes),), workload={"node_key": AK}
    )
    assert refuse(facts)[0] == Reason.CHIP_UNKNOWN


FACT_RULE = {"tee": "tpm", "facts": [{"name": "ak-trust", "values": ["hardware"]}]}


@pytest.mark.parametrize("alternative", [[BEHIND], [FACT_RULE, BEHIND]], ids=["no rule", "facts alone"])
def test_a_policy_that_would_take_any_machine_of_a_provider_releases_nothing(alternative: list[dict[str, Any]]) -> None:
    facts = build_facts(rules=own_rules([TPM_RULE, BEHIND], alternative), claims=(OWN,), workload={"node_key": AK})
    reason, message = refuse(facts)
    assert reason == Reason.APPRAISAL_FAILED
    assert message == (
        'evidence policy "genoa", alternative "a1", takes hardware behind a virtual tpm and says nothing of the tpm\'s '
        "registers: any machine of that provider would do; name what it must have booted"
    )


def test_such_a_policy_releases_nothing_whatever_comes_beside_the_virtual_tpm() -> None:
    facts = build_facts(rules=own_rules([SNP_RULE], [BEHIND]), claims=(SNP, OWN), workload={"node_key": AK})
    assert 'alternative "a1", takes hardware behind a virtual tpm' in refuse(facts)[1]


def test_what_a_policy_says_of_virtual_tpms_is_nothing_to_evidence_without_one() -> None:
    facts = build_facts(rules=own_rules([SNP_RULE], [BEHIND]))
    assert decide_release(facts).evidence_digest == SNP.evidence_digest


def test_an_alternative_without_any_tpm_needs_no_registers() -> None:
    facts = build_facts(rules=own_rules([TPM_RULE, BEHIND], [SNP_RULE]), claims=(OWN,), workload={"node_key": AK})
    assert decide_release(facts).evidence_digest == TPM.evidence_digest


def test_a_trust_domain_behind_a_guests_own_virtual_tpm_counts_too() -> None:
    usual = (("migratable", "false"), ("sept-ve-disable", "true"))
    domain = replace(SNP, tee=Tee.TDX, tcb_status=TcbStatus.UP_TO_DATE, facts=usual)
    rule = {"tee": "tdx", "measurements": [SNP.measurement.hex()], "behind": "tpm"}
    facts = build_facts(
        rules=own_rules([TPM_RULE, rule]), claims=(replace(OWN, parts=(domain,)),), workload={"node_key": AK}
    )
    assert decide_release(facts).evidence_digest == TPM.evidence_digest


def test_a_guests_own_virtual_tpm_that_booted_something_else_gets_no_key() -> None:
    other = replace(OWN, measurement=b"\x01" * 32)
    facts = build_facts(rules=own_rules([TPM_RULE, BEHIND]), claims=(other,), workload={"node_key": AK})
    assert refuse(facts)[0] == Reason.MEASUREMENT_UNKNOWN


def test_a_class_that_can_be_satisfied_by_nothing_gets_no_key() -> None:
    law = build_law(compartments=[{"name": "gdpr", "rules": {"trust": {"anyOf": ["tpm"]}}}, {"name": "gpu"}])
    assert refuse(build_facts(rules=build_rules(law=law))) == (
        Reason.EVIDENCE_MISSING,
        "class confidential.gdpr wants evidence that is none, the evidence is of snp",
    )


GPU = {"service_class": "confidential.gpu"}


@pytest.mark.parametrize(
    ("gpus", "brought", "least"), [(0, 0, 1), (1, 0, 1), (2, 1, 2), (3, 2, 3)]
)  # fmt: skip
def test_a_class_that_wants_device_trust_wants_it_of_each_device(gpus: int, brought: int, least: int) -> None:
    claims = (SNP, *(build_gpu(number) for number in range(1, brought + 1)))
    reason, message = refuse(build_facts(claims=claims, workload={**GPU, "gpus": gpus}))
    assert reason == Reason.EVIDENCE_MISSING
    assert message == f"class confidential.gpu wants nvidia-cc of each of {least} devices, the evidence is of {brought}"


@pytest.mark.parametrize(("gpus", "brought"), [(0, 1), (1, 1), (2, 2), (0, 3)])
def test_evidence_of_every_device_is_enough(gpus: int, brought: int) -> None:
    claims = (SNP, *(build_gpu(number) for number in range(1, brought + 1)))
    assert decide_release(build_facts(claims=claims, workload={**GPU, "gpus": gpus})).lease_seconds == 600


def test_a_class_may_want_device_trust_alone() -> None:
    pod = {"service_class": "internal.gpu", "gpus": 1}
    assert decide_release(build_facts(claims=(SNP, build_gpu(1)), workload=pod)).lease_seconds == 900
    assert refuse(build_facts(workload=pod))[0] == Reason.EVIDENCE_MISSING


def test_devices_are_held_against_each_other() -> None:
    pod = {"gpus": 2, "service_class": "internal"}
    more = build_facts(claims=(SNP, *map(build_gpu, (1, 2, 3))), workload=pod)
    assert refuse(more) == (Reason.EVIDENCE_MISSING, "there is evidence of 3 GPUs, 2 must be there")
    swapped = (SNP, build_gpu(1), build_gpu(2, facts=(("key", "k1"), ("measurements", "matched"), ("mode", "SPT"))))
    assert refuse(build_facts(claims=swapped, workload=pod))[0] == Reason.EVIDENCE_INVALID
    switches = (SNP, build_gpu(1), build_gpu(2, tee=Tee.NVIDIA_SWITCH))
    reason, message = refuse(build_facts(claims=switches, workload={"service_class": "internal"}))
    assert reason == Reason.APPRAISAL_FAILED
    assert "is wired to" in message
    alone = build_facts(claims=(SNP, build_gpu(2, tee=Tee.NVIDIA_SWITCH)), workload={**pod, "gpus": 0})
    assert decide_release(alone).lease_seconds == 900
    other = replace(alone.claims[1], bound_data=alone.binding.digest(64))
    assert refuse(replace(alone, claims=(alone.claims[0], other)))[0] == Reason.EVIDENCE_NOT_BOUND


def test_devices_of_a_pod_need_no_evidence_where_nobody_asks_for_it() -> None:
    assert decide_release(build_facts(workload={"gpus": 2})).lease_seconds == 600


def test_a_device_answers_with_the_nonce_of_32_bytes_and_no_other_form() -> None:
    facts = build_facts(claims=(SNP, build_gpu(1)), workload={"service_class": "internal"})
    assert decide_release(facts).lease_seconds == 900
    long = replace(facts.claims[1], bound_data=facts.binding.digest(64))
    assert refuse(replace(facts, claims=(facts.claims[0], long)))[0] == Reason.EVIDENCE_NOT_BOUND


def test_a_device_behind_other_evidence_is_not_counted_for_one_of_the_pods() -> None:
    claims = (replace(SNP, parts=(build_gpu(1),)),)
    assert refuse(build_facts(claims=claims, workload={**GPU, "gpus": 1}))[0] == Reason.EVIDENCE_MISSING


def test_an_evidence_policy_that_is_not_there_refuses() -> None:
    assert refuse(build_facts(rules=build_rules(evidence={}))) == (
        Reason.POLICY_MISSING, 'there is no EvidencePolicy "genoa" that can be read',
    )  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "workload", "most"),
    [(120.001, {}, 120), (120.001, {"service_class": "internal"}, 120)],
)
def test_evidence_for_an_old_challenge_is_stale(seconds: float, workload: dict[str, Any], most: int) -> None:
    facts = build_facts(challenged_at=NOW - timedelta(seconds=seconds), workload=workload)
    assert refuse(facts) == (
        Reason.EVIDENCE_STALE,
        f'the challenge is {seconds:.0f} s old, evidence policy "genoa" is demanded within {most} s of it',
    )


def test_a_clock_that_was_set_back_since_the_challenge_wants_a_new_one_and_ends_no_lease() -> None:
    reason, message = refuse(build_facts(challenged_at=NOW + timedelta(seconds=2)))
    assert (reason, message) == (
        Reason.CHALLENGE_UNKNOWN, "the broker's clock was set back by 2 s since the challenge; ask for a new one",
    )  # fmt: skip
    assert tell(RefusedError(reason, message)).status == BEGIN_ANEW


def test_the_class_may_want_fresher_evidence_than_the_owner() -> None:
    rules = build_rules(owners=(build_owner(evidence={"policy": "genoa", "maxAgeSeconds": 3600}),))
    facts = build_facts(rules=rules, challenged_at=NOW - timedelta(seconds=601))
    assert refuse(facts)[1].endswith('evidence policy "genoa" is demanded within 600 s of it')
    assert decide_release(replace(facts, challenged_at=NOW - timedelta(seconds=600))).lease_seconds == 600
    assert decide_release(replace(facts, challenged_at=NOW)).lease_seconds == 600


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"measurement": b"\x12" * 48}, Reason.MEASUREMENT_UNKNOWN),
        ({"chip_id": b"\x45" * 64}, Reason.CHIP_UNKNOWN),
        ({"chip_id": None}, Reason.CHIP_UNKNOWN),
        ({"tcb": (("microcode", 83),)}, Reason.TCB_TOO_OLD),
        ({"tcb_status": TcbStatus.OUT_OF_DATE}, Reason.TCB_TOO_OLD),
        ({"advisories": ("A-1",)}, Reason.TCB_TOO_OLD),
        ({"tee": Tee.TDX}, Reason.EVIDENCE_MISSING),
    ],
)
def test_evidence_that_the_owners_policy_refuses_releases_nothing(changes: dict[str, Any], reason: Reason) -> None:
    assert refuse(build_facts(claims=(replace(SNP, **changes),)))[0] == reason


def test_an_evidence_policy_for_machines_of_another_site_does_not_count() -> None:
    spec = SPEC.model_validate({"anyOf": [{**EVIDENCE["anyOf"][0], "sites": ["osaka"]}]})
    assert refuse(build_facts(rules=build_rules(evidence={"genoa": spec}))) == (
        Reason.APPRAISAL_FAILED, 'evidence policy "genoa" describes machines of osaka, not of site "tokyo"',
    )  # fmt: skip


def both(**changes: Any) -> ReleaseRules:
    mine = {"policy": "mine", "maxAgeSeconds": 60}
    evidence = {"genoa": build_evidence(), "mine": build_evidence(**changes)}
    return build_rules(tenants=(build_tenant(evidence=mine),), evidence=evidence)


def test_the_tenants_evidence_policy_must_hold_too() -> None:
    assert decide_release(build_facts(rules=both())).evidence_policies == ("genoa", "mine")
    reason, message = refuse(build_facts(rules=both(chips=["99" * 64])))
    assert reason == Reason.CHIP_UNKNOWN
    assert message.startswith('evidence policy "mine": ')
    facts = build_facts(rules=both(), challenged_at=NOW - timedelta(seconds=61))
    assert refuse(facts)[1] == 'the challenge is 61 s old, evidence policy "mine" is demanded within 60 s of it'


def test_a_policy_that_both_sides_name_is_told_once() -> None:
    rules = build_rules(tenants=(build_tenant(evidence={"policy": "genoa"}),))
    assert decide_release(build_facts(rules=rules)).evidence_policies == ("genoa",)


def test_pieces_of_evidence_of_one_device_do_not_count_for_two() -> None:
    claims: tuple[Claims, ...] = (SNP, build_gpu(1), build_gpu(1))
    assert refuse(build_facts(claims=claims, workload={**GPU, "gpus": 2}))[0] == Reason.APPRAISAL_FAILED
