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
    claims = replace(SNP, tee=Tee(tee), tcb_status=status)
    assert judge((claims,), {"tee": tee, "measurements": RULE["measurements"]}) == reason


def test_evidence_of_every_listed_kind_is_wanted_in_number() -> None:
    gpus = {"tee": "nvidia-gpu", "least": 2, "facts": [{"name": "measurements", "values": ["match"]}]}
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
