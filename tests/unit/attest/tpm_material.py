"""A TPM of the tests: it spells its structures and signs quotes as the specification says."""

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from sekisho.attest.evidence import UnverifiedEvidence
from tests.unit.attest.authorities import curve_key, rsa_key

RSASSA, RSAPSS, ECDSA, NULL = 0x14, 0x16, 0x18, 0x10
NUMBERS = {"sha1": 4, "sha256": 0x0B, "sha384": 0x0C, "sha512": 0x0D}
HASHERS = {"sha1": hashes.SHA1, "sha256": hashes.SHA256, "sha384": hashes.SHA384, "sha512": hashes.SHA512}
CURVES = {"secp256r1": 3, "secp384r1": 4, "secp521r1": 5}
# fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, restricted, sign
ATTRIBUTES = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 16 | 1 << 18
NONCE = hashlib.sha256(b"challenge").digest()


def number(value: int, size: int) -> bytes:
    return value.to_bytes(size, "big")


def sized(data: bytes) -> bytes:
    return number(len(data), 2) + data


def fill(index: int, algorithm: str = "sha256") -> bytes:
    """Return the value of a PCR in the tests."""
    return hashlib.new(algorithm, b"pcr %d" % index).digest()


@dataclass(frozen=True)
class PublicAlone:
    """An RSA key whose private part nobody here has."""

    public: Any

    @property
    def key_size(self) -> int:
        return int(self.public.key_size)

    def public_key(self) -> Any:
        return self.public

    def sign(self, *_: Any) -> bytes:
        raise AssertionError("nobody here can sign with it")


