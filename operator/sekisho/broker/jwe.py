"""Encrypt an answer to a guest's key: JSON Web Encryption (RFC 7516), flattened, A256GCM, as guest components open it.

The content key is wrapped by ECDH-ES+A256KW (P-256, P-521) or RSA-OAEP-256; RSA1_5 is not spoken. The protected header
is spelt in the one order in which guests spell it again, for that spelling is what is authenticated.
"""

import base64
import json
import secrets
import struct
from collections.abc import Mapping
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

from sekisho.attest.jwk import decode_base64url
from sekisho.errors import Reason, RefusedError

ECDH: Final = "ECDH-ES+A256KW"
RSA_OAEP: Final = "RSA-OAEP-256"
_ENCRYPTION: Final = "A256GCM"
_KEY_BYTES: Final = 32
_IV_BYTES: Final = 12
_TAG_BYTES: Final = 16
_MIN_RSA_BITS: Final = 2048
_MAX_RSA_BITS: Final = 8192
_CURVES: Final[Mapping[str, tuple[type[ec.EllipticCurve], int]]] = {
    "P-256": (ec.SECP256R1, 32), "P-521": (ec.SECP521R1, 66),
}  # fmt: skip
GuestKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey


def parse_guest_key(jwk: Mapping[str, str]) -> GuestKey:
    """Read a guest's public key.

    Raises:
        RefusedError: RequestInvalid; not on its curve, too small, or for another algorithm than its kind has.
    """
    try:
        key = _build(jwk)
    except (KeyError, ValueError) as error:
        raise _invalid("it cannot be read") from error
    wanted = RSA_OAEP if isinstance(key, rsa.RSAPublicKey) else ECDH
    if jwk["alg"] != wanted:
        raise _invalid(f"its algorithm is {jwk['alg'][:32]!r}, {wanted} is spoken")
    if isinstance(key, rsa.RSAPublicKey) and not _MIN_RSA_BITS <= key.key_size <= _MAX_RSA_BITS:
        raise _invalid(f"it has {key.key_size} bits, {_MIN_RSA_BITS} to {_MAX_RSA_BITS} can be used")
    return key


def encrypt(plaintext: bytes, key: GuestKey) -> dict[str, str]:
    """Encrypt to a guest's key; only who has the other half can open it.

    Args:
        plaintext: Secret.
        key: As :func:`parse_guest_key` read it.
    """
    content_key, iv = secrets.token_bytes(_KEY_BYTES), secrets.token_bytes(_IV_BYTES)
    if isinstance(key, rsa.RSAPublicKey):
        header: dict[str, Any] = {"alg": RSA_OAEP, "enc": _ENCRYPTION}
        wrapped = key.encrypt(content_key, padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None))
    else:
        ephemeral = ec.generate_private_key(key.curve)
        header = {"alg": ECDH, "enc": _ENCRYPTION, "epk": _spell_point(ephemeral.public_key())}
        wrapped = aes_key_wrap(derive_wrapping_key(ephemeral.exchange(ec.ECDH(), key)), content_key)
    protected = _spell(json.dumps(header, separators=(",", ":")).encode())
    sealed = AESGCM(content_key).encrypt(iv, plaintext, protected.encode())
    return {
        "protected": protected,
        "encrypted_key": _spell(wrapped),
        "iv": _spell(iv),
        "ciphertext": _spell(sealed[:-_TAG_BYTES]),
        "tag": _spell(sealed[-_TAG_BYTES:]),
    }


def derive_wrapping_key(shared: bytes) -> bytes:
    """Derive the key that wraps the content key (RFC 7518, section 4.6.2), without names of the parties."""
    other = struct.pack(">I", len(ECDH)) + ECDH.encode() + struct.pack(">III", 0, 0, _KEY_BYTES * 8)
    return ConcatKDFHash(hashes.SHA256(), _KEY_BYTES, other).derive(shared)


def _build(jwk: Mapping[str, str]) -> GuestKey:
    def number(name: str, size: int | None = None) -> int:
        data = decode_base64url(jwk[name].encode())
        if size is not None and len(data) != size:
            raise ValueError(f"{name} has {len(data)} bytes, not {size}")
        return int.from_bytes(data, "big")

    if jwk["kty"] == "RSA":
        return rsa.RSAPublicNumbers(number("e"), number("n")).public_key()
    curve, size = _CURVES[jwk["crv"]]
    return ec.EllipticCurvePublicNumbers(number("x", size), number("y", size), curve()).public_key()


def _spell_point(key: ec.EllipticCurvePublicKey) -> dict[str, str]:
    numbers = key.public_numbers()
    name, size = next((name, size) for name, (curve, size) in _CURVES.items() if isinstance(key.curve, curve))
    x, y = numbers.x.to_bytes(size, "big"), numbers.y.to_bytes(size, "big")
    return {"crv": name, "kty": "EC", "x": _spell(x), "y": _spell(y)}


def _spell(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _invalid(what: str) -> RefusedError:
    return RefusedError(Reason.REQUEST_INVALID, f"the guest's public key cannot be used: {what}")
