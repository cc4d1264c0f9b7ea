"""Answers of OCSP responders (RFC 6960) that were fetched before: what they say of the certificates of a chain.

An answer counts where the issuer of the certificate signed it, or somebody whom that issuer certified for nothing else;
and only while it is valid. Nothing is asked here, so there is no nonce.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from sekisho.attest.certificates import (
    HASHES,
    UNREADABLE,
    Certificate,
    SigningKey,
    is_signed,
    parse_named_certificate,
    tell_window,
)
from sekisho.attest.claims import Window
from sekisho.errors import Reason, RefusedError

MAX_ANSWERS: Final = 64
MAX_ANSWER_BYTES: Final = 16 * 1024
MAX_CERTIFICATES: Final = 4


def check_ocsp(
    certificates: Sequence[Certificate], roots: Sequence[bytes], answers: Sequence[bytes], *, at: datetime
) -> tuple[tuple[Window, ...], frozenset[str]]:
    """Look for certificates of a verified chain in answers; answers about others say nothing.

    Args:
        certificates: The chain, leaf first.
        roots: DER of the pinned roots; they issue as well.
        answers: DER.
        at: For when an answer must be valid.

    Returns:
        When the answers that were used are valid, and the DER of which certificates they were about, by name.

    Raises:
        RefusedError: EvidenceRevoked, CollateralInvalid, CollateralExpired.
    """
    if len(answers) > MAX_ANSWERS:
        raise _invalid(f"there are {len(answers)}, {MAX_ANSWERS} are allowed")
    issuers = [*certificates, *(parse_named_certificate(der, Reason.COLLATERAL_INVALID, "a root") for der in roots)]
    windows: list[Window] = []
    checked: set[str] = set()
    for answer in map(parse_answer, answers):
        for issued in certificates:
            issuer = _find_issuer(answer, issued, issuers)
            if issuer is not None:
                windows.append(_judge(answer, issued, issuer, at=at))
                checked.add(issued.who)
    return tuple(windows), frozenset(checked)


def parse_answer(der: bytes) -> ocsp.OCSPResponse:
    """Read an answer about one certificate; unverified.

    Raises:
        RefusedError: CollateralInvalid.
    """
    if len(der) > MAX_ANSWER_BYTES:
        raise _invalid(f"one has {len(der)} bytes, {MAX_ANSWER_BYTES} are allowed")
    try:
        answer = ocsp.load_der_ocsp_response(der)
        if answer.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise _invalid(f"one says {answer.response_status.name} instead of an answer")
        if not isinstance(answer.signature_hash_algorithm, HASHES) or len(answer.certificates) > MAX_CERTIFICATES:
            raise _invalid("one has no hash that can be used, or too many certificates")
        answer.serial_number  # noqa: B018 - raises where it is not about exactly one certificate
    except UNREADABLE as error:
        raise _invalid("one cannot be read, or is about more than one certificate") from error
    return answer


def _find_issuer(answer: ocsp.OCSPResponse, issued: Certificate, issuers: Sequence[Certificate]) -> Certificate | None:
    """Return the issuer of a certificate if the answer is about that certificate of that issuer."""
    if answer.serial_number != issued.parsed.serial_number:
        return None
    for issuer in issuers:
        named = issuer.parsed.subject == issued.parsed.issuer
        if (
            named
            and _hash_key(issuer.key, answer.hash_algorithm) == answer.issuer_key_hash
            and is_signed(issued, issuer)
        ):
            return issuer
    return None


def _judge(answer: ocsp.OCSPResponse, issued: Certificate, issuer: Certificate, *, at: datetime) -> Window:
    if not any(_signed(answer, each.key) for each in _responders(answer, issuer, at=at)):
        raise _invalid(f"neither {issuer.who} nor a responder of its own signed the one about {issued.who}")
    if answer.next_update_utc is None:
        raise _invalid(f"the one about {issued.who} does not tell until when it is valid")
    window = Window(answer.this_update_utc, answer.next_update_utc)
    if not window.covers(at):
        raise RefusedError(
            Reason.COLLATERAL_EXPIRED,
            f"the OCSP answer about {issued.who} is {tell_window(window, at)}; import a newer one",
        )
    if answer.certificate_status is not ocsp.OCSPCertStatus.GOOD:
        raise RefusedError(
            Reason.EVIDENCE_REVOKED,
            f"the certificate of {issued.who} is {answer.certificate_status.name.lower()} to the responder of "
            f"{issuer.who}",
        )
    return window


def _responders(answer: ocsp.OCSPResponse, issuer: Certificate, *, at: datetime) -> list[Certificate]:
    """Return who may answer for an issuer: itself, and whom it certified for that."""
    found = [issuer]
    for parsed in answer.certificates:
        der = parsed.public_bytes(Encoding.DER)
        each = parse_named_certificate(der, Reason.COLLATERAL_INVALID, "a certificate of an OCSP answer")
        if each.window.covers(at) and _answers_only(each) and is_signed(each, issuer):
            found.append(each)
    return found


def _answers_only(certificate: Certificate) -> bool:
    usages = [e.value for e in certificate.parsed.extensions if isinstance(e.value, x509.ExtendedKeyUsage)]
    return [list(each) for each in usages] == [[ExtendedKeyUsageOID.OCSP_SIGNING]]


def _signed(answer: ocsp.OCSPResponse, key: SigningKey) -> bool:
    algorithm, signed = answer.signature_hash_algorithm, answer.tbs_response_bytes
    assert algorithm is not None  # noqa: S101 - looked at when it was parsed
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(answer.signature, signed, ec.ECDSA(algorithm))
        else:
            key.verify(answer.signature, signed, padding.PKCS1v15(), algorithm)
    except InvalidSignature:
        return False
    return True


def _hash_key(key: SigningKey, algorithm: hashes.HashAlgorithm) -> bytes:
    """Hash a key as OCSP names issuers: its bits without their type. SHA-1 is usual there, and only a name."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        bits = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    else:
        bits = key.public_bytes(Encoding.DER, PublicFormat.PKCS1)
    digest = hashes.Hash(algorithm)
    digest.update(bits)
    return digest.finalize()


def _invalid(what: str) -> RefusedError:
    return RefusedError(Reason.COLLATERAL_INVALID, f"the OCSP answers cannot be used: {what}")
