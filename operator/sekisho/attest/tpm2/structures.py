"""Keys of a TPM: the templates they are made from, their public areas, and their Names."""

import hashlib
import struct
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from sekisho.attest.tpm2.wire import ALG_NULL, SHA256, Reader, pack_sized
from sekisho.errors import Reason, RefusedError

MAX_PUBLIC_BYTES: Final = 1024
RSA: Final = 0x0001
ECC: Final = 0x0023
AES: Final = 0x0006
CFB: Final = 0x0043
ECDSA: Final = 0x0018
P256: Final = 0x0003

# TPMA_OBJECT
FIXED_TPM: Final = 1 << 1
FIXED_PARENT: Final = 1 << 4
SENSITIVE_DATA_ORIGIN: Final = 1 << 5
USER_WITH_AUTH: Final = 1 << 6
ADMIN_WITH_POLICY: Final = 1 << 7
RESTRICTED: Final = 1 << 16
DECRYPT: Final = 1 << 17
SIGN: Final = 1 << 18
_BORN_HERE: Final = FIXED_TPM | FIXED_PARENT | SENSITIVE_DATA_ORIGIN | RESTRICTED
_EK_ATTRIBUTES: Final = _BORN_HERE | ADMIN_WITH_POLICY | DECRYPT
_AK_ATTRIBUTES: Final = _BORN_HERE | USER_WITH_AUTH | SIGN
_EK_USED: Final = _BORN_HERE | DECRYPT | SIGN
_AK_USED: Final = _BORN_HERE | SIGN | DECRYPT

# TCG EK Credential Profile 2.5, B.3.3 and B.3.4: the policy of templates L-1 and L-2, PolicySecret of the endorsement
# hierarchy.
EK_POLICY: Final = bytes.fromhex("837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa")
_AES_128_CFB: Final = struct.pack(">HHH", AES, 128, CFB)
# Tells this project's attestation key from others made of the same seed; another value is another key.
_AK_UNIQUE: Final = hashlib.sha256(b"sekisho attestation key v1").digest()


@dataclass(frozen=True, slots=True)
class EndorsementKind:
    """One kind of endorsement key: its template (a TPMT_PUBLIC), and where its certificate lies."""

    name: str
    template: bytes
    certificate_index: int


def _head(kind: int, attributes: int, policy: bytes) -> bytes:
    return struct.pack(">HHI", kind, SHA256, attributes) + pack_sized(policy)


EK_RSA: Final = EndorsementKind(
    "RSA 2048",
    _head(RSA, _EK_ATTRIBUTES, EK_POLICY)
    + _AES_128_CFB
    + struct.pack(">HHI", ALG_NULL, 2048, 0)
    + pack_sized(bytes(256)),
    0x01C00002,
)
EK_ECC: Final = EndorsementKind(
    "ECC P-256",
    _head(ECC, _EK_ATTRIBUTES, EK_POLICY)
    + _AES_128_CFB
    + struct.pack(">HHH", ALG_NULL, P256, ALG_NULL)
    + pack_sized(bytes(32)) * 2,
    0x01C0000A,
)
AK_TEMPLATE: Final = (
    _head(ECC, _AK_ATTRIBUTES, b"")
    + struct.pack(">HHHHH", ALG_NULL, ECDSA, SHA256, P256, ALG_NULL)
    + pack_sized(_AK_UNIQUE)
    + pack_sized(bytes(32))
)


@dataclass(frozen=True, slots=True)
class TpmKey:
    """The public area of a key, read.

    Attributes:
        area: The TPMT_PUBLIC as it came.
        attributes: TPMA_OBJECT.
        policy: The authorisation policy, empty or 32 bytes.
        symmetric: Whether it is a parent whose children are kept under AES-128 in CFB.
        public: The key itself.
    """

    area: bytes
    attributes: int
    policy: bytes
    symmetric: bool
    public: rsa.RSAPublicKey | ec.EllipticCurvePublicKey

    @property
    def name(self) -> bytes:
        """The TPM Name: nameAlg and the digest of the public area, 34 bytes."""
        return struct.pack(">H", SHA256) + hashlib.sha256(self.area).digest()


