"""Sign with a private key that never leaves its token, over PKCS#11."""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, EllipticCurve, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from sekisho.errors import RefusedError
from sekisho.kms import failures
from sekisho.kms.pkcs11 import KMS, Pkcs11Keys, load_client
from sekisho.seal.publickey import PublicKey, take_public_key

_CURVES: Final[Mapping[bytes, EllipticCurve]] = {
    bytes.fromhex("06082a8648ce3d030107"): SECP256R1(),  # DER of each curve's object identifier
    bytes.fromhex("06052b81040022"): SECP384R1(),
}


class Pkcs11SigningKey:
    """One key pair of a token, found by its label: Ed25519, P-256 or P-384.

    Args:
        keys: The token.
        label: CKA_LABEL of the private key and of its public key.
        certificates: DER, the key's own first; none for a bare key.

    Raises:
        RefusedError: No such key, or of another kind.
        UnavailableError: The token does not answer.
    """

    def __init__(self, keys: Pkcs11Keys, label: str, certificates: tuple[bytes, ...] = ()) -> None:
        self._keys = keys
        self._label = label
        self.certificates = certificates
        pkcs11 = load_client()
        with keys.open_session(label) as session:
            key = _find(session, label, pkcs11.ObjectClass.PUBLIC_KEY)
            attribute = pkcs11.Attribute
            kind, parameters, point = (
                key[name] for name in (attribute.KEY_TYPE, attribute.EC_PARAMS, attribute.EC_POINT)
            )
        self.public = _load(label, bytes(parameters), _strip(bytes(point)), edwards=kind == pkcs11.KeyType.EC_EDWARDS)

    def sign(self, message: bytes) -> bytes:
        """Sign in the token; for ECDSA the hash is made here, and the signature is DER."""
        pkcs11 = load_client()
        public = self.public.key
        with self._keys.open_session(self._label) as session:
            key = _find(session, self._label, pkcs11.ObjectClass.PRIVATE_KEY)
            if isinstance(public, Ed25519PublicKey):
                return bytes(key.sign(message, mechanism=pkcs11.Mechanism.EDDSA))
            digest = hashlib.new("sha256" if public.key_size == 256 else "sha384", message).digest()
            raw = bytes(key.sign(digest, mechanism=pkcs11.Mechanism.ECDSA))
        half = len(raw) // 2
        return encode_dss_signature(int.from_bytes(raw[:half]), int.from_bytes(raw[half:]))


def _find(session: Any, label: str, kind: Any) -> Any:
    pkcs11 = load_client()
    found = list(session.get_objects({pkcs11.Attribute.CLASS: kind, pkcs11.Attribute.LABEL: label}))
    if not found:
        raise failures.not_found(KMS, label)
    if len(found) > 1:
        raise failures.unavailable(KMS, f"{len(found)} keys have the label; give each its own")
    if found[0][pkcs11.Attribute.KEY_TYPE] not in {pkcs11.KeyType.EC, pkcs11.KeyType.EC_EDWARDS}:
        raise _unusable(label)
    return found[0]


def _strip(point: bytes) -> bytes:
    """Take the point out of its OCTET STRING; some modules leave that away."""
    return point[2:] if point[:1] == b"\x04" and len(point) == point[1] + 2 else point


def _load(label: str, parameters: bytes, point: bytes, *, edwards: bool) -> PublicKey:
    try:
        if edwards:
            return take_public_key(Ed25519PublicKey.from_public_bytes(point), name=label)
        return take_public_key(EllipticCurvePublicKey.from_encoded_point(_CURVES[parameters], point), name=label)
    except (KeyError, ValueError):
        raise _unusable(label) from None


def _unusable(label: str) -> RefusedError:
    return failures.invalid_name(KMS, label, "a key pair for Ed25519 or ECDSA on P-256 or P-384 is needed")
