"""Public keys that may sign: Ed25519, and ECDSA on P-256 and P-384. The key alone decides the algorithm."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from sekisho.errors import Reason, RefusedError

MAX_KEY_BYTES: Final = 4 * 1024
KINDS: Final = "Ed25519, ECDSA P-256 and ECDSA P-384 can be used"
_HASHES: Final[Mapping[str, hashes.HashAlgorithm]] = {"secp256r1": hashes.SHA256(), "secp384r1": hashes.SHA384()}


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key that a signature can be checked with.

    Attributes:
        key_id: "sha256:" and the digest of its DER (SubjectPublicKeyInfo).
    """

    key_id: str
    key: Ed25519PublicKey | EllipticCurvePublicKey = field(repr=False, compare=False)

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Tell whether this key made `signature` over `message`; ECDSA with the hash that belongs to its curve."""
        try:
            if isinstance(self.key, Ed25519PublicKey):
                self.key.verify(signature, message)
            else:
                self.key.verify(signature, message, choose_ecdsa(self.key.curve.name))
        except InvalidSignature:
            return False
        return True


def choose_ecdsa(curve: str) -> ECDSA:
    """Choose how a key on `curve` signs; KeyError where keys on it may not."""
    return ECDSA(_HASHES[curve])


def take_public_key(key: object, *, name: str) -> PublicKey:
    """Take a loaded public key.

    Raises:
        RefusedError: Of another kind than those that may sign.
    """
    if not isinstance(key, EllipticCurvePublicKey | Ed25519PublicKey) or (
        isinstance(key, EllipticCurvePublicKey) and key.curve.name not in _HASHES
    ):
        raise _refuse(f"{name} is a key of a kind that cannot sign here; {KINDS}")
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return PublicKey(f"sha256:{hashlib.sha256(der).hexdigest()}", key)


def parse_public_key(pem: str, *, name: str) -> PublicKey:
    """Read one public key from PEM.

    Args:
        pem: "-----BEGIN PUBLIC KEY-----".
        name: Where it stands, for refusals.

    Raises:
        RefusedError: PolicyInvalid; a private key, no PEM, or a kind that may not sign.
    """
    if "PRIVATE KEY" in pem:
        raise _refuse(
            f"{name} is a private key; replace that key, it is no secret any more, and put the public one here"
        )
    if len(pem) > MAX_KEY_BYTES or pem.count("-----BEGIN") != 1:
        raise _refuse(f"{name} is not one PEM block of at most {MAX_KEY_BYTES} bytes")
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _refuse(f'{name} is not a public key in PEM; it begins with "-----BEGIN PUBLIC KEY-----"') from error
    return take_public_key(key, name=name)


def _refuse(text: str) -> RefusedError:
    return RefusedError(Reason.POLICY_INVALID, text)