def parse_public(area: bytes) -> TpmKey:
    """Read a TPMT_PUBLIC of an RSA 2048 to 4096 key or one on P-256, named by SHA-256.

    Raises:
        RefusedError: EvidenceInvalid.
    """
    reader = Reader(area, "public area of a TPM's key")
    if len(area) > MAX_PUBLIC_BYTES:
        raise reader.refuse(f"has {len(area)} bytes, {MAX_PUBLIC_BYTES} are allowed")
    kind, name_algorithm, attributes = reader.u16(), reader.u16(), reader.u32()
    if name_algorithm != SHA256:
        raise reader.refuse(f"is named by algorithm {name_algorithm:#06x}, not by SHA-256")
    policy = reader.sized(64)
    symmetric = _read_symmetric(reader)
    if kind == RSA:
        public: rsa.RSAPublicKey | ec.EllipticCurvePublicKey = _read_rsa(reader)
    elif kind == ECC:
        public = _read_point(reader)
    else:
        raise reader.refuse(f"is of type {kind:#06x}, neither RSA nor ECC")
    reader.end()
    return TpmKey(area, attributes, policy, symmetric, public)


def check_endorsement_key(key: TpmKey) -> None:
    """Check that a key can be nothing but an endorsement key: a restricted parent under the profile's policy.

    Raises:
        RefusedError: EvidenceUntrusted.
    """
    wanted = key.attributes & _EK_USED == _BORN_HERE | DECRYPT
    if not wanted or key.policy != EK_POLICY or not key.symmetric:
        raise RefusedError(
            Reason.EVIDENCE_UNTRUSTED,
            f"the endorsement key (attributes {key.attributes:#010x}) is no restricted decryption key of the TCG's "
            "templates L-1 or L-2",
        )


def check_attestation_key(key: TpmKey) -> None:
    """Check that a key was made in its TPM, never leaves it, and signs nothing but what its TPM says of itself.

    Raises:
        RefusedError: EvidenceUntrusted.
    """
    if key.attributes & _AK_USED != _BORN_HERE | SIGN:
        raise RefusedError(
            Reason.EVIDENCE_UNTRUSTED,
            f"the attestation key (attributes {key.attributes:#010x}) is no restricted signing key made in a TPM "
            "that stays there; it could sign what no TPM said",
        )


def _read_symmetric(reader: Reader) -> bool:
    algorithm = reader.u16()
    if algorithm == ALG_NULL:
        return False
    bits, mode = reader.u16(), reader.u16()
    if (algorithm, bits, mode) != (AES, 128, CFB):
        raise reader.refuse(f"protects children by algorithm {algorithm:#06x} of {bits} bits, not by AES-128 in CFB")
    return True


def _read_scheme(reader: Reader) -> None:
    if reader.u16() != ALG_NULL:
        reader.u16()  # its hash


def _read_rsa(reader: Reader) -> rsa.RSAPublicKey:
    _read_scheme(reader)
    bits, exponent, modulus = reader.u16(), reader.u32(), reader.sized(512)
    if bits not in {2048, 3072, 4096} or len(modulus) * 8 != bits or modulus[0] < 0x80:
        raise reader.refuse(f"has a modulus of {len(modulus)} bytes and says {bits} bits; 2048 to 4096 are allowed")
    try:
        return rsa.RSAPublicNumbers(exponent or 65537, int.from_bytes(modulus, "big")).public_key()
    except ValueError as error:
        raise reader.refuse("holds no RSA key") from error


def _read_point(reader: Reader) -> ec.EllipticCurvePublicKey:
    _read_scheme(reader)
    curve = reader.u16()
    if curve != P256:
        raise reader.refuse(f"is on curve {curve:#06x}, not on P-256")
    _read_scheme(reader)
    return load_point(reader)


def load_point(reader: Reader) -> ec.EllipticCurvePublicKey:
    """Read a TPMS_ECC_POINT on P-256.

    Raises:
        RefusedError: EvidenceInvalid; it is not on the curve.
    """
    x, y = reader.sized(32), reader.sized(32)
    numbers = ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), ec.SECP256R1())
    try:
        return numbers.public_key()
    except ValueError as error:
        raise reader.refuse("names a point that is not on P-256") from error
