"""Verify quotes of a TPM 2.0, by a key that was enrolled by its name or certified by a pinned authority."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cryptography import x509

from sekisho.attest.certificates import SigningKey
from sekisho.attest.chains import arrange, verify_chain
from sekisho.attest.claims import Claims, TcbStatus, Tee, Window
from sekisho.attest.evidence import UnverifiedEvidence
from sekisho.attest.verifiers.tpm_quote import SIGNATURE, VerifiedQuote, verify_quote
from sekisho.attest.verifiers.tpm_structures import AttestationKey, parse_attestation_key, parse_signature
from sekisho.errors import Reason, RefusedError

AK_PUBLIC: Final = "akPublic"
ALWAYS: Final = Window(datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
_AK_PURPOSE: Final = x509.ObjectIdentifier("2.23.133.8.3")  # tcg-kp-AIKCertificate


@dataclass(frozen=True, slots=True)
class TpmCollateral:
    """Which attestation keys are trusted.

    Attributes:
        enrolled: TPM names of keys (the number of a hash, and the hash) that were enrolled one by one.
        roots: DER of authorities that certify attestation keys.
        intermediates: DER of their issuers, for evidence that comes without them.
        crls: DER of revocation lists.
    """

    enrolled: frozenset[bytes] = frozenset()
    roots: tuple[bytes, ...] = ()
    intermediates: tuple[bytes, ...] = ()
    crls: tuple[bytes, ...] = ()


def verify_tpm(evidence: UnverifiedEvidence, collateral: TpmCollateral, *, at: datetime) -> Claims:
    """Verify a quote.

    The report is the TPMS_ATTEST; its parts are "signature" (TPMT_SIGNATURE), "akPublic" (TPMT_PUBLIC), "pcrs" (JSON)
    and, optional, "eventLog". `bound_data` is the quote's extraData, `measurement` its digest over the PCRs,
    `registers` their values, `chip_id` SHA-256 of the attestation key's TPM name. `debug` is true where PCR 0 is all
    zero: then no firmware has measured what was started.

    Raises:
        RefusedError: EvidenceInvalid, EvidenceUntrusted, EvidenceRevoked, CollateralMissing where no key is trusted at
            all, CollateralInvalid, CollateralExpired.
    """
    key = parse_attestation_key(evidence.part(AK_PUBLIC))
    window, origin = _trust(key, evidence, collateral, at=at)
    signature = parse_signature(evidence.part(SIGNATURE))
    if (signature.scheme, signature.algorithm) != (key.scheme, key.algorithm):
        raise _untrusted(f"the TPM quote is signed by {signature.algorithm} and a scheme that are not its key's own")
    verified = verify_quote(evidence, key.key)
    if verified.quote.qualified_signer[:2] != key.name[:2]:
        raise _untrusted("the TPM quote names a signer by another hash than its attestation key's")
    facts = (("ak-name", key.name.hex()), *origin)
    return claim_quote(evidence, verified, window=window, chip_id=hashlib.sha256(key.name).digest(), facts=facts)


def claim_quote(
    evidence: UnverifiedEvidence,
    verified: VerifiedQuote,
    *,
    window: Window,
    chip_id: bytes,
    facts: tuple[tuple[str, str], ...],
    parts: tuple[Claims, ...] = (),
) -> Claims:
    """Say what a verified quote says."""
    return Claims(
        tee=Tee.TPM,
        debug=verified.pcr0 == "zero",
        tcb_status=TcbStatus.UNKNOWN,
        measurement=verified.quote.digest,
        bound_data=verified.quote.extra_data,
        chip_id=chip_id,
        evidence_digest=f"sha256:{hashlib.sha256(evidence.report).hexdigest()}",
        window=window,
        registers=verified.registers,
        facts=tuple(sorted((*verified.facts, *facts))),
        parts=parts,
    )


def _trust(
    key: AttestationKey, evidence: UnverifiedEvidence, collateral: TpmCollateral, *, at: datetime
) -> tuple[Window, tuple[tuple[str, str], ...]]:
    """Return until when, and why, the key is trusted."""
    if key.name in collateral.enrolled:
        return ALWAYS, (("ak-trust", "enrolled"),)
    if not collateral.enrolled and not collateral.roots:
        raise RefusedError(
            Reason.COLLATERAL_MISSING, "no attestation key is enrolled and no authority pinned; enrol the TPM's key"
        )
    if not evidence.certificates or not collateral.roots:
        raise _untrusted(f"the attestation key {key.name.hex()} is neither enrolled nor certified; enrol it")
    leaf_first = arrange(evidence.certificates[0], (*evidence.certificates[1:], *collateral.intermediates))
    chain = verify_chain(leaf_first, collateral.roots, at=at, crls=collateral.crls)
    if _numbers(chain.leaf.key) != _numbers(key.key):
        raise _untrusted(f"the certificate of {chain.leaf.who} is for another key than the attestation key")
    if not _is_for_attestation(chain.leaf.parsed):
        raise _untrusted(
            f"the certificate of {chain.leaf.who} is not for a key of attestation ({_AK_PURPOSE.dotted_string})"
        )
    revocation = "checked" if chain.revocation_checked else "unchecked"
    return chain.window, (("ak-trust", "certified"), ("revocation", revocation))


def _numbers(key: SigningKey) -> object:
    return key.public_numbers()


def _is_for_attestation(certificate: x509.Certificate) -> bool:
    return any(
        isinstance(each.value, x509.ExtendedKeyUsage) and _AK_PURPOSE in each.value for each in certificate.extensions
    )


def _untrusted(message: str) -> RefusedError:
    return RefusedError(Reason.EVIDENCE_UNTRUSTED, message)
