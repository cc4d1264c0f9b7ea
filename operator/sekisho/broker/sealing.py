"""Encrypt an answer to the ephemeral key that the evidence commits to, by HPKE (RFC 9180, base mode)."""

from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from sekisho.attest.binding import Binding
from sekisho.errors import Reason, RefusedError

SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_ENC_BYTES: Final = 32


def seal_key(data_key: bytes, binding: Binding) -> tuple[bytes, bytes]:
    """Return the encapsulated key and the ciphertext; only the holder of the private key of `binding` opens it.

    The binding is the `info` of the exchange: an answer opens for the very release it was made for.

    Raises:
        RefusedError: RequestInvalid; the public key is none that anything can be encrypted to.
    """
    try:
        public = X25519PublicKey.from_public_bytes(binding.public_key)
        sealed = SUITE.encrypt(data_key, public, info=binding.encode())
    except ValueError as error:
        raise RefusedError(Reason.REQUEST_INVALID, "the ephemeral key is no X25519 key of use") from error
    return sealed[:_ENC_BYTES], sealed[_ENC_BYTES:]
