"""Appraisal: what is never acceptable, whatever a policy says; then the policy; at the time given."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from sekisho.attest.appraise import Appraisal, AppraisalPolicy, appraise, find_shown, find_unacceptable
from sekisho.attest.claims import Claims, TcbStatus, Tee, Window
from sekisho.attest.rules import AllOf, AnyOf, Behind, Every, FactIn, MeasurementIn, Pieces
from sekisho.errors import Reason, RefusedError
from tests.unit.attest.claims import MEASUREMENT, NOW, SNP, TPM, WINDOW, build_gpu

POLICY = AppraisalPolicy("genoa", Every(Tee.SNP, MeasurementIn(frozenset({MEASUREMENT}))))
# Accepts whatever claims these facts: only what is never acceptable is left to refuse.
CARELESS = AppraisalPolicy("careless", Every(Tee.SNP, FactIn("product", frozenset({"Genoa"}))))
SECOND = timedelta(seconds=1)


def refusal(claims: tuple[Claims, ...], policy: AppraisalPolicy = CARELESS, **changes: Any) -> tuple[Reason, str]:
    with pytest.raises(RefusedError) as refused:
        appraise(claims, policy, now=changes.get("now", NOW))
    return refused.value.reason, refused.value.message


PREFIX = 'evidence policy "careless": snp evidence sha256:5a5a5a5a5a5a: '
UNACCEPTABLE = {
    "an environment open to debugging": (
        {"debug": True}, Reason.DEBUG_ENABLED, "the environment is open to debugging, which no key is released to",
    ),
    "a revoked platform": (
        {"tcb_status": TcbStatus.REVOKED}, Reason.EVIDENCE_REVOKED,
        "the vendor has revoked the platform's security version",
    ),
    "a report of a lesser privilege level": (
        {"facts": (("product", "Genoa"), ("vmpl", "1"))}, Reason.APPRAISAL_FAILED,
        "the report was asked for from VMPL 1, only VMPL 0 counts",
    ),
    "a report of no privilege level": (
        {"facts": (("product", "Genoa"),)}, Reason.APPRAISAL_FAILED,
        "the report was asked for from no VMPL, only VMPL 0 counts",
    ),
    "a measurement of zeros": (
        {"measurement": bytes(48)}, Reason.MEASUREMENT_UNKNOWN,
        "its measurement is all zero, so nothing was measured",
    ),
    "no measurement": ({"measurement": b""}, Reason.MEASUREMENT_UNKNOWN, "it has no measurement"),
    "collateral from the past": (
        {"window": Window(NOW - SECOND * 2, NOW - SECOND)}, Reason.COLLATERAL_EXPIRED,
        "what it rests on is valid from 2026-11-29T11:59:58Z to 2026-11-29T11:59:59Z, now is 2026-11-29T12:00:00Z",
    ),
    "collateral from the future": (
        {"window": Window(NOW + SECOND, NOW + SECOND * 2)}, Reason.COLLATERAL_EXPIRED,
        "what it rests on is valid from 2026-11-29T12:00:01Z to 2026-11-29T12:00:02Z, now is 2026-11-29T12:00:00Z",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "reason", "message"), UNACCEPTABLE.values(), ids=UNACCEPTABLE)
def test_some_evidence_is_refused_whatever_the_policy_says(
    changes: dict[str, Any], reason: Reason, message: str
) -> None:
    bad = replace(SNP, **changes)
    assert refusal((bad,)) == (reason, PREFIX + message)
    # As one piece among good ones, and behind another, in any place.
    good = replace(SNP, chip_id=b"\x45" * 64)
    assert refusal((good, bad))[0] == reason
    assert refusal((bad, good))[0] == reason
    assert refusal((good, replace(TPM, parts=(bad,))))[0] == reason
    assert refusal((good, replace(TPM, parts=(replace(TPM, parts=(bad,)),))))[0] == reason


def test_evidence_that_says_nothing_is_refused() -> None:
    assert refusal(()) == (Reason.EVIDENCE_MISSING, 'evidence policy "careless": no evidence was brought')


@pytest.mark.parametrize("tee", [Tee.SNP, Tee.TDX, Tee.SGX, Tee.NITRO])
def test_what_measures_code_must_have_measured_some(tee: Tee) -> None:
    found = find_unacceptable((replace(SNP, tee=tee, measurement=b""),), now=NOW)
    assert found is not None
    assert found.reason == Reason.MEASUREMENT_UNKNOWN


@pytest.mark.parametrize("tee", [Tee.TPM, Tee.NVIDIA_GPU, Tee.NVIDIA_SWITCH, Tee.RESULT])
def test_what_measures_no_code_may_have_no_measurement(tee: Tee) -> None:
    assert find_unacceptable((replace(SNP, tee=tee, measurement=b"", facts=()),), now=NOW) is None
    zeros = find_unacceptable((replace(SNP, tee=tee, measurement=bytes(32), facts=()),), now=NOW)
    assert zeros is not None
    assert zeros.reason == Reason.MEASUREMENT_UNKNOWN


def test_a_measurement_with_some_zeros_is_one() -> None:
    assert find_unacceptable((replace(SNP, measurement=bytes(47) + b"\x01"),), now=NOW) is None


def test_the_ends_of_the_window_count() -> None:
    assert appraise((replace(SNP, window=Window(NOW, NOW)),), POLICY, now=NOW).not_after == NOW


def test_one_device_does_not_count_for_two() -> None:
    pieces = (SNP, build_gpu(1), build_gpu(2), build_gpu(1, evidence_digest="sha256:" + "9" * 64))
    assert refusal(pieces) == (
        Reason.APPRAISAL_FAILED, 'evidence policy "careless": two pieces of nvidia-gpu evidence speak of one device',
    )  # fmt: skip
    # Masked devices, and devices of different kinds, are not the same one.
    masked = (SNP, build_gpu(1, chip_id=None), build_gpu(2, chip_id=None), replace(TPM, chip_id=SNP.chip_id))
    assert appraise(masked, CARELESS, now=NOW).policy == "careless"


def test_a_policy_refuses_by_its_name() -> None:
    reason, message = refusal((replace(SNP, measurement=b"\x12" * 48),), POLICY)
    assert reason == Reason.MEASUREMENT_UNKNOWN
    assert message.startswith('evidence policy "genoa": snp evidence sha256:5a5a5a5a5a5a: measurement 1212')


def test_the_message_is_bounded() -> None:
    policy = AppraisalPolicy("n" * 2000, POLICY.rule)
    assert len(refusal((TPM,), policy)[1]) == 1024


def test_what_is_never_acceptable_comes_before_the_policy() -> None:
    assert refusal((replace(SNP, measurement=b"\x12" * 48, debug=True),), POLICY)[0] == Reason.DEBUG_ENABLED


def test_good_evidence_is_told_with_the_time_until_which_it_rests_on_valid_collateral() -> None:
    early = Window(WINDOW.not_before, NOW + timedelta(hours=1))
    tpm = replace(TPM, parts=(replace(SNP, window=early),))
    assert appraise((SNP, tpm), POLICY, now=NOW) == Appraisal(
        policy="genoa",
        evidence=(SNP.evidence_digest, TPM.evidence_digest),
        not_after=NOW + timedelta(hours=1),
    )


def is_genoa(least: int = 1) -> Every:
    return Every(Tee.SNP, FactIn("product", frozenset({"Genoa"})), least)


def is_matched() -> Every:
    return Every(Tee.NVIDIA_GPU, FactIn("measurements", frozenset({"matched"})))


def has_boot(*values: bytes) -> Every:
    return Every(Tee.TPM, MeasurementIn(frozenset(values)))


class Whatever:
    """A rule that speaks of no kind."""

    def judge(self, _subject: Pieces) -> None:
        return None


def test_only_what_an_alternative_that_holds_speaks_of_is_shown() -> None:
    rule = AnyOf((
        ("machine", AllOf((is_genoa(), is_matched()))),
        ("boot", has_boot(TPM.measurement)),
        ("strange boot", AllOf((has_boot(b"other"), is_genoa()))),
    ))  # fmt: skip
    policy = AppraisalPolicy("nodes", rule)
    gpu, loose = build_gpu(1), build_gpu(1, facts=(("key", "k1"), ("measurements", "unchecked")))
    assert find_shown((SNP, TPM, gpu), policy) == {Tee.SNP, Tee.NVIDIA_GPU, Tee.TPM}
    assert find_shown((SNP, TPM, loose), policy) == {Tee.TPM}
    assert find_shown((SNP, gpu), policy) == {Tee.SNP, Tee.NVIDIA_GPU}


def test_what_stands_behind_evidence_is_shown_with_it_and_a_rule_of_no_kind_shows_nothing() -> None:
    behind = AppraisalPolicy("azure", Behind(Tee.TPM, is_genoa()))
    assert find_shown((replace(TPM, parts=(SNP,)),), behind) == {Tee.SNP, Tee.TPM}
    assert find_shown((SNP,), AppraisalPolicy("whatever", Whatever())) == frozenset()
