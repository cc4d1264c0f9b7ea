"""From an EvidencePolicy as people write it to the policy that evidence is appraised by."""

from collections.abc import Iterator

from sekisho.api.v1alpha1.evidencepolicy import EvidenceAlternative, EvidencePolicySpec, EvidenceRule
from sekisho.attest.appraise import AppraisalPolicy
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
    Pieces,
    RegisterIn,
    Rule,
    TcbAtLeast,
    TcbStatusIn,
)
from sekisho.errors import Reason, RefusedError

# Kinds of hardware on whose security versions their vendor publishes statements.
_RATED = frozenset({Tee.TDX, Tee.SGX})
# What evidence must not say unless a policy names the fact itself: who can move a guest, or serves another than its own
# operator's, or lets its host hide page faults, holds the guest; and devices that nobody compared show nothing.
_USUAL = {
    Tee.TDX: (
        FactIn("migratable", frozenset({"false"})),
        FactIn("sept-ve-disable", frozenset({"true"})),
        FactIn("mrservicetd", frozenset({"00" * 48}), needed=False),
    ),
    Tee.NVIDIA_GPU: (FactIn("measurements", frozenset({"matched"})),),
    Tee.NVIDIA_SWITCH: (FactIn("measurements", frozenset({"matched"})),),
}


def read_evidence_policy(name: str, spec: EvidencePolicySpec, *, site: str) -> AppraisalPolicy:
    """Read the alternatives that count at a site.

    Raises:
        RefusedError: AppraisalFailed; the policy describes no machines of that site.
    """
    counted = [item for item in spec.any_of if item.sites is None or site in item.sites]
    if not counted:
        known = ", ".join(sorted({name for item in spec.any_of for name in item.sites or ()}))
        raise RefusedError(
            Reason.APPRAISAL_FAILED, f'evidence policy "{name}" describes machines of {known}, not of site "{site}"'
        )
    return AppraisalPolicy(name, AnyOf(tuple((item.name, _read_alternative(item)) for item in counted)))


def _read_alternative(item: EvidenceAlternative) -> Rule[Pieces]:
    backed = {rule.behind for rule in item.evidence}
    return AllOf(tuple(_read_rule(rule, backed=rule.tee in backed) for rule in item.evidence))


def _read_rule(rule: EvidenceRule, *, backed: bool) -> Rule[Pieces]:
    alone = () if backed else (NothingBehind(),)
    every = Every(Tee(rule.tee), AllOf((*alone, *_leaves(rule))), rule.least)
    return every if rule.behind is None else Behind(Tee(rule.behind), every)


def _leaves(rule: EvidenceRule) -> Iterator[Rule[Claims]]:
    """Yield what one piece must show: code first, then chip, then security versions, then what else is signed."""
    if rule.measurements:
        yield MeasurementIn(_bytes(rule.measurements))
    for register in rule.registers:
        yield RegisterIn(register.name, _bytes(register.values))
    if rule.configurations is not None:
        yield ConfigurationIn(_bytes(rule.configurations))
    if rule.chips is not None:
        yield ChipIn(_bytes(rule.chips))
    for component in rule.minimum_tcb:
        yield TcbAtLeast(component.component, component.version)
    yield TcbStatusIn(_statuses(rule))
    yield AdvisoriesAllowed(frozenset(rule.tolerated_advisories))
    for fact in rule.facts:
        yield FactIn(fact.name, frozenset(fact.values))
    named = {fact.name for fact in rule.facts}
    yield from (usual for usual in _USUAL.get(Tee(rule.tee), ()) if usual.name not in named)


def _statuses(rule: EvidenceRule) -> frozenset[TcbStatus]:
    if rule.tcb_statuses is not None:
        return frozenset(map(TcbStatus, rule.tcb_statuses))
    unrated = frozenset() if Tee(rule.tee) in _RATED else frozenset({TcbStatus.UNKNOWN})
    return unrated | {TcbStatus.UP_TO_DATE}


def _bytes(values: tuple[str, ...]) -> frozenset[bytes]:
    return frozenset(map(bytes.fromhex, values))
