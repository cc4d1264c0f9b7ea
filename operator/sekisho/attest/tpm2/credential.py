"""MakeCredential in software (TCG TPM 2.0 Library, Part 1, clause 24): a secret that one TPM opens, for one key in it.

The TPM that holds the endorsement key opens it with ActivateCredential if, and only if, a key of the very Name it was
made for is loaded there; so whoever returns the secret holds both in one TPM.
"""

import hashlib
import hmac
import struct
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from sekisho.attest.tpm2.structures import TpmKey, check_endorsement_key
from sekisho.attest.tpm2.wire import pack_sized

SECRET_BYTES: Final = 32
ENTROPY_BYTES: Final = 48
_IDENTITY: Final = b"IDENTITY\0"
_HASHES: Final[dict[str, hashes.HashAlgorithm]] = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384()}
# Of P-256 and P-384. 384 bits taken modulo either are as good as even.
_ORDERS: Final = {
    256: 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    384: 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,
}


@dataclass(frozen=True, slots=True)
class Credential:
    """What travels to the TPM.

    Attributes:
        blob: The content of a TPM2B_ID_OBJECT.
        secret: The content of a TPM2B_ENCRYPTED_SECRET.
    """

    blob: bytes
    secret: bytes


def make_credential(endorsement: TpmKey, name: bytes, secret: bytes, *, entropy: bytes) -> Credential:
    """Wrap a secret for one key in one TPM.

    Args:
        endorsement: The endorsement key of that TPM.
        name: The Name of the key that must be there too.
        secret: 32 bytes; secret.
        entropy: 48 random bytes, used for nothing else; secret.

    Raises:
        RefusedError: EvidenceUntrusted; the key is no endorsement key.
        ValueError: A length is wrong.
    """
    if len(secret) != SECRET_BYTES or len(entropy) != ENTROPY_BYTES:
        raise ValueError(f"a credential takes {SECRET_BYTES} bytes of secret and {ENTROPY_BYTES} of entropy")
    check_endorsement_key(endorsement)
    by = endorsement.hash_name
    if isinstance(endorsement.public, rsa.RSAPublicKey):
        seed, wrapped = _seal_seed(endorsement.public, entropy, by=by)
    else:
        seed, wrapped = _agree_seed(endorsement.public, entropy, by=by)
    storage = kdf_a(seed, b"STORAGE", name, bits=endorsement.symmetric_bits, by=by)
    identity = encrypt_cfb(storage, pack_sized(secret))
    key = kdf_a(seed, b"INTEGRITY", bits=8 * len(seed), by=by)
    return Credential(pack_sized(hmac.digest(key, identity + name, by)) + identity, wrapped)


def kdf_a(key: bytes, label: bytes, context: bytes = b"", *, bits: int, by: str = "sha256") -> bytes:
    """Derive as many bits as the hash `by` has, or fewer, by KDFa (clause 11.4.10.2).

    That is one block of SP 800-108 in counter mode.
    """
    fixed = struct.pack(">I", 1) + label + b"\0" + context + struct.pack(">I", bits)
    return hmac.digest(key, fixed, by)[: bits // 8]


def kdf_e(shared: bytes, first: bytes, second: bytes, *, by: str = "sha256") -> bytes:
    """Derive as many bits as the hash `by` has by KDFe (clause 11.4.10.3) with the label of a credential."""
    return hashlib.new(by, struct.pack(">I", 1) + shared + _IDENTITY + first + second).digest()


def encrypt_cfb(key: bytes, data: bytes) -> bytes:
    """Encrypt by AES in CFB with full blocks and a zero IV, as TPMs do; the key is used once."""
    cipher = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 - CFB is built from single blocks
    sealed, feedback = b"", bytes(16)
    for at in range(0, len(data), 16):
        block = data[at : at + 16]
        feedback = bytes(one ^ two for one, two in zip(block, cipher.update(feedback), strict=False))
        sealed += feedback
    return sealed


def _seal_seed(public: rsa.RSAPublicKey, entropy: bytes, *, by: str) -> tuple[bytes, bytes]:
    algorithm = _HASHES[by]
    seed = entropy[: algorithm.digest_size]
    oaep = padding.OAEP(padding.MGF1(algorithm), algorithm, _IDENTITY)
    return seed, public.encrypt(seed, oaep)


def _agree_seed(public: ec.EllipticCurvePublicKey, entropy: bytes, *, by: str) -> tuple[bytes, bytes]:
    curve, size = public.curve, public.key_size // 8
    ephemeral = ec.derive_private_key(int.from_bytes(entropy, "big") % (_ORDERS[public.key_size] - 1) + 1, curve)
    mine, theirs = ephemeral.public_key().public_numbers(), public.public_numbers()
    shared = ephemeral.exchange(ec.ECDH(), public)
    x, y = mine.x.to_bytes(size, "big"), mine.y.to_bytes(size, "big")
    return kdf_e(shared, x, theirs.x.to_bytes(size, "big"), by=by), pack_sized(x) + pack_sized(y)
