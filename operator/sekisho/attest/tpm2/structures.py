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
P384: Final = 0x0004
SHA384: Final = 0x000C
HASHES: Final = {SHA256: "sha256", SHA384: "sha384"}
"""Hashes that keys are named by, as hashlib calls them."""

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
# hierarchy; and B.6.3, that of the templates above them that are named by SHA-384.
EK_POLICY: Final = bytes.fromhex("837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa")
EK_POLICY_384: Final = bytes.fromhex(
    "b26e7d28d11a50bc53d882bcf5fd3a1a074148bb35d3b4e4cb1c0ad9bde419cacb47ba09699646150f9fc000f3f80e12"
)
_AES_128_CFB: Final = struct.pack(">HHH", AES, 128, CFB)
_AES_256_CFB: Final = struct.pack(">HHH", AES, 256, CFB)
_EK_PROFILES: Final = {("sha256", EK_POLICY, 128), ("sha384", EK_POLICY_384, 256)}
_CURVES: Final[dict[int, ec.EllipticCurve]] = {P256: ec.SECP256R1(), P384: ec.SECP384R1()}
# Tells this project's attestation key from others made of the same seed; another value is another key.
_AK_UNIQUE: Final = hashlib.sha256(b"sekisho attestation key v1").digest()


@dataclass(frozen=True, slots=True)
class EndorsementKind:
    """One kind of endorsement key: its template (a TPMT_PUBLIC), and where its certificate lies.

    Attributes:
        by_password: Whether its empty password opens credentials; else the policy does, by that of the hierarchy.
    """

    name: str
    template: bytes
    certificate_index: int
    by_password: bool = False


def _head(kind: int, attributes: int, policy: bytes, *, named_by: int = SHA256) -> bytes:
    return struct.pack(">HHI", kind, named_by, attributes) + pack_sized(policy)


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
_EK_HIGH: Final = _EK_ATTRIBUTES | USER_WITH_AUTH
EK_RSA_3072: Final = EndorsementKind(
    "RSA 3072",
    _head(RSA, _EK_HIGH, EK_POLICY_384, named_by=SHA384)
    + _AES_256_CFB
    + struct.pack(">HHI", ALG_NULL, 3072, 0)
    + pack_sized(b""),
    0x01C0001C,
    by_password=True,
)
EK_ECC_384: Final = EndorsementKind(
    "ECC P-384",
    _head(ECC, _EK_HIGH, EK_POLICY_384, named_by=SHA384)
    + _AES_256_CFB
    + struct.pack(">HHH", ALG_NULL, P384, ALG_NULL)
    + pack_sized(b"") * 2,
    0x01C00016,
    by_password=True,
)
EK_KINDS: Final = (EK_RSA, EK_ECC, EK_RSA_3072, EK_ECC_384)
"""In the order in which they are looked for: a TPM that has several is known by the first."""
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
        policy: The authorisation policy, empty or a digest.
        symmetric_bits: Of AES in CFB, under which the children of a parent are kept; 0 where it is none.
        public: The key itself.
        hash_name: The hash that it is named by, as hashlib calls it.
    """

    area: bytes
    attributes: int
    policy: bytes
    symmetric_bits: int
    public: rsa.RSAPublicKey | ec.EllipticCurvePublicKey
    hash_name: str = "sha256"

    @property
    def name(self) -> bytes:
        """The TPM Name: nameAlg and the digest of the public area, 34 or 50 bytes."""
        return self.area[2:4] + hashlib.new(self.hash_name, self.area).digest()


def parse_public(area: bytes) -> TpmKey:
    """Read a TPMT_PUBLIC of an RSA 2048 to 4096 key or one on P-256 or P-384, named by SHA-256 or SHA-384.

    Raises:
        RefusedError: EvidenceInvalid.
    """
    reader = Reader(area, "public area of a TPM's key")
    if len(area) > MAX_PUBLIC_BYTES:
        raise reader.refuse(f"has {len(area)} bytes, {MAX_PUBLIC_BYTES} are allowed")
    kind, name_algorithm, attributes = reader.u16(), reader.u16(), reader.u32()
    if (hash_name := HASHES.get(name_algorithm)) is None:
        raise reader.refuse(f"is named by algorithm {name_algorithm:#06x}, not by SHA-256 or SHA-384")
    policy = reader.sized(64)
    symmetric_bits = _read_symmetric(reader)
    if kind == RSA:
        public: rsa.RSAPublicKey | ec.EllipticCurvePublicKey = _read_rsa(reader)
    elif kind == ECC:
        public = _read_point(reader)
    else:
        raise reader.refuse(f"is of type {kind:#06x}, neither RSA nor ECC")
    reader.end()
    return TpmKey(area, attributes, policy, symmetric_bits, public, hash_name)


def check_endorsement_key(key: TpmKey) -> None:
    """Check that a key can be nothing but an endorsement key: a restricted parent under the profile's policy.

    Raises:
        RefusedError: EvidenceUntrusted.
    """
    wanted = key.attributes & _EK_USED == _BORN_HERE | DECRYPT
    if not wanted or (key.hash_name, key.policy, key.symmetric_bits) not in _EK_PROFILES:
        raise RefusedError(
            Reason.EVIDENCE_UNTRUSTED,
            f"the endorsement key (attributes {key.attributes:#010x}) is no restricted decryption key of the TCG's "
            "templates L-1, L-2, H-3 or H-6",
        )


def check_attestation_key(key: TpmKey) -> None:
    """Check that a key was made in its TPM, never leaves it, and signs nothing but what its TPM says of itself.

    Raises:
        RefusedError: EvidenceUntrusted.
    """
    if key.attributes & _AK_USED != _BORN_HERE | SIGN or key.hash_name != "sha256":
        raise RefusedError(
            Reason.EVIDENCE_UNTRUSTED,
            f"the attestation key (attributes {key.attributes:#010x}, named by {key.hash_name}) is no restricted "
            "signing key made in a TPM that stays there, named by sha256; it could sign what no TPM said",
        )


def _read_symmetric(reader: Reader) -> int:
    algorithm = reader.u16()
    if algorithm == ALG_NULL:
        return 0
    bits, mode = reader.u16(), reader.u16()
    if (algorithm, mode) != (AES, CFB) or bits not in {128, 256}:
        raise reader.refuse(f"protects children by algorithm {algorithm:#06x} of {bits} bits, not by AES in CFB")
    return bits


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
    if curve not in _CURVES:
        raise reader.refuse(f"is on curve {curve:#06x}, not on P-256 or P-384")
    _read_scheme(reader)
    return _load_point(reader, _CURVES[curve])


def _load_point(reader: Reader, curve: ec.EllipticCurve) -> ec.EllipticCurvePublicKey:
    size = curve.key_size // 8
    x, y = reader.sized(size), reader.sized(size)
    numbers = ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), curve)
    try:
        return numbers.public_key()
    except ValueError as error:
        raise reader.refuse(f"names a point that is not on P-{curve.key_size}") from error
