"""Choose the verifier for a piece of evidence by its kind; what the collateral does not speak of is refused."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sekisho.attest.claims import Claims
from sekisho.attest.evidence import UnverifiedEvidence
from sekisho.attest.verifiers.azure import AzureCollateral, verify_azure_snp, verify_azure_tdx
from sekisho.attest.verifiers.nitro import NitroCollateral, verify_nitro
from sekisho.attest.verifiers.nvidia import NvidiaCollateral, verify_nvidia
from sekisho.attest.verifiers.snp import SnpCollateral, verify_snp
from sekisho.attest.verifiers.tdx import verify_tdx
from sekisho.attest.verifiers.tdx_collateral import TdxCollateral
from sekisho.attest.verifiers.tokens import TokenCollateral, verify_ear_token, verify_gcs_token
from sekisho.attest.verifiers.tpm import TpmCollateral, verify_tpm
from sekisho.errors import Reason, RefusedError


@dataclass(frozen=True, slots=True)
class Collateral:
    """What evidence is held against, by who made it; None where nobody trusts that maker here.

    Attributes:
        snp: For the SNP reports below Azure's paravisor as well.
        tdx: For SGX quotes, and for the TDX quotes below Azure's paravisor, as well.
        tokens: Issuers of EAR tokens and of tokens of Confidential Space.
    """

    snp: SnpCollateral | None = None
    tdx: TdxCollateral | None = None
    nitro: NitroCollateral | None = None
    tpm: TpmCollateral | None = None
    nvidia: NvidiaCollateral | None = None
    tokens: TokenCollateral | None = None


def _verify_azure_snp(evidence: UnverifiedEvidence, collateral: SnpCollateral, *, at: datetime) -> Claims:
    return verify_azure_snp(evidence, AzureCollateral(snp=collateral), at=at)


def _verify_azure_tdx(evidence: UnverifiedEvidence, collateral: TdxCollateral, *, at: datetime) -> Claims:
    return verify_azure_tdx(evidence, AzureCollateral(tdx=collateral), at=at)


# By kind: the field of the collateral, and the verifier that takes what stands there.
_VERIFIERS: Final[Mapping[str, tuple[str, Callable[..., Claims]]]] = {
    "snp": ("snp", verify_snp),
    "tdx": ("tdx", verify_tdx),
    "nitro": ("nitro", verify_nitro),
    "tpm": ("tpm", verify_tpm),
    "nvidia-gpu": ("nvidia", verify_nvidia),
    "nvidia-switch": ("nvidia", verify_nvidia),
    "azure-snp": ("snp", _verify_azure_snp),
    "azure-tdx": ("tdx", _verify_azure_tdx),
    "ear-token": ("tokens", verify_ear_token),
    "gcs-token": ("tokens", verify_gcs_token),
}


def verify_evidence(evidence: UnverifiedEvidence, collateral: Collateral, *, at: datetime) -> Claims:
    """Verify one piece of evidence by the verifier of its kind.

    Raises:
        RefusedError: EvidenceInvalid for a kind that has none, CollateralMissing where the collateral does not speak of
            it, and what the verifier raises.
    """
    known = _VERIFIERS.get(evidence.kind)
    if known is None:
        raise RefusedError(Reason.EVIDENCE_INVALID, f"evidence of kind {evidence.kind[:32]!r} has no verifier")
    name, verify = known
    own: Any = getattr(collateral, name)
    if own is None:
        raise RefusedError(
            Reason.COLLATERAL_MISSING, f"there is no collateral for {evidence.kind} evidence: nobody trusts it here"
        )
    return verify(evidence, own, at=at)
