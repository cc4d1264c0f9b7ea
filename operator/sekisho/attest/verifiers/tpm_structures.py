"""Structures of a TPM 2.0 on the wire, after part 2 of its library specification; nothing is believed yet."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from sekisho.attest.certificates import MAX_RSA_BITS, MIN_RSA_BITS, SigningKey
from sekisho.errors import Reason, RefusedError

HASHES: Final[Mapping[int, str]] = {0x000B: "sha256", 0x000C: "sha384", 0x000D: "sha512"}
RSASSA: Final = 0x0014
RSAPSS: Final = 0x0016
ECDSA: Final = 0x0018
_SCHEMES: Final = (RSASSA, RSAPSS, ECDSA)
_MAGIC: Final = 0xFF544347
_ATTEST_QUOTE: Final = 0x8018
_ALG_RSA, _ALG_ECC, _ALG_NULL = 0x0001, 0x0023, 0x0010
_CURVES: Final[Mapping[int, ec.EllipticCurve]] = {3: ec.SECP256R1(), 4: ec.SECP384R1(), 5: ec.SECP521R1()}
_MAX_BYTES: Final = 4096
_MAX_SIZED: Final = 1024
_MAX_BANKS: Final = 8
_MAX_SELECT_BYTES: Final = 4
# Attributes of an object (TPMA_OBJECT).
_FIXED_TPM, _FIXED_PARENT, _SENSITIVE_DATA_ORIGIN = 1 << 1, 1 << 4, 1 << 5
_RESTRICTED, _DECRYPT, _SIGN = 1 << 16, 1 << 17, 1 << 18
_WANTED: Final = (
    ("fixedTPM", _FIXED_TPM),
    ("fixedParent", _FIXED_PARENT),
    ("sensitiveDataOrigin", _SENSITIVE_DATA_ORIGIN),
    ("restricted", _RESTRICTED),
    ("sign", _SIGN),
)


@dataclass(frozen=True, slots=True)
class UnverifiedQuote:
    """What a TPMS_ATTEST of a quote says.

    Attributes:
        qualified_signer: The name of the key with all its parents, as the TPM saw them.
        extra_data: What the one who asked had committed to, at most 64 bytes.
        clock: Milliseconds that the TPM was powered.
        reset_count: How often it was reset.
        restart_count: How often it was resumed since.
        safe: Whether no higher value of `clock` was reported before.
        firmware: Of the TPM, 64 bits by its maker.
        selection: What was quoted: the number of a hash, and PCRs in their order, bank by bank.
        digest: Over the values of those PCRs.
    """

    qualified_signer: bytes
    extra_data: bytes
    clock: int
    reset_count: int
    restart_count: int
    safe: bool
    firmware: int
    selection: tuple[tuple[int, tuple[int, ...]], ...]
    digest: bytes


@dataclass(frozen=True, slots=True)
class Signature:
    """A TPMT_SIGNATURE.

    Attributes:
        scheme: RSASSA, RSAPSS or ECDSA.
        algorithm: The hash, by the name that hashlib has for it.
        value: Of RSA; empty for ECDSA.
        numbers: r and s of ECDSA.
    """

    scheme: int
    algorithm: str
    value: bytes
    numbers: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class AttestationKey:
    """A TPMT_PUBLIC of a key that can be one for attestation: restricted, signing, born in its TPM and bound to it.

    Attributes:
        name: Its TPM name: the number of a hash, and that hash of the whole structure.
        key: The public key.
        scheme: The one way it signs.
        algorithm: The one hash it signs with.
    """

    name: bytes
    key: SigningKey = field(repr=False, compare=False)
    scheme: int
    algorithm: str


@dataclass(slots=True)
class _Cursor:
    """Takes a structure apart from its beginning; every way past its end is refused."""

    data: bytes
    what: str
    at: int = 0

    def take(self, size: int) -> bytes:
        if size > len(self.data) - self.at:
            raise _invalid(self.what, f"ends after {len(self.data)} bytes in the middle of a field")
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def sized(self, most: int = _MAX_SIZED) -> bytes:
        size = self.number(2)
        if size > most:
            raise _invalid(self.what, f"has a field of {size} bytes, {most} are allowed")
        return self.take(size)

    def hash(self) -> str:
        number = self.number(2)
        if number not in HASHES:
            raise _invalid(self.what, f"names the hash 0x{number:04x}; SHA-256, SHA-384 and SHA-512 are known")
        return HASHES[number]

    def end(self) -> None:
        if self.at != len(self.data):
            raise _invalid(self.what, f"goes on for {len(self.data) - self.at} bytes after its end")


def parse_quote(data: bytes) -> UnverifiedQuote:
    """Read a TPMS_ATTEST that a TPM made for a quote.

    Raises:
        RefusedError: EvidenceInvalid; not made by a TPM, not a quote, cut off, too long, or of unknown hashes.
    """
    cursor = _open(data, "TPM quote")
    magic, kind = cursor.number(4), cursor.number(2)
    if magic != _MAGIC or kind != _ATTEST_QUOTE:
        raise _invalid(cursor.what, f"begins with 0x{magic:08x} and type 0x{kind:04x}, which no quote of a TPM does")
    signer, extra = cursor.sized(most=66), cursor.sized(most=64)
    clock, resets, restarts, safe = cursor.number(8), cursor.number(4), cursor.number(4), cursor.number(1)
    if safe > 1:
        raise _invalid(cursor.what, f"has {safe} where yes (1) or no (0) must stand")
    firmware = cursor.number(8)
    quote = UnverifiedQuote(
        signer, extra, clock, resets, restarts, bool(safe), firmware, _parse_selection(cursor), cursor.sized(most=64)
    )
    cursor.end()
    return quote


def parse_signature(data: bytes) -> Signature:
    """Read a TPMT_SIGNATURE by RSA or ECDSA.

    Raises:
        RefusedError: EvidenceInvalid; another scheme, an unknown hash, cut off or too long.
    """
    cursor = _open(data, "TPM signature")
    scheme = cursor.number(2)
    if scheme not in _SCHEMES:
        raise _invalid(cursor.what, f"has scheme 0x{scheme:04x}; RSASSA, RSAPSS and ECDSA are known")
    algorithm = cursor.hash()
    if scheme == ECDSA:
        r, s = (int.from_bytes(cursor.sized(most=66), "big") for _ in range(2))
        signature = Signature(scheme, algorithm, b"", (r, s))
    else:
        signature = Signature(scheme, algorithm, cursor.sized())
    cursor.end()
    return signature


def parse_attestation_key(data: bytes) -> AttestationKey:
    """Read a TPMT_PUBLIC, and hold it to what a key for attestation must be.

    Raises:
        RefusedError: EvidenceInvalid where it cannot be read, EvidenceUntrusted where such a key proves nothing: one
            that signs what others made up, that can leave its TPM, or came from outside.
    """
    cursor = _open(data, "public area of the attestation key")
    kind, number, attributes = cursor.number(2), cursor.number(2), cursor.number(4)
    if number not in HASHES:
        raise _invalid(cursor.what, f"names the hash 0x{number:04x}; SHA-256, SHA-384 and SHA-512 are known")
    lacking = [name for name, bit in _WANTED if not attributes & bit]
    if lacking or attributes & _DECRYPT:
        said = f"lacks {', '.join(lacking)}" if lacking else "may decrypt"
        raise RefusedError(
            Reason.EVIDENCE_UNTRUSTED, f"the attestation key {said}; a restricted signing key of the TPM is needed"
        )
    cursor.sized(most=64)  # the policy of who may use it
    if kind not in {_ALG_RSA, _ALG_ECC}:
        raise _invalid(cursor.what, f"has type 0x{kind:04x}; RSA and ECC are known")
    if (symmetric := cursor.number(2)) != _ALG_NULL:
        raise _invalid(cursor.what, f"has the symmetric algorithm 0x{symmetric:04x}, a signing key has none")
    scheme = cursor.number(2)
    if scheme not in ({RSASSA, RSAPSS} if kind == _ALG_RSA else {ECDSA}):
        raise _invalid(cursor.what, f"signs by scheme 0x{scheme:04x}; RSASSA, RSAPSS and ECDSA are known")
    algorithm = cursor.hash()
    key = _parse_rsa(cursor) if kind == _ALG_RSA else _parse_ecc(cursor)
    cursor.end()
    name = number.to_bytes(2, "big") + hashlib.new(HASHES[number], data).digest()
    return AttestationKey(name, key, scheme, algorithm)


def _open(data: bytes, what: str) -> _Cursor:
    if len(data) > _MAX_BYTES:
        raise _invalid(what, f"has {len(data)} bytes, {_MAX_BYTES} are allowed")
    return _Cursor(data, what)


def _parse_selection(cursor: _Cursor) -> tuple[tuple[int, tuple[int, ...]], ...]:
    count = cursor.number(4)
    if not 1 <= count <= _MAX_BANKS:
        raise _invalid(cursor.what, f"selects {count} banks of PCRs, 1 to {_MAX_BANKS} are allowed")
    banks: list[tuple[int, tuple[int, ...]]] = []
    for _ in range(count):
        number, size = cursor.number(2), cursor.number(1)
        if number not in HASHES or number in dict(banks):
            raise _invalid(cursor.what, f"selects the bank 0x{number:04x}; SHA-256, SHA-384 and SHA-512 are, each once")
        if not 1 <= size <= _MAX_SELECT_BYTES:
            raise _invalid(cursor.what, f"selects PCRs by {size} bytes, 1 to {_MAX_SELECT_BYTES} are allowed")
        bits = int.from_bytes(cursor.take(size), "little")
        banks.append((number, tuple(index for index in range(8 * size) if bits >> index & 1)))
    if not any(indices for _, indices in banks):
        raise _invalid(cursor.what, "selects no PCR, so it says nothing of what was started")
    return tuple(banks)


def _parse_rsa(cursor: _Cursor) -> rsa.RSAPublicKey:
    bits, exponent, modulus = cursor.number(2), cursor.number(4) or 65537, int.from_bytes(cursor.sized(), "big")
    if not MIN_RSA_BITS <= bits <= MAX_RSA_BITS or modulus.bit_length() != bits:
        raise _invalid(
            cursor.what,
            f"has an RSA key of {modulus.bit_length()} bits and says {bits}; "
            f"{MIN_RSA_BITS} to {MAX_RSA_BITS} are allowed",
        )
    try:
        return rsa.RSAPublicNumbers(exponent, modulus).public_key()
    except ValueError as error:
        raise _invalid(cursor.what, "has no RSA key that can be used") from error


def _parse_ecc(cursor: _Cursor) -> ec.EllipticCurvePublicKey:
    number, derivation = cursor.number(2), cursor.number(2)
    if number not in _CURVES or derivation != _ALG_NULL:
        raise _invalid(
            cursor.what, f"has curve {number} and derivation 0x{derivation:04x}; P-256, P-384, P-521 are known"
        )
    x, y = (int.from_bytes(cursor.sized(most=66), "big") for _ in range(2))
    try:
        return ec.EllipticCurvePublicNumbers(x, y, _CURVES[number]).public_key()
    except ValueError as error:
        raise _invalid(cursor.what, "has a point that is not on its curve") from error


def _invalid(what: str, said: str) -> RefusedError:
    return RefusedError(Reason.EVIDENCE_INVALID, f"the {what} {said}")
