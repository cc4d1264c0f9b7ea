"""An EvidencePolicy as people write it becomes the policy that evidence is appraised by."""

from dataclasses import replace
from typing import Any

import pytest

from sekisho.api.v1alpha1.evidencepolicy import EvidencePolicySpec
from sekisho.attest.appraise import appraise
from sekisho.attest.claims import Claims, TcbStatus, Tee
from sekisho.errors import Reason, RefusedError
from sekisho.plan.evidence import read_evidence_policy
from tests.unit.attest.claims import CHIP, CONFIGURATION, MEASUREMENT, NOW, SNP, TPM, build_gpu

TDX_FACTS = (("migratable", "false"), ("mrservicetd", "00" * 48), ("sept-ve-disable", "true"))
RULE: dict[str, Any] = {
    "tee": "snp",
    "measurements": [MEASUREMENT.hex()],
    "registers": [{"name": "r0", "values": ["22" * 48]}],
    "configurations": [CONFIGURATION.hex()],
    "chips": [CHIP.hex()],
    "minimumTcb": [{"component": "microcode", "version": 84}, {"component": "snp", "version": 23}],
    "tcbStatuses": ["Unknown"],
    "toleratedAdvisories": ["A-1"],
    "facts": [{"name": "product", "values": ["Genoa"]}],
}


def judge(claims: tuple[Claims, ...], *rules: dict[str, Any], site: str = "tokyo", **changes: Any) -> Reason | None:
    alternative = {"name": "a", "evidence": list(rules or (RULE,)), **changes}
    spec = EvidencePolicySpec.model_validate({"anyOf": [alternative]})
    try:
        appraise(claims, read_evidence_policy("p", spec, site=site), now=NOW)
    except RefusedError as error:
        return error.reason
    return None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"measurement": b"\x12" * 48}, Reason.MEASUREMENT_UNKNOWN),
        ({"registers": ()}, Reason.MEASUREMENT_UNKNOWN),
        ({"configuration": b"\x34" * 32}, Reason.APPRAISAL_FAILED),
        ({"chip_id": None}, Reason.CHIP_UNKNOWN),
        ({"tcb": (("microcode", 83), ("snp", 23))}, Reason.TCB_TOO_OLD),
        ({"tcb": (("microcode", 84), ("snp", 22))}, Reason.TCB_TOO_OLD),
        ({"tcb_status": TcbStatus.UP_TO_DATE}, Reason.TCB_TOO_OLD),
        ({"advisories": ("A-1", "A-2")}, Reason.TCB_TOO_OLD),
        ({"facts": (("product", "Milan"), ("vmpl", "0"))}, Reason.APPRAISAL_FAILED),
        ({"tee": Tee.TDX}, Reason.EVIDENCE_MISSING),
    ],
    ids=str,
)
def test_every_field_of_a_rule_is_held(changes: dict[str, Any], reason: Reason) -> None:
    assert judge((replace(SNP, **changes),)) == reason


def test_evidence_that_shows_every_field_holds() -> None:
    assert judge((SNP,)) is None
    assert judge((replace(SNP, advisories=("A-1",)),)) is None


def test_what_is_left_out_is_not_asked_for() -> None:
    bare = {"tee": "snp", "measurements": RULE["measurements"], "minimumTcb": [{"component": "snp", "version": 0}]}
    assert judge((replace(SNP, chip_id=None, configuration=b"", registers=()),), bare) is None
    assert judge((replace(SNP, advisories=("A-1",)),), bare) == Reason.TCB_TOO_OLD


@pytest.mark.parametrize(
    ("tee", "status", "reason"),
    [
        ("tdx", TcbStatus.UNKNOWN, Reason.TCB_TOO_OLD),
        ("sgx", TcbStatus.UNKNOWN, Reason.TCB_TOO_OLD),
        ("tdx", TcbStatus.UP_TO_DATE, None),
        ("tdx", TcbStatus.OUT_OF_DATE, Reason.TCB_TOO_OLD),
        ("tdx", TcbStatus.REVOKED, Reason.EVIDENCE_REVOKED),
        ("nitro", TcbStatus.UNKNOWN, None),
        ("nitro", TcbStatus.UP_TO_DATE, None),
        ("nitro", TcbStatus.SW_HARDENING_NEEDED, Reason.TCB_TOO_OLD),
    ],
)
def test_a_status_that_is_not_listed_must_be_good_or_one_that_nobody_publishes(
    tee: str, status: TcbStatus, reason: Reason | None
) -> None:
    claims = replace(SNP, tee=Tee(tee), tcb_status=status, facts=TDX_FACTS)
    assert judge((claims,), {"tee": tee, "measurements": RULE["measurements"]}) == reason


