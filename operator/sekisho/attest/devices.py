"""Hold the claims of a machine's devices against each other: one nonce, as many as should be, and no device twice.

Each report is verified before by itself. What a single report cannot show is shown here: that all were made for the
same question, that none stands for another, and, where switches connect GPUs, that they are the ones that see each
other.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sekisho.attest.claims import Claims, Tee
from sekisho.errors import Reason, RefusedError


@dataclass(frozen=True, slots=True)
class ExpectedDevices:
    """How many devices there must be, no more and no less.

    Attributes:
        gpus: NVIDIA GPUs.
        switches: NVSwitches; where there are some, each GPU must be wired to exactly these and each switch to exactly
            the GPUs.
    """

    gpus: int
    switches: int = 0


def check_devices(claims: Sequence[Claims], expected: ExpectedDevices, *, nonce: bytes) -> None:
    """Check the devices of one machine; claims of other kinds are passed over.

    Raises:
        RefusedError: EvidenceMissing where the numbers differ, EvidenceNotBound where a nonce does, EvidenceInvalid
            where two claims are of one device, AppraisalFailed where modes or wires do not fit together.
    """
    gpus = [each for each in claims if each.tee is Tee.NVIDIA_GPU]
    switches = [each for each in claims if each.tee is Tee.NVIDIA_SWITCH]
    _check_count("GPUs", len(gpus), expected.gpus)
    _check_count("NVSwitches", len(switches), expected.switches)
    devices = [*gpus, *switches]
    for each in devices:
        if each.bound_data != nonce:
            raise RefusedError(
                Reason.EVIDENCE_NOT_BOUND,
                f"{_name(each)} signed nonce {each.bound_data.hex()[:16]}…, {nonce.hex()[:16]}… was asked",
            )
    _check_distinct(devices, "identity", lambda each: each.chip_id)
    _check_distinct(devices, "signing key", lambda each: each.fact("key"))
    _check_distinct(devices, "report", lambda each: each.evidence_digest)
    _check_modes(gpus)
    if switches:
        _check_wires(gpus, switches)


def _check_count(what: str, there: int, wanted: int) -> None:
    if there != wanted:
        raise RefusedError(Reason.EVIDENCE_MISSING, f"there is evidence of {there} {what}, {wanted} must be there")


def _check_distinct(devices: Sequence[Claims], what: str, take: Callable[[Claims], object]) -> None:
    """Refuse one device that stands for two; a device that hides what tells it apart is one, too."""
    counts = Counter(take(each) for each in devices)
    for each in devices:
        value = take(each)
        if not value:
            raise RefusedError(Reason.EVIDENCE_INVALID, f"{_name(each)} has no {what}, so nothing tells it apart")
        if counts[value] > 1:
            raise RefusedError(
                Reason.EVIDENCE_INVALID, f"{counts[value]} of {len(devices)} devices have the {what} of {_name(each)}"
            )


def _check_modes(gpus: Sequence[Claims]) -> None:
    """Refuse GPUs in different modes of confidential computing, where they tell theirs."""
    modes = sorted({each.fact("mode") or "" for each in gpus})
    if len(modes) > 1:
        raise RefusedError(
            Reason.APPRAISAL_FAILED,
            f"the GPUs are in different modes: {', '.join(mode or 'none told' for mode in modes)}",
        )


def _check_wires(gpus: Sequence[Claims], switches: Sequence[Claims]) -> None:
    _check_seen(gpus, "switches", {each.fact("pdi") for each in switches})
    _check_seen(switches, "gpus", {each.fact("pdi") for each in gpus})


def _check_seen(devices: Sequence[Claims], fact: str, others: set[str | None]) -> None:
    """Refuse a device that sees others than those whose evidence is here."""
    for each in devices:
        seen = set(filter(None, (each.fact(fact) or "").split(",")))
        if seen != others:
            strangers, missing = sorted(seen - others), sorted(str(other) for other in others - seen)
            raise RefusedError(
                Reason.APPRAISAL_FAILED,
                f"{_name(each)} is wired to {', '.join(strangers) or 'no'} {fact} without evidence here, and not to "
                f"{', '.join(missing) or 'none'} of those with it",
            )


def _name(claims: Claims) -> str:
    return f"{claims.tee} {claims.fact('device') or (claims.chip_id or b'').hex() or '(no identity)'}"
