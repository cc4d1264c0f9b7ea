"""Which verifier reads which evidence of a node, and against what."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from sekisho.attest.claims import Claims
from sekisho.attest.evidence import UnverifiedEvidence
from sekisho.attest.verifiers.select import Collateral, verify_evidence
from sekisho.attest.verifiers.tpm import TpmCollateral
from sekisho.errors import Reason, RefusedError
from sekisho.trust.nodes import TrustedNode


@dataclass(frozen=True, slots=True)
class Verifier:
    """Verifies evidence of nodes.

    Attributes:
        collateral: Returns what evidence of other kinds than a TPM's is held against.
    """

    collateral: Callable[[], Collateral]

    def __call__(self, evidence: UnverifiedEvidence, node: TrustedNode, at: datetime) -> Claims:
        """Verify one piece; of TPMs only the node's own counts.

        Raises:
            RefusedError: As the verifier of its kind says; ChallengeUnknown where no key is enrolled.
        """
        if evidence.kind == "tpm" and not node.ak_name:
            told = f"no attestation key is enrolled for node {node.name}; enrol it"
            raise RefusedError(Reason.CHALLENGE_UNKNOWN, told)
        enrolled = frozenset({bytes.fromhex(node.ak_name)}) if node.ak_name else frozenset[bytes]()
        own = TpmCollateral(enrolled=enrolled)
        return verify_evidence(evidence, replace(self.collateral(), tpm=own), at=at)
