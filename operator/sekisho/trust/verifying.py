"""Which verifier reads which evidence of a node, and against what."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sekisho.attest.claims import Claims
from sekisho.attest.evidence import UnverifiedEvidence
from sekisho.attest.verifiers.tpm import TpmCollateral, verify_tpm
from sekisho.errors import Reason, RefusedError
from sekisho.trust.enrolment import Makers
from sekisho.trust.nodes import TrustedNode


@dataclass(frozen=True, slots=True)
class Verifier:
    """Verifies evidence of nodes."""

    makers: Callable[[], Makers]

    def __call__(self, evidence: UnverifiedEvidence, node: TrustedNode, at: datetime) -> Claims:
        """Verify one piece.

        Raises:
            RefusedError: As the verifier of its kind says; ChallengeUnknown where no key is enrolled.
        """
        if evidence.kind != "tpm":
            raise RefusedError(
                Reason.COLLATERAL_MISSING, f"nothing is configured to verify {evidence.kind} evidence of nodes"
            )
        if not node.ak_name:
            raise RefusedError(
                Reason.CHALLENGE_UNKNOWN, f"no attestation key is enrolled for node {node.name}; enrol it"
            )
        enrolled = TpmCollateral(enrolled=frozenset({bytes.fromhex(node.ak_name)}))
        return verify_tpm(evidence, enrolled, at=at)
