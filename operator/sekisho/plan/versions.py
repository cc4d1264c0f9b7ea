"""The highest versions of sealed models that a namespace ever accepted, by the model's own name and who signed it.

They outlive the Model objects: who deletes one and makes another, or makes a second one, gets no older version served.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sekisho.api.v1alpha1.model import Inspection


@dataclass(frozen=True, slots=True)
class Accepted:
    """A version that was accepted, to be remembered.

    Attributes:
        model: The owner's name for the model, as the signed manifest has it.
        signers: Signers of the policy whose signatures held; it is remembered for each.
    """

    model: str
    signers: tuple[str, ...]
    version: int


@dataclass(frozen=True, slots=True)
class Versions:
    """What one namespace has accepted.

    Attributes:
        highest: By name of the model and name of a signer.
    """

    highest: Mapping[tuple[str, str], int]

    def floor(self, found: Inspection | None) -> int:
        """Return the highest version that was accepted of this model from any of its signers; 0 where none was.

        A further signature raises nothing from under it, and a signer who has not signed before vouches anew.
        """
        accepted = read_accepted_version(found)
        if accepted is None:
            return 0
        return max(self.highest.get((accepted.model, signer), 0) for signer in accepted.signers)

    def lacks(self, found: Inspection | None) -> bool:
        """Tell whether what was found is still to be remembered, for one signer at least."""
        accepted = read_accepted_version(found)
        if accepted is None:
            return False
        return any(self.highest.get((accepted.model, signer), 0) < accepted.version for signer in accepted.signers)


def read_accepted_version(found: Inspection | None) -> Accepted | None:
    """Return what a verified sealed model says of itself; None for everything else."""
    if found is None or not found.sealed or found.refusal is not None or not found.signed_by:
        return None
    if found.model is None or found.version is None:
        return None
    return Accepted(found.model, tuple(sorted(found.signed_by)), found.version)
