"""Appraise verified claims against a policy of reference values, at a given time. Whatever is not listed is refused.

Some things are refused whatever a policy says, see `find_unacceptable`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sekisho.attest.claims import Claims, TcbStatus, Tee
from sekisho.attest.rules import MAX_MESSAGE, AllOf, AnyOf, Behind, Every, Pieces, Rule, refuse_piece
from sekisho.errors import Reason, RefusedError, Rejection

_MEASURED: Final = frozenset({Tee.SNP, Tee.TDX, Tee.SGX, Tee.NITRO})


@dataclass(frozen=True, slots=True)
class AppraisalPolicy:
    """A named policy.

    Attributes:
        name: As refusals tell it.
        rule: What all pieces of evidence together must show.
    """

    name: str
    rule: Rule[Pieces]


@dataclass(frozen=True, slots=True)
class Appraisal:
    """What was found good enough.

    Attributes:
        policy: Name of the policy.
        evidence: Digests of all pieces, sorted.
        not_after: Until when everything is valid that any piece rests on.
    """

    policy: str
    evidence: tuple[str, ...]
    not_after: datetime


def appraise(claims: Sequence[Claims], policy: AppraisalPolicy, *, now: datetime) -> Appraisal:
    """Judge verified claims; evidence of kinds that the policy does not speak of must be acceptable, and adds nothing.

    Args:
        claims: What verifiers made of all evidence brought.
        policy: What must hold.
        now: The time at which it must hold, aware.

    Raises:
        RefusedError: With the reason of the first rule that does not hold; the message names the policy, the evidence
            and the two facts.
    """
    pieces = tuple(claims)
    found = find_unacceptable(pieces, now=now) or policy.rule.judge(pieces)
    if found is not None:
        raise RefusedError(found.reason, f'evidence policy "{policy.name}": {found.detail}'[:MAX_MESSAGE])
    return Appraisal(
        policy=policy.name,
        evidence=tuple(sorted(piece.evidence_digest for piece in pieces)),
        not_after=min(piece.window.not_after for piece in _walk(pieces)),
    )


def find_shown(claims: Sequence[Claims], policy: AppraisalPolicy) -> frozenset[Tee]:
    """Return the kinds of evidence that the alternatives which hold speak of, of a policy that holds.

    Evidence that was brought beside them is genuine, and nothing more: nobody has held it against reference values.
    """
    return _find_shown(policy.rule, tuple(claims))


def _find_shown(rule: Rule[Pieces], pieces: Pieces) -> frozenset[Tee]:
    if isinstance(rule, AllOf):
        return frozenset[Tee]().union(*(_find_shown(each, pieces) for each in rule.rules))
    if isinstance(rule, AnyOf):
        held = (each for _, each in rule.rules if each.judge(pieces) is None)
        return frozenset[Tee]().union(*(_find_shown(each, pieces) for each in held))
    if isinstance(rule, Behind):
        return frozenset({rule.outer, rule.inner.tee})
    return frozenset({rule.tee}) if isinstance(rule, Every) else frozenset()


def find_unacceptable(pieces: Pieces, *, now: datetime) -> Rejection | None:
    """Return why evidence is refused whatever a policy says; None where no piece, nor what stands behind it, is.

    Refused are: no evidence at all, collateral that is not valid at the time, environments open to debugging, revoked
    platforms, SNP reports of another VMPL than 0 or of none, environments whose measurement is missing or all zero,
    and two pieces of one kind that speak of one device.
    """
    if not pieces:
        return Rejection(Reason.EVIDENCE_MISSING, "no evidence was brought")
    for piece in _walk(pieces):
        if (found := _find_fault(piece, now=now)) is not None:
            return found
    devices = [(piece.tee, piece.chip_id) for piece in pieces if piece.chip_id is not None]
    twice = sorted({tee for tee, chip in devices if devices.count((tee, chip)) > 1})
    if twice:
        return Rejection(Reason.APPRAISAL_FAILED, f"two pieces of {twice[0]} evidence speak of one device")
    return None


def _find_fault(piece: Claims, *, now: datetime) -> Rejection | None:
    window, vmpl = piece.window, piece.fact("vmpl")
    if not window.covers(now):
        valid = f"from {window.not_before:%FT%TZ} to {window.not_after:%FT%TZ}"
        return refuse_piece(Reason.COLLATERAL_EXPIRED, piece, f"what it rests on is valid {valid}, now is {now:%FT%TZ}")
    if piece.debug:
        return refuse_piece(
            Reason.DEBUG_ENABLED, piece, "the environment is open to debugging, which no key is released to"
        )
    if piece.tcb_status is TcbStatus.REVOKED:
        return refuse_piece(Reason.EVIDENCE_REVOKED, piece, "the vendor has revoked the platform's security version")
    if piece.tee is Tee.SNP and vmpl != "0":
        told = "no VMPL" if vmpl is None else f"VMPL {vmpl[:16]}"
        return refuse_piece(Reason.APPRAISAL_FAILED, piece, f"the report was asked for from {told}, only VMPL 0 counts")
    if piece.tee in _MEASURED and not piece.measurement:
        return refuse_piece(Reason.MEASUREMENT_UNKNOWN, piece, "it has no measurement")
    if piece.measurement and not any(piece.measurement):
        return refuse_piece(Reason.MEASUREMENT_UNKNOWN, piece, "its measurement is all zero, so nothing was measured")
    return None


def _walk(pieces: Iterable[Claims]) -> Iterable[Claims]:
    """Yield every piece, and what stands behind it."""
    for piece in pieces:
        yield piece
        yield from _walk(piece.parts)
