"""What an appraisal policy is made of: demands on one piece of evidence or on all, and how they combine.

Leaves look at one piece of evidence; `Every` and `Behind` choose the pieces that a part of the tree is about; `AllOf`
and `AnyOf` combine either. Empty combinations and empty lists cannot be built: they would accept everything, or hide a
mistake.
"""

from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from sekisho.attest.claims import Claims, TcbStatus, Tee
from sekisho.errors import Reason, RefusedError, Rejection

MAX_MESSAGE: Final = 1024
_MOST_TOLD: Final = 3
SubjectT = TypeVar("SubjectT")
Subject_contra = TypeVar("Subject_contra", contravariant=True)
Pieces = tuple[Claims, ...]


class Rule(Protocol[Subject_contra]):
    """One demand on a piece of evidence, or on all pieces."""

    def judge(self, subject: Subject_contra, /) -> Rejection | None:
        """Return why the demand does not hold; None where it does."""
        ...


@dataclass(frozen=True, slots=True)
class AllOf(Generic[SubjectT]):
    """Every rule must hold; the first that does not is told."""

    rules: tuple[Rule[SubjectT], ...]

    def __post_init__(self) -> None:
        _require(self.rules, "a combination of no rules would accept everything")

    def judge(self, subject: SubjectT, /) -> Rejection | None:
        """Return the first rejection in the order of the rules."""
        return next((found for rule in self.rules if (found := rule.judge(subject)) is not None), None)


@dataclass(frozen=True, slots=True)
class AnyOf(Generic[SubjectT]):
    """One of the named rules must hold."""

    rules: tuple[tuple[str, Rule[SubjectT]], ...]

    def __post_init__(self) -> None:
        _require(self.rules, "a choice among no rules accepts nothing")

    def judge(self, subject: SubjectT, /) -> Rejection | None:
        """Return what is wrong with each alternative; the reason they share, or AppraisalFailed."""
        found = [(name, rule.judge(subject)) for name, rule in self.rules]
        failed = [(name, rejection) for name, rejection in found if rejection is not None]
        if len(failed) < len(found):
            return None
        if len(failed) == 1:
            return failed[0][1]
        reasons = {rejection.reason for _, rejection in failed}
        told = "; ".join(f'"{name}": {rejection.detail}' for name, rejection in failed)
        reason = reasons.pop() if len(reasons) == 1 else Reason.APPRAISAL_FAILED
        return Rejection(reason, f"none of {len(failed)} alternatives holds: {told}"[:MAX_MESSAGE])


@dataclass(frozen=True, slots=True)
class Every:
    """All evidence of one kind must hold, and there must be enough of it, of different devices.

    Attributes:
        tee: The kind.
        rule: What each piece must show.
        least: How many pieces are wanted.
    """

    tee: Tee
    rule: Rule[Claims]
    least: int = 1

    def __post_init__(self) -> None:
        _require(self.least > 0, "evidence of which nothing is wanted accepts everything")

    def judge(self, subject: Pieces, /) -> Rejection | None:
        """Return why a piece does not hold, or that there are too few."""
        pieces = [piece for piece in subject if piece.tee is self.tee]
        if len(pieces) < self.least:
            there = ", ".join(sorted({piece.tee for piece in subject})) or "none"
            return Rejection(
                Reason.EVIDENCE_MISSING,
                f"{self.tee} evidence of {self.least} devices is wanted, {len(pieces)} are there (brought: {there})",
            )
        if self.least > 1 and any(piece.chip_id is None for piece in pieces):
            return Rejection(
                Reason.CHIP_UNKNOWN,
                f"{self.least} devices of {self.tee} are wanted, but a piece of evidence does not name its device",
            )
        return next((found for piece in pieces if (found := self.rule.judge(piece)) is not None), None)


@dataclass(frozen=True, slots=True)
class Behind:
    """Every piece of one kind must be vouched for by evidence inside it that holds."""

    outer: Tee
    inner: Every

    def judge(self, subject: Pieces, /) -> Rejection | None:
        """Return why what stands behind a piece does not hold."""
        pieces = [piece for piece in subject if piece.tee is self.outer]
        if not pieces:
            return Rejection(
                Reason.EVIDENCE_MISSING,
                f"{self.inner.tee} evidence is wanted behind {self.outer} evidence; there is none",
            )
        return next((found for piece in pieces if (found := self.inner.judge(piece.parts)) is not None), None)


@dataclass(frozen=True, slots=True)
class MeasurementIn:
    """What was launched must be one of these."""

    values: frozenset[bytes]

    def __post_init__(self) -> None:
        _require(self.values, "a list of no measurements accepts nothing")

    def judge(self, subject: Claims, /) -> Rejection | None:
        """Compare the measurement."""
        if subject.measurement in self.values:
            return None
        return refuse_piece(
            Reason.MEASUREMENT_UNKNOWN, subject, _compare("measurement", subject.measurement, self.values)
        )


@dataclass(frozen=True, slots=True)
class RegisterIn:
    """A register must hold one of these; one that the evidence does not cover holds none."""

    name: str
    values: frozenset[bytes]

    def __post_init__(self) -> None:
        _require(self.values, "a list of no values of a register accepts nothing")

    def judge(self, subject: Claims, /) -> Rejection | None:
        """Compare the register."""
        held = subject.register(self.name)
        if held in self.values:
            return None
        told = _compare(f"register {self.name}", held, self.values)
        return refuse_piece(Reason.MEASUREMENT_UNKNOWN, subject, told)


