"""Claims: what verified evidence says about where code runs, in one vocabulary for every kind of hardware.

The words are those of RFC 9334. A verifier turns evidence into claims and judges only what is mathematics and standard:
signatures, chains, bindings, formats. Whether the claims are good enough is for an appraisal policy to say.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Tee(StrEnum):
    """What the evidence comes from; the value is what policies and node labels say."""

    SNP = "snp"
    TDX = "tdx"
    SGX = "sgx"
    NITRO = "nitro"
    TPM = "tpm"
    NVIDIA_GPU = "nvidia-gpu"
    NVIDIA_SWITCH = "nvidia-switch"
    RESULT = "attestation-result"


class TcbStatus(StrEnum):
    """How the platform's security version stands; Intel's words, used for all.

    A verifier whose hardware knows no such statement says `UNKNOWN`; whether that is enough is the policy's to say.
    """

    UP_TO_DATE = "UpToDate"
    SW_HARDENING_NEEDED = "SWHardeningNeeded"
    CONFIGURATION_NEEDED = "ConfigurationNeeded"
    CONFIGURATION_AND_SW_HARDENING_NEEDED = "ConfigurationAndSWHardeningNeeded"
    OUT_OF_DATE = "OutOfDate"
    OUT_OF_DATE_CONFIGURATION_NEEDED = "OutOfDateConfigurationNeeded"
    REVOKED = "Revoked"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class Window:
    """When everything that a verification rests on is valid: certificates, revocation lists, TCB statements.

    Attributes:
        not_before: The latest beginning.
        not_after: The earliest end.
    """

    not_before: datetime
    not_after: datetime

    def covers(self, at: datetime) -> bool:
        """Tell whether `at` lies in the window, ends included."""
        return self.not_before <= at <= self.not_after


@dataclass(frozen=True, slots=True)
class Claims:
    """What one piece of verified evidence says.

    Attributes:
        tee: What signed.
        debug: True where the owner of the machine may look into the environment or change it.
        tcb_status: How the platform's security version stands against the collateral.
        tcb: Security versions by component, as reported, e.g. ("microcode", 219); names are the vendor's, sorted.
        measurement: What was launched: SNP's MEASUREMENT, TDX's MRTD, Nitro's PCR0, the digest of a TPM's quoted PCRs;
            empty where the kind has none.
        registers: Other measurement registers by name, e.g. ("rtmr0", …), ("pcr4", …), sorted by name; only what is
            covered by the signature.
        configuration: The digest the launcher set: SNP's HOST_DATA, TDX's MRCONFIGID; empty where there is none.
        bound_data: What the one who asked for the evidence had committed to: report data, nonce, user data.
        chip_id: Names the chip or device, stable over boots; None where the platform masks it.
        evidence_digest: "sha256:…" of the signed bytes.
        window: When all that was relied on is valid.
        advisories: Security advisories named by the collateral.
        facts: Further signed facts by name as text, e.g. ("vmpl", "0"), ("product", "Milan"); sorted.
        parts: Claims of evidence that this evidence vouches for, e.g. the SNP report behind a virtual TPM.
    """

    tee: Tee
    debug: bool
    tcb_status: TcbStatus
    measurement: bytes
    bound_data: bytes
    chip_id: bytes | None
    evidence_digest: str
    window: Window
    tcb: tuple[tuple[str, int], ...] = ()
    registers: tuple[tuple[str, bytes], ...] = ()
    configuration: bytes = b""
    advisories: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    parts: tuple["Claims", ...] = ()

    def fact(self, name: str) -> str | None:
        """Return a fact by name; None where the evidence does not speak of it."""
        return dict(self.facts).get(name)

    def register(self, name: str) -> bytes | None:
        """Return a register by name; None where the evidence does not cover it."""
        return dict(self.registers).get(name)
