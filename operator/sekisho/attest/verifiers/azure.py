"""Verify quotes of the virtual TPM of an Azure confidential machine, whose key the hardware's report vouches for.

The hardware signs what its guest asks for, whoever that is: that the guest is Azure's paravisor is told by the
measurement in `parts` alone, which a policy has to hold against reference values.
"""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sekisho.attest.claims import Claims, Tee
from sekisho.attest.evidence import UnverifiedEvidence
from sekisho.attest.verifiers.azure_hcl import SNP_REPORT, TDX_REPORT, UnverifiedHclReport, parse_hcl_report
from sekisho.attest.verifiers.snp import SnpCollateral, verify_snp
from sekisho.attest.verifiers.tdx import verify_tdx
from sekisho.attest.verifiers.tdx_collateral import TdxCollateral
from sekisho.attest.verifiers.tpm import claim_quote
from sekisho.attest.verifiers.tpm_quote import verify_quote
from sekisho.errors import Reason, RefusedError

HCL_REPORT: Final = "hclReport"
TDX_QUOTE: Final = "quote"
_NAMES: Final = {SNP_REPORT: "SNP", TDX_REPORT: "TDX"}


@dataclass(frozen=True, slots=True)
class AzureCollateral:
    """What the hardware below Azure's paravisor is verified against; None where none of that kind is."""

    snp: SnpCollateral | None = None
    tdx: TdxCollateral | None = None


def verify_azure_snp(evidence: UnverifiedEvidence, collateral: AzureCollateral, *, at: datetime) -> Claims:
    """Verify a virtual TPM's quote, and the SNP report in the paravisor's report that vouches for its key.

    The report is the TPMS_ATTEST; its parts are "signature", "pcrs" and, optional, "eventLog", as of a TPM, and
    "hclReport". `certificates` belong to the SNP report. The claims are those of the virtual TPM: `bound_data` is the
    quote's extraData, `chip_id` SHA-256 of its key's DER; `parts` has the claims of the SNP report, and `debug` is true
    where either is to be debugged.

    Raises:
        RefusedError: As the verifiers of TPM and SNP do; EvidenceUntrusted where the report does not vouch for the key.
    """
    hcl = _open(evidence, SNP_REPORT)
    if collateral.snp is None:
        raise _missing("SNP")
    inner = UnverifiedEvidence("snp", hcl.hardware, evidence.certificates)
    return _claim(evidence, hcl, verify_snp(inner, collateral.snp, at=at))


def verify_azure_tdx(evidence: UnverifiedEvidence, collateral: AzureCollateral, *, at: datetime) -> Claims:
    """Verify a virtual TPM's quote, and the TDX quote that vouches for its key; the part "quote" has it.

    Else as :func:`verify_azure_snp`. What the paravisor's report has of the hardware is signed by nobody, so it counts
    for nothing.

    Raises:
        RefusedError: As the verifiers of TPM and TDX do; EvidenceUntrusted where the quote does not vouch for the key.
    """
    hcl = _open(evidence, TDX_REPORT)
    if collateral.tdx is None:
        raise _missing("TDX")
    inner = UnverifiedEvidence("tdx", evidence.part(TDX_QUOTE), evidence.certificates)
    hardware = verify_tdx(inner, collateral.tdx, at=at)
    if hardware.tee is not Tee.TDX:
        raise RefusedError(Reason.EVIDENCE_UNTRUSTED, f"the quote behind azure-tdx evidence is one of {hardware.tee}")
    return _claim(evidence, hcl, hardware)


def _open(evidence: UnverifiedEvidence, kind: int) -> UnverifiedHclReport:
    hcl = parse_hcl_report(evidence.part(HCL_REPORT))
    if hcl.kind != kind:
        raise RefusedError(
            Reason.EVIDENCE_INVALID,
            f"the report of Azure's paravisor is on {_NAMES[hcl.kind]}, the evidence is {evidence.kind}",
        )
    return hcl


def _claim(evidence: UnverifiedEvidence, hcl: UnverifiedHclReport, hardware: Claims) -> Claims:
    if hardware.bound_data != hcl.report_data:
        raise RefusedError(
            Reason.EVIDENCE_UNTRUSTED,
            f"the hardware's report vouches for {hardware.bound_data[:8].hex()}…, "
            f"the runtime data of Azure's paravisor have the digest {hcl.report_data[:8].hex()}…",
        )
    der = hcl.key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    claims = claim_quote(
        evidence,
        verify_quote(evidence, hcl.key),
        window=hardware.window,
        chip_id=hashlib.sha256(der).digest(),
        facts=(("ak-trust", "hardware"), *hcl.configuration),
        parts=(hardware,),
    )
    return replace(claims, debug=claims.debug or hardware.debug)


def _missing(kind: str) -> RefusedError:
    return RefusedError(
        Reason.COLLATERAL_MISSING, f"Azure evidence on {kind} needs the collateral of {kind}; import it"
    )
