"""The signers of the policy in force: read, and named by a digest, so that a check says against whom it was made."""

from collections.abc import Iterator
from datetime import UTC, datetime

from sekisho.api.v1alpha1.classificationpolicy import ClassificationPolicySpec
from sekisho.api.v1alpha1.classificationpolicy import Signer as SignerSpec
from sekisho.render.digest import digest_of
from sekisho.seal.trust import Signer, SignerText, parse_signers


def digest_signers(policy: ClassificationPolicySpec) -> str:
    """Return the digest of all signers of a policy; a check against others no longer counts."""
    return digest_of([signer.model_dump(by_alias=True, mode="json") for signer in policy.signers])


def read_signers(policy: ClassificationPolicySpec) -> tuple[Signer, ...]:
    """Read keys and certificates of all signers of a policy.

    Raises:
        RefusedError: PolicyInvalid; one cannot be used, so none is.
    """
    return parse_signers([text for signer in policy.signers for text in _spell(signer)])


def read_instant(now_at: float) -> datetime:
    """Return Unix seconds as the aware time that checks of certificates want."""
    return datetime.fromtimestamp(now_at, UTC)


def _spell(signer: SignerSpec) -> Iterator[SignerText]:
    if signer.public_keys:
        yield SignerText(signer.name, public_keys=signer.public_keys)
    for authority in signer.authorities:
        yield SignerText(signer.name, certificates=authority.certificates, subjects=authority.subjects)
