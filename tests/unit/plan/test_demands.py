"""What a class demands of weights: each demand that does not hold refuses with its rule, the fact and the next step."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from sekisho.classify.lattice import DataClass
from sekisho.classify.rules import EffectiveWeights, rules_of
from sekisho.errors import Reason
from sekisho.plan.demands import KINDS, find_pending, find_refusal, judge_weights, list_demands
from sekisho.plan.sealing import Seen
from tests.unit.plan.seals import (
    DEMANDS,
    SCAN,
    approve,
    build_inspection,
    demanding,
    plain_inspection,
    refused_inspection,
    sealed_model,
    see,
)

WHO = "class confidential"
FINDINGS = {**SCAN, "result": "Findings", "findings": ["weights.pkl: os.system", "x.py: custom code"]}


def demand(**weights: Any) -> EffectiveWeights:
    return rules_of(demanding(**weights), DataClass(1, "internal")).weights


ALL = demand(**DEMANDS)


@dataclass(frozen=True, slots=True)
class Case:
    demands: EffectiveWeights
    inspection: dict[str, Any]
    reason: Reason
    words: str
    accepted: int = 0
    spec: dict[str, Any] = field(default_factory=dict)


REFUSED: dict[str, Case] = {
    "plain where sealed is demanded": Case(
        ALL, plain_inspection(), Reason.SEALED_WEIGHTS_REQUIRED,
        "class confidential demands weights.sealed: true; the weights of model smollm2 are plain; seal it (`sekisho "
        "seal`), have it signed (`sekisho sign`), push it and name it in storageUri",
    ),
    "plain where a signature is demanded": Case(
        demand(signedBy=["release", "board"]), plain_inspection(), Reason.SIGNATURE_MISSING,
        "class confidential demands weights.signedBy: board, release; the weights of model smollm2 are plain, and only "
        "sealed ones can show it",
    ),
    "plain where a scan is demanded": Case(
        demand(scan="Clean"), plain_inspection(), Reason.SCAN_MISSING, "demands weights.scan: Clean; the weights of"
    ),
    "plain where an evaluation is demanded": Case(
        demand(evaluated=["safety"]), plain_inspection(), Reason.EVALUATION_MISSING,
        "demands weights.evaluated: safety; the weights of model smollm2 are plain",
    ),
    "plain where an approval is demanded": Case(
        demand(approvedBy=["board"]), plain_inspection(), Reason.APPROVAL_MISSING,
        "demands weights.approvedBy: board; the weights of model smollm2 are plain", spec={"approvals": [approve()]},
    ),
    "signed by somebody else": Case(
        ALL, build_inspection(signedBy=["board"]), Reason.SIGNATURE_MISSING,
        "demands weights.signedBy: release; legal/smollm2 version 7 is signed by board, not by release; have them sign "
        "it (`sekisho sign`) and push it again",
    ),
    "signed by one of two": Case(
        demand(signedBy=["release", "board"]), build_inspection(), Reason.SIGNATURE_MISSING,
        "is signed by release, not by board",
    ),
    "an older version": Case(
        ALL, build_inspection(), Reason.VERSION_ROLLED_BACK,
        "model smollm2: legal/smollm2 version 7 is older than version 8, which was accepted before; seal it anew under "
        "a higher version", accepted=8,
    ),
    "an older version where nothing is demanded": Case(
        EffectiveWeights(), build_inspection(), Reason.VERSION_ROLLED_BACK, "is older than version 9", accepted=9
    ),
    "not scanned": Case(
        ALL, build_inspection(scan=None), Reason.SCAN_MISSING,
        "demands weights.scan: Clean; no scan is signed into legal/smollm2 version 7; scan it and seal it anew",
    ),
    "scanned with findings": Case(
        ALL, build_inspection(scan=FINDINGS), Reason.SCAN_FINDINGS,
        "was scanned by sekisho 1 at 2026-11-25T06:00:00Z: Findings (weights.pkl: os.system; x.py: custom code); "
        "remove what was found and seal it anew",
    ),
    "not evaluated": Case(
        ALL, build_inspection(evaluations=[]), Reason.EVALUATION_MISSING,
        "demands weights.evaluated: safety; signed into legal/smollm2 version 7 is no evaluation; evaluate it for "
        "safety, and seal it anew with the figures",
    ),
    "evaluated for something else": Case(
        demand(evaluated=["bias", "safety"]), build_inspection(), Reason.EVALUATION_MISSING,
        "signed into legal/smollm2 version 7 is safety 0.97; evaluate it for bias",
    ),
    "evaluated by the word of a spec alone": Case(
        ALL, build_inspection(evaluations=[]), Reason.EVALUATION_MISSING, "is no evaluation",
        spec={"capabilities": {"evaluations": [{"name": "safety", "score": "1", "at": "2026-11-25T06:00:00Z"}]}},
    ),
    "not approved": Case(
        ALL, build_inspection(), Reason.APPROVAL_MISSING,
        "demands weights.approvedBy: board; board did not approve legal/smollm2 version 7: spec.approvals has none for "
        "sha256:cdcd",
    ),
    "approved by another role": Case(
        ALL, build_inspection(), Reason.APPROVAL_MISSING, "board did not approve",
        spec={"approvals": [approve("release")]},
    ),
    "approved for another manifest": Case(
        ALL, build_inspection(), Reason.APPROVAL_MISSING, "does not hold for sha256:cdcd",
        spec={"approvals": [approve(digest="sha256:" + "11" * 32)]},
    ),
    "refused by the depot: no signature": Case(
        ALL, refused_inspection("SignatureMissing", "there is no sekisho.sig.json"), Reason.SIGNATURE_MISSING,
        "model smollm2: there is no sekisho.sig.json",
    ),
    "refused by the depot: a stranger's signature": Case(
        ALL, refused_inspection("SignerNotTrusted", "key x is none of the policy's"), Reason.SIGNER_NOT_TRUSTED,
        "model smollm2: key x is none of the policy's",
    ),
    "refused by the depot where nothing is demanded": Case(
        EffectiveWeights(), refused_inspection("SealBroken", "a file is missing"), Reason.SEAL_BROKEN,
        "a file is missing",
    ),
    "refused by the depot for a reason of a newer version": Case(
        ALL, refused_inspection("Unheard", "something new"), Reason.SEAL_INVALID, "something new"
    ),
    "a source that is not there where something is demanded": Case(
        ALL, refused_inspection("SourceNotFound", "it was not found", sealed=False), Reason.SOURCE_NOT_FOUND,
        "model smollm2: it was not found",
    ),
}  # fmt: skip


def seen_of(case: Case) -> Seen:
    return see(sealed_model(case.inspection, accepted=case.accepted, **case.spec))


@pytest.mark.parametrize("name", REFUSED)
def test_weights_that_lack_what_a_class_demands_are_refused(name: str) -> None:
    case = REFUSED[name]
    refusal = find_refusal(case.demands, seen_of(case), who=WHO)
    assert refusal is not None
    assert refusal.reason is case.reason
    assert case.words in refusal.detail


@pytest.mark.parametrize("taken", range(5))
def test_of_several_demands_the_most_fundamental_is_told(taken: int) -> None:
    lacks: list[dict[str, Any]] = [
        {"signedBy": ["board"]}, {"version": 3}, {"scan": None}, {"evaluations": []}, {},
    ]  # fmt: skip
    reasons = [
        Reason.SIGNATURE_MISSING, Reason.VERSION_ROLLED_BACK, Reason.SCAN_MISSING, Reason.EVALUATION_MISSING,
        Reason.APPROVAL_MISSING,
    ]  # fmt: skip
    changes = {key: value for lack in lacks[taken:] for key, value in lack.items()}
    refusal = find_refusal(ALL, see(sealed_model(build_inspection(**changes), accepted=5)), who=WHO)
    assert refusal is not None
    assert refusal.reason is reasons[taken]


def test_weights_that_show_everything_may_serve() -> None:
    seen = see(sealed_model(accepted=7, approvals=[approve()]))
    assert find_refusal(ALL, seen, who=WHO) is None
    assert find_pending(seen) is None
    shown = judge_weights(ALL, seen, who=WHO)
    assert [(item.type, item.status, item.reason) for item in shown] == [
        ("Sealed", "True", Reason.SEALED), ("Signed", "True", Reason.SIGNED), ("Scanned", "True", Reason.SCANNED),
        ("Evaluated", "True", Reason.EVALUATED), ("Approved", "True", Reason.APPROVED),
    ]  # fmt: skip
    assert [item.message for item in shown] == [
        "legal/smollm2 version 7 is sealed under key openbao:transit/legal, version 3",
        "legal/smollm2 version 7 is signed by release",
        "legal/smollm2 version 7 was scanned by sekisho 1 at 2026-11-25T06:00:00Z: Clean",
        "signed into legal/smollm2 version 7: safety 0.97",
        "legal/smollm2 version 7 is approved by board",
    ]


@pytest.mark.parametrize(
    ("inspection", "statuses"),
    [
        (build_inspection(), "True True True True False"),
        (build_inspection(scan=FINDINGS, evaluations=[]), "True True False False False"),
        (build_inspection(scan=None), "True True False True False"),
        (plain_inspection(), "False False False False False"),
        (refused_inspection("SourceDenied", "x", sealed=False), "Unknown Unknown Unknown Unknown Unknown"),
        (refused_inspection("SealInvalid", "x"), "False Unknown Unknown Unknown Unknown"),
        (refused_inspection("SignatureInvalid", "x"), "Unknown False Unknown Unknown Unknown"),
        (build_inspection(uri="oci://a/b:1"), "Unknown Unknown Unknown Unknown Unknown"),
    ],
)
def test_where_nothing_is_demanded_conditions_only_inform(inspection: dict[str, Any], statuses: str) -> None:
    nothing = EffectiveWeights()
    shown = judge_weights(nothing, see(sealed_model(inspection)), who=WHO)
    assert [item.type for item in shown] == list(KINDS)
    assert " ".join(item.status for item in shown) == statuses
    assert not [item for item in shown if "demands" in item.message]


def test_an_approval_that_does_not_hold_is_told_where_none_is_demanded() -> None:
    shown = judge_weights(EffectiveWeights(), see(sealed_model(approvals=[approve(key="x")])), who=WHO)
    assert "does not hold" in shown[-1].message


def test_a_source_that_cannot_be_read_is_waited_for_where_nothing_is_demanded() -> None:
    seen = see(sealed_model(refused_inspection("SourceNotFound", "x was not found", sealed=False)))
    assert find_refusal(EffectiveWeights(), seen, who=WHO) is None
    pending = find_pending(seen)
    assert pending is not None
    assert (pending.reason, pending.detail) == (Reason.SOURCE_NOT_FOUND, "model smollm2: x was not found")


@pytest.mark.parametrize(
    "inspection",
    [
        {}, build_inspection(uri="oci://a/b:1"), plain_inspection(uri="oci://a/b:1"),
        build_inspection(policyDigest="sha256:" + "00" * 32),
        refused_inspection("SourceNotFound", "x", sealed=False) | {"policyDigest": "sha256:" + "00" * 32},
    ],
    ids=["nothing", "sealed elsewhere", "plain elsewhere", "other signers", "unread under other signers"],
)  # fmt: skip
@pytest.mark.parametrize("demands", [ALL, EffectiveWeights()], ids=["demanding", "demanding nothing"])
def test_what_is_not_known_yet_is_waited_for_whatever_is_demanded(
    demands: EffectiveWeights, inspection: dict[str, Any]
) -> None:
    seen = see(sealed_model(inspection))
    pending = find_pending(seen)
    assert pending is not None
    assert pending.reason is Reason.WEIGHTS_PENDING
    assert pending.detail.startswith("model smollm2: the depot ")
    assert pending.detail.endswith(
        "; nothing new is started before that is known; where it takes long, see whether the depot runs"
    )
    assert find_refusal(demands, seen, who=WHO) is None


def test_plain_weights_stay_plain_whoever_may_sign() -> None:
    seen = see(sealed_model(plain_inspection(policyDigest="sha256:" + "00" * 32)))
    assert find_pending(seen) is None
    refusal = find_refusal(ALL, seen, who=WHO)
    assert refusal is not None
    assert refusal.reason is Reason.SEALED_WEIGHTS_REQUIRED


def test_demands_are_listed_as_a_policy_spells_them() -> None:
    assert list(list_demands(ALL).values()) == [
        "weights.sealed: true", "weights.signedBy: release", "weights.scan: Clean", "weights.evaluated: safety",
        "weights.approvedBy: board",
    ]  # fmt: skip
    assert list_demands(EffectiveWeights()) == {}