@dataclass(frozen=True)
class Tpm:
    """A key for attestation, and how its structures are spelled; fields are changed to spell wrong ones."""

    key: Any = field(default_factory=rsa_key)
    scheme: int = RSASSA
    algorithm: str = "sha256"
    name_algorithm: str = "sha256"
    attributes: int = ATTRIBUTES
    symmetric: int = NULL
    derivation: int = NULL
    exponent: int = 0
    kind: int | None = None
    bits: int | None = None

    @property
    def public(self) -> bytes:
        """Return the TPMT_PUBLIC."""
        is_rsa = isinstance(self.key, rsa.RSAPrivateKey | PublicAlone)
        kind = self.kind or (1 if is_rsa else 0x23)
        head = number(kind, 2) + number(NUMBERS[self.name_algorithm], 2) + number(self.attributes, 4) + sized(b"")
        head += number(self.symmetric, 2) + number(self.scheme, 2) + number(NUMBERS[self.algorithm], 2)
        numbers = self.key.public_key().public_numbers()
        if is_rsa:
            bits = self.bits or self.key.key_size
            modulus = numbers.n.to_bytes((self.key.key_size + 7) // 8, "big")
            return head + number(bits, 2) + number(self.exponent, 4) + sized(modulus)
        size = (self.key.curve.key_size + 7) // 8
        head += number(CURVES[self.key.curve.name], 2) + number(self.derivation, 2)
        return head + sized(number(numbers.x, size)) + sized(number(numbers.y, size))

    @property
    def name(self) -> bytes:
        return number(NUMBERS[self.name_algorithm], 2) + hashlib.new(self.name_algorithm, self.public).digest()

    def sign(self, message: bytes) -> bytes:
        """Return the TPMT_SIGNATURE."""
        head = number(self.scheme, 2) + number(NUMBERS[self.algorithm], 2)
        hasher = HASHERS[self.algorithm]()
        if self.scheme == ECDSA:
            pair = decode_dss_signature(self.key.sign(message, ec.ECDSA(hasher)))
            return head + b"".join(sized(number(value, (self.key.curve.key_size + 7) // 8)) for value in pair)
        scheme = padding.PKCS1v15() if self.scheme == RSASSA else padding.PSS(padding.MGF1(hasher), hasher.digest_size)
        return head + sized(self.key.sign(message, scheme, hasher))


Banks = Mapping[str, Mapping[int, bytes]]
USUAL: Banks = {"sha256": {index: fill(index) for index in (0, 4, 7)}}


def select(indices: Sequence[int], size: int = 3) -> bytes:
    size = max(size, *(index // 8 + 1 for index in indices)) if indices else size
    return number(size, 1) + sum(1 << index for index in indices).to_bytes(size, "little")


def build_quote(
    tpm: Tpm | None = None, banks: Banks = USUAL, *, extra: bytes = NONCE, digest: bytes | None = None, **changes: bytes
) -> bytes:
    """Spell a TPMS_ATTEST; `changes` replace its parts by name."""
    tpm = tpm or Tpm()
    values = b"".join(bank[index] for bank in banks.values() for index in sorted(bank))
    parts = {
        "magic": number(0xFF544347, 4),
        "kind": number(0x8018, 2),
        "signer": sized(number(NUMBERS[tpm.name_algorithm], 2) + hashlib.sha256(b"parent" + tpm.name).digest()),
        "extra": sized(extra),
        "clock": struct.pack(">QIIB", 123456, 7, 3, 1),
        "firmware": number(0x2019102300163636, 8),
        "count": number(len(banks), 4),
        "selection": b"".join(number(NUMBERS[name], 2) + select(sorted(bank)) for name, bank in banks.items()),
        "digest": sized(hashlib.new(tpm.algorithm, values).digest() if digest is None else digest),
    }
    return b"".join((parts | changes).values())


def spell_pcrs(banks: Banks) -> bytes:
    return json.dumps(
        {name: {str(index): bank[index].hex() for index in bank} for name, bank in banks.items()}
    ).encode()


def build_evidence(
    tpm: Tpm | None = None,
    banks: Banks = USUAL,
    *,
    quote: bytes | None = None,
    certificates: tuple[bytes, ...] = (),
    **extras: bytes | None,
) -> UnverifiedEvidence:
    """Quote as a TPM does; `extras` replace parts of the evidence, None takes one away."""
    tpm = tpm or Tpm()
    quote = build_quote(tpm, banks) if quote is None else quote
    parts: dict[str, bytes | None] = {"akPublic": tpm.public, "pcrs": spell_pcrs(banks), "signature": tpm.sign(quote)}
    given = tuple(sorted((name, value) for name, value in (parts | extras).items() if value is not None))
    return UnverifiedEvidence("tpm", quote, certificates, given)


# Boot logs

SECURE_BOOT_GUID = bytes.fromhex("61dfe48bca93d211aa0d00e098032b8c")
EV_NO_ACTION, EV_SEPARATOR, EV_S_CRTM, EV_VARIABLE = 3, 4, 8, 0x80000001


def variable(name: str, value: bytes, guid: bytes = SECURE_BOOT_GUID) -> bytes:
    return guid + struct.pack("<QQ", len(name), len(value)) + name.encode("utf-16-le") + value


def log_event(register: int, kind: int, data: bytes, algorithms: Sequence[str], measured: bytes | None = None) -> bytes:
    measured = data if measured is None else measured
    digests = b"".join(struct.pack("<H", NUMBERS[name]) + hashlib.new(name, measured).digest() for name in algorithms)
    return struct.pack("<III", register, kind, len(algorithms)) + digests + struct.pack("<I", len(data)) + data


def build_log(events: Sequence[tuple[int, int, bytes, bytes | None]], algorithms: Sequence[str] = ("sha256",)) -> bytes:
    """Spell a crypto-agile log: the header in the old form, and the events."""
    sizes = b"".join(struct.pack("<HH", NUMBERS[name], hashlib.new(name).digest_size) for name in algorithms)
    header = b"Spec ID Event03\0" + struct.pack("<IBBBBI", 0, 0, 2, 0, 2, len(algorithms)) + sizes + b"\0"
    first = struct.pack("<II", 0, EV_NO_ACTION) + bytes(20) + struct.pack("<I", len(header)) + header
    return first + b"".join(
        log_event(index, kind, data, algorithms, measured) for index, kind, data, measured in events
    )


def replay(events: Sequence[tuple[int, int, bytes, bytes | None]], algorithm: str = "sha256") -> dict[int, bytes]:
    """Extend PCRs as a TPM does."""
    values: dict[int, bytes] = {}
    for index, _, data, measured in events:
        digest = hashlib.new(algorithm, data if measured is None else measured).digest()
        before = values.get(index, bytes(len(digest)))
        values[index] = hashlib.new(algorithm, before + digest).digest()
    return values


def ecc_tpm(curve: Any = None, algorithm: str = "sha256") -> Tpm:
    return Tpm(key=curve_key(curve or ec.SECP256R1()), scheme=ECDSA, algorithm=algorithm)
