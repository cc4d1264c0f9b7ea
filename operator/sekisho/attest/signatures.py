"""Signatures of hardware that carry r and s as plain numbers instead of in DER."""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import HashAlgorithm


def ecdsa_holds(
    key: EllipticCurvePublicKey, signature: tuple[int, int], message: bytes, algorithm: HashAlgorithm
) -> bool:
    """Tell whether `key` made the signature (r, s) over `message`; numbers out of range are no signature."""
    try:
        key.verify(encode_dss_signature(*signature), message, ECDSA(algorithm))
    except InvalidSignature:
        return False
    return True