@dataclass(frozen=True, slots=True)
class ConfigurationIn:
    """The digest that the launcher set must be one of these."""

    values: frozenset[bytes]

    def __post_init__(self) -> None:
        _require(self.values, "a list of no configurations accepts nothing")

    def judge(self, subject: Claims, /) -> Rejection | None:
        """Compare the configuration."""
        if subject.configuration in self.values:
            return None
        told = _compare("configuration", subject.configuration, self.values)
        return refuse_piece(Reason.APPRAISAL_FAILED, subject, told)


@dataclass(frozen=True, slots=True)
class TcbAtLeast:
    """A component must have reached a version: as reported, and in every other way the evidence tells of it."""

    component: str
    version: int

    def judge(self, subject: Claims, /) -> Rejection | None:
        """Compare the component's version, and where there are such, "committed.…", "current.…" and "launch.…"."""
        told = dict(subject.tcb)
        if self.component not in told:
            return refuse_piece(Reason.TCB_TOO_OLD, subject, f"it does not tell the version of {self.component}")
        for name, version in subject.tcb:
            if name.rpartition(".")[2] == self.component and version < self.version:
                return refuse_piece(
                    Reason.TCB_TOO_OLD, subject, f"{name} has version {version}, {self.version} is the lowest"
                )
        return None


@dataclass(frozen=True, slots=True)
class TcbStatusIn:
    """The platform must stand as one of these by its vendor's word."""

    values: frozenset[TcbStatus]

    def __post_init__(self) -> None:
        _require(self.values, "a list of no TCB statuses accepts nothing")

    def judge(self, subject: Claims, /) -> Rejection | None:
        """Compare the status."""
        if subject.tcb_status in self.values:
            return None
        return refuse_piece(
            Reason.TCB_TOO_OLD,
            subject,
            f"its TCB status is {subject.tcb_status}, allowed is {', '.join(sorted(self.values))}",
        )


@dataclass(frozen=True, slots=True)
class AdvisoriesAllowed:
    """No security advisory may stand open but these; none at all where the set is empty."""

    values: frozenset[str] = frozenset()

    def judge(self, subject: Claims, /) -> Rejection | None:
        """Compare the advisories."""
        others = sorted(set(subject.advisories) - self.values)
        if not others:
            return None
        allowed = ", ".join(sorted(self.values)) or "none"
        told = f"advisories {', '.join(others[:_MOST_TOLD])} stand open, tolerated are {allowed}"
        return refuse_piece(Reason.TCB_TOO_OLD, subject, told)


@dataclass(frozen=True, slots=True)
class ChipIn:
    """The chip or device must be one of these; one that masks its id is none of them."""

    values: frozenset[bytes]

    def __post_init__(self) -> None:
        _require(self.values, "a list of no chips accepts nothing")

    def judge(self, subject: Claims, /) -> Rejection | None:
        """Compare the id."""
        if subject.chip_id is None:
            return refuse_piece(
                Reason.CHIP_UNKNOWN, subject, f"it masks its chip, and one of {len(self.values)} is wanted"
            )
        if subject.chip_id in self.values:
            return None
        return refuse_piece(
            Reason.CHIP_UNKNOWN,
            subject,
            f"its chip {subject.chip_id.hex()} is none of {len(self.values)} that are listed",
        )


@dataclass(frozen=True, slots=True)
class FactIn:
    """A signed fact must say one of these.

    Attributes:
        needed: Whether the evidence must speak of it at all.
    """

    name: str
    values: frozenset[str]
    needed: bool = True

    def __post_init__(self) -> None:
        _require(self.values, "a list of no values of a fact accepts nothing")

    def judge(self, subject: Claims, /) -> Rejection | None:
        """Compare the fact."""
        said = subject.fact(self.name)
        if said in self.values or (said is None and not self.needed):
            return None
        there = "says nothing" if said is None else f'says "{said[:128]}"'
        wanted = ", ".join(sorted(self.values)[:_MOST_TOLD])
        return refuse_piece(Reason.APPRAISAL_FAILED, subject, f"it {there} of {self.name}, wanted is {wanted}")


@dataclass(frozen=True, slots=True)
class NothingBehind:
    """No other evidence may stand behind this one: who speaks of none would overlook what vouches for it."""

    def judge(self, subject: Claims, /) -> Rejection | None:
        """Refuse evidence with parts."""
        if not subject.parts:
            return None
        told = f"{subject.parts[0].tee} evidence vouches for it, and the policy says nothing of what stands behind"
        return refuse_piece(Reason.APPRAISAL_FAILED, subject, told)


def refuse_piece(reason: Reason, piece: Claims, told: str) -> Rejection:
    """Refuse one piece of evidence, and say which."""
    return Rejection(reason, f"{piece.tee} evidence {piece.evidence_digest[:19]}: {told}")


def _compare(what: str, held: bytes | None, known: frozenset[bytes]) -> str:
    listed = ", ".join(f"{value.hex()[:16]}…" for value in sorted(known)[:_MOST_TOLD])
    more = f" and {len(known) - _MOST_TOLD} more" if len(known) > _MOST_TOLD else ""
    there = "is not told" if held is None else f"{held.hex() or 'is empty'}"
    return f"{what} {there}; listed is {listed}{more}"


def _require(held: object, told: str) -> None:
    if not held:
        raise RefusedError(Reason.POLICY_INVALID, told)
