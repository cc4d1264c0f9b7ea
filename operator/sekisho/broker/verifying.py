"""Verify evidence without holding up other requests, and hold it against what it had to be made for."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from sekisho.attest.binding import Binding, digest_bytes
from sekisho.attest.claims import Claims
from sekisho.attest.evidence import UnverifiedEvidence
from sekisho.attest.verifiers.select import Collateral, verify_evidence
from sekisho.attest.verifiers.tpm import TpmCollateral
from sekisho.broker.threads import Threads
from sekisho.broker.turns import Turns
from sekisho.errors import Reason, RefusedError, UnavailableError

_MOST_WAITING: Final = 512
_MOST_SHORT: Final = 8 * 1024
"""Bytes of evidence that takes a millisecond or two: an SNP report with its chain, a TPM's quote."""

Verify = Callable[[UnverifiedEvidence, datetime, frozenset[bytes]], Claims]
"""Verify one piece at a time, with the names of attestation keys that belong to the pod's node."""


def verify_by(collateral: Callable[[], Collateral]) -> Verify:
    """Return how a piece is verified by the collateral of the moment.

    Of TPMs those count whose attestation key is enrolled for the pod's own node.
    """

    def verify(piece: UnverifiedEvidence, at: datetime, enrolled: frozenset[bytes]) -> Claims:
        if piece.kind == "tpm" and not enrolled:
            raise RefusedError(Reason.CHIP_UNKNOWN, "the pod's node is enrolled with no TPM, so a quote names nobody")
        return verify_evidence(piece, replace(collateral(), tpm=TpmCollateral(enrolled=enrolled)), at=at)

    return verify


class Verifier:
    """Verifies short evidence on the event loop, some milliseconds a turn, and all other in threads.

    Python's library of cryptography holds the interpreter's lock while it computes a signature: in a thread it holds up
    the event loop all the same, and the two hand the lock to and fro. What threads are for is evidence that takes long.

    Args:
        verify: Verifies one piece; raises RefusedError.
        threads: How many at most for what takes long.
    """

    def __init__(self, verify: Verify, *, threads: int) -> None:
        self._verify = verify
        self._threads = Threads(threads, name="verifier")
        self._turns = Turns()
        self._waiting = 0

    def close(self) -> None:
        """End the threads; what waits is cancelled."""
        self._threads.close()
        self._turns.close()

    async def verify(
        self, pieces: Sequence[UnverifiedEvidence], *, at: datetime, enrolled: frozenset[bytes]
    ) -> tuple[Claims, ...]:
        """Return the claims of every piece.

        Raises:
            RefusedError: A piece does not hold, or no collateral speaks of it.
            UnavailableError: Overloaded; too much waits to be verified.
        """
        if self._waiting >= _MOST_WAITING:
            raise UnavailableError(
                Reason.OVERLOADED, f"{self._waiting} requests wait for their evidence's verification"
            )
        self._waiting += 1
        try:
            short = sum(piece.size for piece in pieces) <= _MOST_SHORT
            beside = self._turns if short else self._threads
            return await beside.run(lambda: tuple(self._verify(piece, at, enrolled) for piece in pieces))
        finally:
            self._waiting -= 1


def check_bound(claims: Sequence[Claims], binding: Binding) -> None:
    """Check that every piece was made for this very request, and that no piece stands there twice.

    Raises:
        RefusedError: EvidenceMissing, EvidenceNotBound, or EvidenceInvalid for a device that speaks twice.
    """
    if not claims:
        raise RefusedError(Reason.EVIDENCE_MISSING, "there is no evidence")
    for claim in claims:
        if not binding.matches(claim.bound_data):
            raise RefusedError(
                Reason.EVIDENCE_NOT_BOUND,
                f"the {claim.tee} evidence commits to {claim.bound_data[:8].hex()}…, made for {binding.purpose} by pod "
                f"{binding.namespace}/{binding.pod} it would commit to {binding.digest(64)[:8].hex()}… or "
                f"{binding.digest(32)[:8].hex()}…",
            )
    seen = [(claim.tee, claim.chip_id or claim.evidence_digest) for claim in claims]
    if len(set(seen)) < len(seen):
        raise RefusedError(Reason.EVIDENCE_INVALID, "two pieces of evidence come from the same device")


def digest_evidence(claims: Sequence[Claims]) -> str:
    """Return one digest for all pieces: that of a single one, or of the sorted digests together."""
    digests = sorted(claim.evidence_digest for claim in claims)
    return digests[0] if len(digests) == 1 else digest_bytes("\n".join(digests).encode())
