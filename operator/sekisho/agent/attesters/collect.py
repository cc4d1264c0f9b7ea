"""Collect the evidence that a challenge wants from what this pod has."""

from collections.abc import Sequence
from typing import Final, Protocol

from sekisho.attest.binding import Binding
from sekisho.attest.evidence import MAX_PIECES, UnverifiedEvidence
from sekisho.errors import Reason, RefusedError, UnavailableError

_MOST_TOLD: Final = 3


class Attester(Protocol):
    """One source of evidence."""

    @property
    def kinds(self) -> frozenset[str]:
        """Name the kinds of evidence that may come from here."""
        ...

    def collect(self, binding: Binding) -> tuple[UnverifiedEvidence, ...]:
        """Return fresh evidence that commits to `binding`; nothing where this machine has no such source.

        Raises:
            UnavailableError: The source is there and gave no evidence within a bounded time.
        """
        ...


def collect_evidence(
    attesters: Sequence[Attester], wanted: Sequence[str], binding: Binding
) -> tuple[UnverifiedEvidence, ...]:
    """Ask the sources in their order; a kind that one has given is not asked for again.

    A kind that nothing here gives is left out: whether what there is suffices is the broker's to say.

    Raises:
        RefusedError: EvidenceMissing; this machine has none of what is wanted.
        UnavailableError: EvidenceMissing; nothing could be had, but a source that is there failed.
    """
    found: list[UnverifiedEvidence] = []
    failures: list[str] = []
    for attester in attesters:
        missing = set(wanted) - {piece.kind for piece in found}
        if not attester.kinds & missing:
            continue
        try:
            found += [piece for piece in attester.collect(binding) if piece.kind in missing]
        except UnavailableError as error:
            failures.append(error.message)
    if len(found) > MAX_PIECES:
        raise RefusedError(Reason.EVIDENCE_INVALID, f"there are {len(found)} pieces of evidence, {MAX_PIECES} allowed")
    if found:
        return tuple(found)
    kinds = ", ".join(wanted) or "of no kind at all"
    if failures:
        raise UnavailableError(
            Reason.EVIDENCE_MISSING, f"evidence ({kinds}) cannot be had: {'; '.join(failures[:_MOST_TOLD])}"
        )
    raise RefusedError(
        Reason.EVIDENCE_MISSING,
        f"the broker wants evidence ({kinds}), and this pod can bring none of it: let the service be placed on nodes "
        "with such hardware, and see whether the attester of the node runs",
    )
