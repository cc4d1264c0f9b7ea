"""Check ECDSA signatures in the fixed form r‖s that devices and tokens use; curve and hash belong together."""

from collections.abc import Mapping
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey

from sekisho.attest.signatures import ecdsa_holds
from sekisho.errors import Reason, RefusedError

_HASHES: Final[Mapping[str, tuple[int, hashes.HashAlgorithm]]] = {
    "secp256r1": (32, hashes.SHA256()),
    "secp384r1": (48, hashes.SHA384()),
}


def verify_ecdsa(key: object, signature: bytes, message: bytes, *, name: str, curve: str = "secp384r1") -> None:
    """Check that the owner of `key` signed `message`.

    Args:
        key: The key of a certificate whose chain holds, or one that somebody configured.
        signature: r‖s, big-endian, each as long as the curve's numbers.
        message: What was signed, not its digest.
        name: Of what was signed, for the refusal.
        curve: "secp384r1" with SHA-384 or "secp256r1" with SHA-256.

    Raises:
        RefusedError: EvidenceUntrusted; another kind of key, another length, or the signature does not hold.
    """
    size, algorithm = _HASHES[curve]
    if not isinstance(key, EllipticCurvePublicKey) or key.curve.name != curve:
        raise _untrusted(f"the key that signs {name} is not an ECDSA key on {curve}")
    if len(signature) != 2 * size:
        raise _untrusted(f"the signature of {name} has {len(signature)} bytes, {2 * size} belong to {curve}")
    r, s = int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
    if not ecdsa_holds(key, (r, s), message, algorithm):
        raise _untrusted(f"the signature of {name} does not hold under the key that should have made it")


def _untrusted(message: str) -> RefusedError:
    return RefusedError(Reason.EVIDENCE_UNTRUSTED, message)
