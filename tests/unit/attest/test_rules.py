"""Demands on evidence: each refuses in its own words, and says what was there and what was wanted."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sekisho.attest.claims import Claims, TcbStatus, Tee
from sekisho.attest.rules import (
    AdvisoriesAllowed,
    AllOf,
    AnyOf,
    Behind,
    ChipIn,
    ConfigurationIn,
    Every,
    FactIn,
    MeasurementIn,
    NothingBehind,
    RegisterIn,
    Rule,
    TcbAtLeast,
    TcbStatusIn,
)
from sekisho.errors import Reason, RefusedError
from tests.unit.attest.claims import CHIP, CONFIGURATION, MEASUREMENT, SNP, TPM, build_gpu

WHO = "snp evidence sha256:5a5a5a5a5a5a: "
GENUINE = MeasurementIn(frozenset({MEASUREMENT}))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: AllOf(()), "a combination of no rules would accept everything"),
        (lambda: AnyOf(()), "a choice among no rules accepts nothing"),
        (lambda: Every(Tee.SNP, GENUINE, 0), "evidence of which nothing is wanted accepts everything"),
        (lambda: MeasurementIn(frozenset()), "a list of no measurements accepts nothing"),
        (lambda: RegisterIn("pcr4", frozenset()), "a list of no values of a register accepts nothing"),
        (lambda: ConfigurationIn(frozenset()), "a list of no configurations accepts nothing"),
        (lambda: TcbStatusIn(frozenset()), "a list of no TCB statuses accepts nothing"),
        (lambda: ChipIn(frozenset()), "a list of no chips accepts nothing"),
        (lambda: FactIn("product", frozenset()), "a list of no values of a fact accepts nothing"),
    ],
)
def test_a_demand_of_nothing_cannot_be_built(build: Callable[[], object], message: str) -> None:
    with pytest.raises(RefusedError) as refused:
        build()
    assert (refused.value.reason, refused.value.message) == (Reason.POLICY_INVALID, message)


@pytest.mark.parametrize(
    ("rule", "changes", "reason", "message"),
    [
        (
            GENUINE, {"measurement": b"\x12" * 48}, Reason.MEASUREMENT_UNKNOWN,
            f"measurement {'12' * 48}; listed is 1111111111111111…",
        ),
        (
            MeasurementIn(frozenset(bytes([n]) * 48 for n in range(5))), {"measurement": b""},
            Reason.MEASUREMENT_UNKNOWN,
            "measurement is empty; listed is 0000000000000000…, 0101010101010101…, 0202020202020202… and 2 more",
        ),
        (
            MeasurementIn(frozenset(bytes([n]) * 48 for n in range(3))), {"measurement": b""},
            Reason.MEASUREMENT_UNKNOWN,
            "measurement is empty; listed is 0000000000000000…, 0101010101010101…, 0202020202020202…",
        ),
        (
            RegisterIn("r0", frozenset({b"\x23" * 48})), {}, Reason.MEASUREMENT_UNKNOWN,
            f"register r0 {'22' * 48}; listed is 2323232323232323…",
        ),
        (
            RegisterIn("r1", frozenset({b"\x23" * 48})), {}, Reason.MEASUREMENT_UNKNOWN,
            "register r1 is not told; listed is 2323232323232323…",
        ),
        (
            ConfigurationIn(frozenset({CONFIGURATION})), {"configuration": b""}, Reason.APPRAISAL_FAILED,
            "configuration is empty; listed is 3333333333333333…",
        ),
        (
            TcbAtLeast("microcode", 85), {}, Reason.TCB_TOO_OLD,
            "committed.microcode has version 84, 85 is the lowest",
        ),
        (
            TcbAtLeast("microcode", 84), {"tcb": (("launch.microcode", 83), ("microcode", 84))}, Reason.TCB_TOO_OLD,
            "launch.microcode has version 83, 84 is the lowest",
        ),
        (
            TcbAtLeast("microcode", 0), {"tcb": (("launch.microcode", 84),)}, Reason.TCB_TOO_OLD,
            "it does not tell the version of microcode",
        ),
        (
            TcbStatusIn(frozenset({TcbStatus.UP_TO_DATE, TcbStatus.SW_HARDENING_NEEDED})), {}, Reason.TCB_TOO_OLD,
            "its TCB status is Unknown, allowed is SWHardeningNeeded, UpToDate",
        ),
        (
            AdvisoriesAllowed(), {"advisories": ("A-3", "A-1", "A-4", "A-2")}, Reason.TCB_TOO_OLD,
            "advisories A-1, A-2, A-3 stand open, tolerated are none",
        ),
        (
            AdvisoriesAllowed(frozenset({"A-1", "A-0"})), {"advisories": ("A-1", "A-2")}, Reason.TCB_TOO_OLD,
            "advisories A-2 stand open, tolerated are A-0, A-1",
        ),
        (
            ChipIn(frozenset({CHIP})), {"chip_id": None}, Reason.CHIP_UNKNOWN,
            "it masks its chip, and one of 1 is wanted",
        ),
        (
            ChipIn(frozenset({CHIP, b"\x46" * 64})), {"chip_id": b"\x45" * 64}, Reason.CHIP_UNKNOWN,
            f"its chip {'45' * 64} is none of 2 that are listed",
        ),
        (
            FactIn("product", frozenset({"Milan", "Turin"})), {}, Reason.APPRAISAL_FAILED,
            'it says "Genoa" of product, wanted is Milan, Turin',
        ),
        (
            FactIn("product", frozenset({"Genoa"})), {"facts": ()}, Reason.APPRAISAL_FAILED,
            "it says nothing of product, wanted is Genoa",
        ),
        (
            FactIn("product", frozenset({"Milan"}), needed=False), {}, Reason.APPRAISAL_FAILED,
            'it says "Genoa" of product, wanted is Milan',
        ),
        (
            NothingBehind(), {"parts": (TPM,)}, Reason.APPRAISAL_FAILED,
            "tpm evidence vouches for it, and the policy says nothing of what stands behind",
        ),
    ],
)  # fmt: skip
def test_a_piece_of_evidence_is_refused_with_both_facts(
    rule: Rule[Claims], changes: dict[str, Any], reason: Reason, message: str
) -> None:
    found = rule.judge(replace(SNP, **changes))
    assert found is not None
    assert (found.reason, found.detail) == (reason, WHO + message)


@pytest.mark.parametrize(
    "rule",
    [
        MeasurementIn(frozenset({b"\x10" * 48, MEASUREMENT})),
        RegisterIn("r0", frozenset({b"\x22" * 48})),
        ConfigurationIn(frozenset({CONFIGURATION})),
        AllOf((TcbAtLeast("microcode", 84), TcbAtLeast("tee", 0))),
        TcbAtLeast("tee", 0),
        TcbStatusIn(frozenset({TcbStatus.UNKNOWN})),
        AdvisoriesAllowed(),
        ChipIn(frozenset({CHIP})),
        FactIn("product", frozenset({"Milan", "Genoa"})),
        NothingBehind(),
    ],
    ids=lambda rule: type(rule).__name__,
)
def test_a_piece_of_evidence_that_shows_what_is_wanted_holds(rule: Rule[Claims]) -> None:
    assert rule.judge(SNP) is None


def test_a_version_of_another_component_with_a_like_name_does_not_count() -> None:
    claims = replace(SNP, tcb=(("microcode", 84), ("xmicrocode", 1)))
    assert TcbAtLeast("microcode", 84).judge(claims) is None


def test_all_rules_must_hold_and_the_first_that_does_not_is_told() -> None:
    wrong, other = FactIn("product", frozenset({"Milan"})), TcbAtLeast("snp", 99)
    for rules, reason in (
        ((GENUINE, wrong, other), Reason.APPRAISAL_FAILED),
        ((GENUINE, other, wrong), Reason.TCB_TOO_OLD),
    ):
        found = AllOf(rules).judge(SNP)
        assert found is not None
        assert found.reason == reason
    assert AllOf((GENUINE, TcbAtLeast("snp", 23))).judge(SNP) is None


def test_one_alternative_is_enough() -> None:
    wrong = FactIn("product", frozenset({"Milan"}))
    assert AnyOf((("milan", wrong), ("known", GENUINE))).judge(SNP) is None
    assert AnyOf((("known", GENUINE), ("milan", wrong))).judge(SNP) is None


def test_where_no_alternative_holds_each_is_told_with_its_name() -> None:
    wrong, old = FactIn("product", frozenset({"Milan"})), TcbAtLeast("snp", 99)
    found = AnyOf((("milan", wrong), ("new", old))).judge(SNP)
    assert found is not None
    assert found.reason == Reason.APPRAISAL_FAILED
    assert found.detail == (
        f'none of 2 alternatives holds: "milan": {WHO}it says "Genoa" of product, wanted is Milan; '
        f'"new": {WHO}snp has version 23, 99 is the lowest'
    )
    strange = MeasurementIn(frozenset({b"\x12" * 48}))
    mixed = AnyOf((("strange", strange), ("new", old))).judge(SNP)
    assert mixed is not None
    assert mixed.reason == Reason.APPRAISAL_FAILED, "where reasons differ, neither is told as the reason"
    shared = AnyOf((("new", old), ("newer", TcbAtLeast("snp", 100)))).judge(SNP)
    assert shared is not None
    assert shared.reason == Reason.TCB_TOO_OLD


def test_the_only_alternative_is_told_as_it_is() -> None:
    found = AnyOf((("new", TcbAtLeast("snp", 99)),)).judge(SNP)
    assert found is not None
    assert found.detail == f"{WHO}snp has version 23, 99 is the lowest"


def test_many_alternatives_are_told_within_bounds() -> None:
    rules = tuple((f"a{number}", TcbAtLeast("snp", 99)) for number in range(64))
    found = AnyOf(rules).judge(SNP)
    assert found is not None
    assert len(found.detail) == 1024


MATCH = FactIn("measurements", frozenset({"matched"}))


def test_evidence_of_a_kind_must_be_there() -> None:
    found = Every(Tee.NVIDIA_GPU, MATCH, 2).judge((SNP, build_gpu(1)))
    assert found is not None
    assert found.reason == Reason.EVIDENCE_MISSING
    assert found.detail == "nvidia-gpu evidence of 2 devices is wanted, 1 are there (brought: nvidia-gpu, snp)"
    nothing = Every(Tee.SNP, GENUINE).judge(())
    assert nothing is not None
    assert nothing.detail == "snp evidence of 1 devices is wanted, 0 are there (brought: none)"


def test_every_piece_of_a_kind_must_hold_however_many_are_wanted() -> None:
    swapped = build_gpu(3, facts=(("measurements", "differ"),))
    for pieces in ((build_gpu(1), build_gpu(2), swapped), (swapped, build_gpu(1), build_gpu(2))):
        found = Every(Tee.NVIDIA_GPU, MATCH, 2).judge(pieces)
        assert found is not None
        assert found.reason == Reason.APPRAISAL_FAILED
    assert Every(Tee.NVIDIA_GPU, MATCH, 2).judge((build_gpu(1), build_gpu(2), SNP)) is None


def test_devices_that_cannot_be_told_apart_are_not_counted() -> None:
    pieces = (build_gpu(1), build_gpu(2, chip_id=None))
    found = Every(Tee.NVIDIA_GPU, MATCH, 2).judge(pieces)
    assert found is not None
    assert found.reason == Reason.CHIP_UNKNOWN
    assert found.detail == ("2 devices of nvidia-gpu are wanted, but a piece of evidence does not name its device")
    assert Every(Tee.NVIDIA_GPU, MATCH).judge(pieces) is None


def test_what_stands_behind_each_piece_must_hold() -> None:
    rule = Behind(Tee.TPM, Every(Tee.SNP, GENUINE))
    absent = rule.judge((SNP,))
    assert absent is not None
    assert (absent.reason, absent.detail) == (
        Reason.EVIDENCE_MISSING, "snp evidence is wanted behind tpm evidence; there is none",
    )  # fmt: skip
    backed, bare = replace(TPM, parts=(SNP,)), replace(TPM, chip_id=b"\x78" * 32)
    assert rule.judge((backed,)) is None
    for pieces in ((backed, bare), (bare, backed), (SNP, bare)):
        found = rule.judge(pieces)
        assert found is not None
        assert found.detail == "snp evidence of 1 devices is wanted, 0 are there (brought: none)"
    wrong = rule.judge((replace(TPM, parts=(replace(SNP, measurement=b"\x12" * 48),)),))
    assert wrong is not None
    assert wrong.reason == Reason.MEASUREMENT_UNKNOWN


def test_a_fact_that_is_not_needed_may_be_absent() -> None:
    silent = replace(SNP, facts=())
    assert FactIn("product", frozenset({"Milan"}), needed=False).judge(silent) is None
    assert FactIn("product", frozenset({"Milan"})).judge(silent) is not None