def test_evidence_of_every_listed_kind_is_wanted_in_number() -> None:
    gpus = {"tee": "nvidia-gpu", "least": 2, "facts": [{"name": "measurements", "values": ["matched"]}]}
    assert judge((SNP, build_gpu(1), build_gpu(2)), RULE, gpus) is None
    assert judge((SNP, build_gpu(1)), RULE, gpus) == Reason.EVIDENCE_MISSING
    assert judge((build_gpu(1), build_gpu(2)), RULE, gpus) == Reason.EVIDENCE_MISSING


def test_evidence_behind_other_evidence_is_looked_for_there() -> None:
    tpm = {"tee": "tpm", "measurements": [TPM.measurement.hex()]}
    behind = {**RULE, "behind": "tpm"}
    assert judge((replace(TPM, parts=(SNP,)),), tpm, behind) is None
    assert judge((TPM, SNP), tpm, behind) == Reason.EVIDENCE_MISSING


def test_one_alternative_that_counts_at_the_site_is_enough() -> None:
    other = {**RULE, "measurements": ["99" * 48]}
    spec = EvidencePolicySpec.model_validate(
        {
            "anyOf": [
                {"name": "osaka", "sites": ["osaka"], "evidence": [RULE]},
                {"name": "tokyo", "sites": ["tokyo", "kyoto"], "evidence": [other]},
            ]
        }
    )
    assert appraise((SNP,), read_evidence_policy("p", spec, site="osaka"), now=NOW).policy == "p"
    with pytest.raises(RefusedError) as refused:
        appraise((SNP,), read_evidence_policy("p", spec, site="kyoto"), now=NOW)
    assert refused.value.reason == Reason.MEASUREMENT_UNKNOWN
    with pytest.raises(RefusedError) as nowhere:
        read_evidence_policy("p", spec, site="nara")
    assert nowhere.value.reason == Reason.APPRAISAL_FAILED
    assert nowhere.value.message == 'evidence policy "p" describes machines of kyoto, osaka, tokyo, not of site "nara"'


def test_an_alternative_without_sites_counts_anywhere() -> None:
    assert judge((SNP,), site="anywhere") is None
    assert judge((SNP,), site="tokyo", sites=["tokyo"]) is None


TDX = {"tee": "tdx", "measurements": RULE["measurements"], "tcbStatuses": ["Unknown"]}


@pytest.mark.parametrize(
    ("fact", "value", "reason"),
    [
        ("migratable", "true", Reason.APPRAISAL_FAILED),
        ("migratable", None, Reason.APPRAISAL_FAILED),
        ("sept-ve-disable", "false", Reason.APPRAISAL_FAILED),
        ("sept-ve-disable", None, Reason.APPRAISAL_FAILED),
        ("mrservicetd", "01" + "00" * 47, Reason.APPRAISAL_FAILED),
        ("mrservicetd", None, None),
        ("mrservicetd", "00" * 48, None),
    ],
)
def test_a_guest_of_tdx_that_others_hold_is_refused_unless_the_policy_names_the_fact(
    fact: str, value: str | None, reason: Reason | None
) -> None:
    facts = {name: said for name, said in {**dict(TDX_FACTS), fact: value}.items() if said is not None}
    claims = replace(SNP, tee=Tee.TDX, facts=tuple(sorted(facts.items())))
    assert judge((claims,), TDX) == reason
    named = {**TDX, "facts": [{"name": fact, "values": [value or "any"]}]}
    assert judge((claims,), named) == (None if value else Reason.APPRAISAL_FAILED)


@pytest.mark.parametrize("tee", ["nvidia-gpu", "nvidia-switch"])
def test_devices_that_nobody_compared_are_refused_unless_the_policy_names_the_fact(tee: str) -> None:
    bare = {"tee": tee, "facts": [{"name": "mode", "values": ["SPT"]}]}
    unchecked = build_gpu(1, tee=Tee(tee), facts=(("measurements", "unchecked"), ("mode", "SPT")))
    assert judge((replace(unchecked, facts=(("measurements", "matched"), ("mode", "SPT"))),), bare) is None
    assert judge((unchecked,), bare) == Reason.APPRAISAL_FAILED
    named = {**bare, "facts": [*bare["facts"], {"name": "measurements", "values": ["unchecked"]}]}  # type: ignore[misc]
    assert judge((unchecked,), named) is None


def test_a_virtual_tpm_counts_only_where_the_policy_says_what_stands_behind_it() -> None:
    tpm = {"tee": "tpm", "measurements": [TPM.measurement.hex()]}
    backed = replace(TPM, parts=(SNP,))
    assert judge((backed,), tpm) == Reason.APPRAISAL_FAILED
    assert judge((TPM,), tpm) is None
    assert judge((backed,), tpm, {**RULE, "behind": "tpm"}) is None
