"""Whether weights show what a class demands of them: sealed, signed, no older version, scanned, evaluated, approved.

The same judgement makes the conditions of a Model and accepts or refuses a service, which may have a stricter class.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from sekisho.api.v1alpha1.model import Inspection
from sekisho.classify.rules import EffectiveWeights
from sekisho.errors import Reason, Rejection
from sekisho.plan.conditions import Aspect, is_false, is_true, is_unknown
from sekisho.plan.pods import map_reason
from sekisho.plan.sealing import Seen

KINDS: Final = ("Sealed", "Signed", "Scanned", "Evaluated", "Approved")
_BY_SIGNATURE: Final = frozenset({Reason.SIGNATURE_MISSING, Reason.SIGNATURE_INVALID, Reason.SIGNER_NOT_TRUSTED})
_BLIND: Final = "not looked at: nothing of a sealed model counts before its signature holds"
_NOT_BEFORE: Final = "; nothing new is started before that is known; where it takes long, see whether the depot runs"
_SEAL: Final = "seal it (`sekisho seal`), have it signed (`sekisho sign`), push it and name it in storageUri"


def find_pending(seen: Seen) -> Rejection | None:
    """Return what must be known of the weights before anything new is started on them; None where nothing must.

    Weights that are sealed raise the class, and are kept and opened in another way than plain ones. So nothing is
    started before the depot has read what is there, even where the class of the moment demands nothing of weights.
    """
    if seen.waits:
        return Rejection(Reason.WEIGHTS_PENDING, f"model {seen.name}: {seen.waits}{_NOT_BEFORE}")
    if seen.found is not None and seen.found.refusal is not None and not seen.found.sealed:
        return Rejection(_reason_of(seen.found), f"model {seen.name}: {seen.found.refusal.message}")
    if seen.to_record and seen.found is not None:
        return Rejection(
            Reason.WEIGHTS_PENDING,
            f"model {seen.name}: {_name(seen.found)} is to be recorded as accepted before it is served",
        )
    return None


def find_refusal(demands: EffectiveWeights, seen: Seen, *, who: str) -> Rejection | None:
    """Return the most fundamental reason why weights may not serve a class; None where they may, or it is not known.

    A source that could not be read is refused where the class demands something; elsewhere it is waited for.

    Args:
        demands: What the class wants.
        seen: What is known of the weights.
        who: Whose demands they are, "class confidential".
    """
    found = seen.found
    if found is None:
        return None
    if found.refusal is not None:
        counts = found.sealed or not demands.is_empty
        return Rejection(_reason_of(found), f"model {seen.name}: {found.refusal.message}") if counts else None
    judged = dict(zip(KINDS, judge_weights(demands, seen, who=who), strict=True))
    wanted = list_demands(demands)
    first = [judged[kind] for kind in ("Sealed", "Signed") if kind in wanted]
    last = [judged[kind] for kind in ("Scanned", "Evaluated", "Approved") if kind in wanted]
    return _find_false(first) or _find_rollback(seen, found) or _find_false(last)


def judge_weights(demands: EffectiveWeights, seen: Seen, *, who: str) -> tuple[Aspect, ...]:
    """Return Sealed, Signed, Scanned, Evaluated and Approved, each held against what the class demands of it, if that.

    Unknown while the depot has yet to look, and where what it found was refused for another reason.
    """
    found = seen.found
    if found is None:
        return tuple(is_unknown(kind, Reason.WEIGHTS_PENDING, seen.waits) for kind in KINDS)
    if found.refusal is not None:
        return tuple(_judge_refused(kind, found) for kind in KINDS)
    if not found.sealed:
        return _judge_plain(demands, seen, who=who)
    return (
        _judge_sealed(found),
        _judge_signed(demands, found, who=who),
        _judge_scanned(demands, found, who=who),
        _judge_evaluated(demands, found, who=who),
        _judge_approved(demands, found, seen.approvals, who=who),
    )


def list_demands(demands: EffectiveWeights) -> dict[str, str]:
    """Return what is demanded, as the policy spells it, by the condition that shows it."""
    spelt = {
        "Sealed": "weights.sealed: true" if demands.sealed else "",
        "Signed": _spell("weights.signedBy", demands.signed_by),
        "Scanned": f"weights.scan: {demands.scan}" if demands.scan else "",
        "Evaluated": _spell("weights.evaluated", demands.evaluated),
        "Approved": _spell("weights.approvedBy", demands.approved_by),
    }
    return {kind: rule for kind, rule in spelt.items() if rule}


def _spell(rule: str, names: Iterable[str]) -> str:
    return f"{rule}: {_join(names)}" if names else ""


def _join(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _name(found: Inspection) -> str:
    return f"{found.model} version {found.version}"


def _reason_of(found: Inspection) -> Reason:
    otherwise = Reason.SEAL_INVALID if found.sealed else Reason.SOURCE_INVALID
    return map_reason(found.refusal.reason if found.refusal else "", otherwise)


def _find_false(aspects: Iterable[Aspect]) -> Rejection | None:
    return next((Rejection(Reason(item.reason), item.message) for item in aspects if item.status == "False"), None)


def _find_rollback(seen: Seen, found: Inspection) -> Rejection | None:
    if not found.sealed or (found.version or 0) >= seen.accepted_version:
        return None
    return Rejection(
        Reason.VERSION_ROLLED_BACK,
        f"model {seen.name}: {_name(found)} is older than version {seen.accepted_version}, which was accepted before; "
        "seal it anew under a higher version, or under another name, served by another Model, if it is another model",
    )


def _judge_refused(kind: str, found: Inspection) -> Aspect:
    reason, message = _reason_of(found), found.refusal.message if found.refusal else ""
    if not found.sealed:
        return is_unknown(kind, reason, message)
    if kind == ("Signed" if reason in _BY_SIGNATURE else "Sealed"):
        return is_false(kind, reason, message)
    return is_unknown(kind, Reason.PENDING, _BLIND)


def _judge_plain(demands: EffectiveWeights, seen: Seen, *, who: str) -> tuple[Aspect, ...]:
    wanted = list_demands(demands)
    reasons = {
        "Sealed": Reason.SEALED_WEIGHTS_REQUIRED if demands.sealed else Reason.NOT_SEALED,
        "Signed": Reason.SIGNATURE_MISSING,
        "Scanned": Reason.SCAN_MISSING,
        "Evaluated": Reason.EVALUATION_MISSING,
        "Approved": Reason.APPROVAL_MISSING,
    }
    plain = f"the weights of model {seen.name} are plain"
    shows = {"Sealed": plain, **dict.fromkeys(KINDS[1:], f"{plain}, and only sealed ones can show it")}
    return tuple(
        is_false(
            kind,
            reasons[kind],
            f"{who} demands {wanted[kind]}; {shows[kind]}; {_SEAL}" if kind in wanted else shows[kind],
        )
        for kind in KINDS
    )


def _judge_sealed(found: Inspection) -> Aspect:
    key = f"{found.kms}:{found.key_id}"[:400]
    return is_true("Sealed", Reason.SEALED, f"{_name(found)} is sealed under key {key}, version {found.key_version}")


def _judge_signed(demands: EffectiveWeights, found: Inspection, *, who: str) -> Aspect:
    told = f"{_name(found)} is signed by {_join(found.signed_by)}"
    lacking = demands.signed_by - set(found.signed_by)
    if not lacking:
        return is_true("Signed", Reason.SIGNED, told)
    return is_false(
        "Signed",
        Reason.SIGNATURE_MISSING,
        f"{who} demands {_spell('weights.signedBy', demands.signed_by)}; {told}, not by {_join(lacking)}; have them "
        "sign it (`sekisho sign`) and push it again",
    )


def _judge_scanned(demands: EffectiveWeights, found: Inspection, *, who: str) -> Aspect:
    scan, rule = found.scan, f"{who} demands weights.scan: {demands.scan}; " if demands.scan else ""
    if scan is None:
        step = "; scan it and seal it anew" if rule else ""
        return is_false("Scanned", Reason.SCAN_MISSING, f"{rule}no scan is signed into {_name(found)}{step}")
    told = f"{scan.scanner} at {scan.at}: {scan.result}"
    if scan.result == "Clean":
        return is_true("Scanned", Reason.SCANNED, f"{_name(found)} was scanned by {told}")
    step = "; remove what was found and seal it anew" if rule else ""
    shown = "; ".join(item[:160] for item in scan.findings[:3])
    return is_false("Scanned", Reason.SCAN_FINDINGS, f"{rule}{_name(found)} was scanned by {told} ({shown}){step}")


def _judge_evaluated(demands: EffectiveWeights, found: Inspection, *, who: str) -> Aspect:
    figures = {item.name: item.score for item in found.evaluations}
    told = ", ".join(f"{name} {score}" for name, score in sorted(figures.items()))[:400]
    lacking = demands.evaluated - figures.keys()
    if figures and not lacking:
        return is_true("Evaluated", Reason.EVALUATED, f"signed into {_name(found)}: {told}")
    there = f"signed into {_name(found)} is {told or 'no evaluation'}"
    if not lacking:
        return is_false("Evaluated", Reason.EVALUATION_MISSING, there)
    return is_false(
        "Evaluated",
        Reason.EVALUATION_MISSING,
        f"{who} demands {_spell('weights.evaluated', demands.evaluated)}; {there}; evaluate it for {_join(lacking)}, "
        "and seal it anew with the figures",
    )


def _judge_approved(demands: EffectiveWeights, found: Inspection, approvals: Mapping[str, str], *, who: str) -> Aspect:
    held = {role for role, problem in approvals.items() if not problem}
    lacking = demands.approved_by - held
    if held and not lacking:
        return is_true("Approved", Reason.APPROVED, f"{_name(found)} is approved by {_join(held)}")
    problems = [approvals[role] for role in sorted(lacking or approvals) if approvals.get(role)]
    there = problems[0] if problems else f"spec.approvals has none for {found.manifest_digest}"
    if not lacking:
        return is_false("Approved", Reason.APPROVAL_MISSING, there)
    return is_false(
        "Approved",
        Reason.APPROVAL_MISSING,
        f"{who} demands {_spell('weights.approvedBy', demands.approved_by)}; {_join(lacking)} did not approve "
        f"{_name(found)}: {there}; put what `sekisho approve` prints into spec.approvals",
    )
