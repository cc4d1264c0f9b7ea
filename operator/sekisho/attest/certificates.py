"""Certificates of hardware as they are read: bounded, in full, and not yet believed."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from sekisho.attest.claims import Window
from sekisho.errors import Reason, RefusedError

MAX_CERTIFICATE_BYTES: Final = 16 * 1024
MAX_CHAIN: Final = 8
MAX_HELD: Final = 2048
"""How many certificates and chains are kept as they were read: machines bring the same ones again and again."""

_MAX_LINKS: Final = 512
MAX_POOL: Final = 32
MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 8192
MOST_TOLD: Final = 200
HASHES: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
MAX_EXTENSIONS: Final = 64
_CURVES: Final = ("secp256r1", "secp384r1", "secp521r1")
_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"
_KINDS: Final = (
    f"at most {MAX_EXTENSIONS} are allowed, and RSA of {MIN_RSA_BITS} to {MAX_RSA_BITS} bits and ECDSA on P-256, P-384 "
    "and P-521"
)
# What reading a certificate or a revocation list raises.
UNREADABLE: Final = (
    TypeError,
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
# AMD gives all its chips' certificates the serial number 0; cryptography would tell on each one.
warnings.filterwarnings("ignore", message="Parsed a serial number which wasn't positive")

SigningKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that could be read in full; unverified.

    Attributes:
        der: Its bytes.
        key: Its public key: RSA of 2048 to 8192 bits or ECDSA on P-256, P-384 or P-521.
        window: When it is valid.
        subject: Its name.
        issued_by: The name of its issuer, as it says; kept as `parsed` puts names together anew each time.
        parsed: As cryptography reads it.
    """

    der: bytes = field(repr=False)
    key: SigningKey = field(repr=False, compare=False)
    window: Window
    subject: x509.Name = field(repr=False, compare=False)
    issued_by: x509.Name = field(repr=False, compare=False)
    parsed: x509.Certificate = field(repr=False, compare=False)

    @property
    def who(self) -> str:
        """Its subject, for people."""
        return _tell_name(self.subject)

    @property
    def issuer(self) -> str:
        """Who issued it as it says, for people."""
        return _tell_name(self.issued_by)

    def extension(self, oid: str) -> bytes | None:
        """Return the raw value of an extension that cryptography does not know; None where there is none."""
        for extension in self.parsed.extensions:
            if extension.oid.dotted_string == oid and isinstance(extension.value, x509.UnrecognizedExtension):
                return extension.value.value
        return None

    def common_name(self) -> str:
        """Return the subject's one common name; empty where it has none or several."""
        return _common_name(self.subject)

    def issuer_common_name(self) -> str:
        """Return the issuer's one common name; empty where it has none or several."""
        return _common_name(self.issued_by)


def parse_certificate(der: bytes) -> Certificate:
    """Read one certificate from DER, all of it.

    Raises:
        RefusedError: EvidenceInvalid; too large, not a certificate, or with a key that cannot be used.
    """
    return parse_named_certificate(der, Reason.EVIDENCE_INVALID, "a certificate of the evidence")


def arrange(leaf: bytes, pool: Sequence[bytes]) -> tuple[bytes, ...]:
    """Put certificates in the order of a chain, each signed by the next; what the chain does not need is left out.

    Nothing is trusted by that: it is for :func:`sekisho.attest.chains.verify_chain`, which gets the result.

    Raises:
        RefusedError: EvidenceInvalid; a certificate cannot be read, or there are more than 32.
    """
    if len(pool) > MAX_POOL:
        raise RefusedError(Reason.EVIDENCE_INVALID, f"there are {len(pool)} certificates, {MAX_POOL} are allowed")
    return _arrange(leaf, tuple(pool))


@lru_cache(MAX_HELD)
def _arrange(leaf: bytes, pool: tuple[bytes, ...]) -> tuple[bytes, ...]:
    last, chain = parse_certificate(leaf), [leaf]
    left = [each for each in map(parse_certificate, pool) if each.der != leaf]
    while len(chain) < MAX_CHAIN and last.issued_by != last.subject:
        found = next((each for each in left if is_signed(last, each)), None)
        if found is None:
            break
        left.remove(found)
        chain.append(found.der)
        last = found
    return tuple(chain)


@lru_cache(MAX_HELD)
def parse_named_certificate(der: bytes, reason: Reason, what: str) -> Certificate:
    """Read one certificate from DER, all of it; refuse with the given reason, and `what` it is."""
    if len(der) > MAX_CERTIFICATE_BYTES:
        raise RefusedError(reason, f"{what} has {len(der)} bytes, {MAX_CERTIFICATE_BYTES} are allowed")
    try:
        parsed = x509.load_der_x509_certificate(der)
        key = _take_key(parsed.public_key())
        # Read lazily: whatever is wrong shows here.
        subject, issuer, count = parsed.subject, parsed.issuer, len(parsed.extensions)
        window = Window(parsed.not_valid_before_utc, parsed.not_valid_after_utc)
    except UNREADABLE as error:
        raise RefusedError(reason, f"{what} is not an X.509 certificate in DER") from error
    if key is None or count > MAX_EXTENSIONS:
        who = _tell_name(subject)
        raise RefusedError(reason, f"{what}, of {who}, has {count} extensions or a key that cannot be used; {_KINDS}")
    return Certificate(der, key, window, subject, issuer, parsed)


def constraints_of(certificate: Certificate) -> x509.BasicConstraints | None:
    """Return what a certificate says of being an issuer; None where it says nothing."""
    return next((e.value for e in certificate.parsed.extensions if isinstance(e.value, x509.BasicConstraints)), None)


def usage_of(certificate: Certificate) -> x509.KeyUsage | None:
    """Return what a certificate's key is for; None where it does not say."""
    return next((e.value for e in certificate.parsed.extensions if isinstance(e.value, x509.KeyUsage)), None)


@lru_cache(_MAX_LINKS)
def is_signed(issued: Certificate, issuer: Certificate) -> bool:
    """Tell whether one certificate names the other as its issuer and was signed by its key, with no weak hash.

    The bytes of both decide it for ever, so it is computed once. Whether either counts now is asked elsewhere.
    """
    try:
        if not isinstance(issued.parsed.signature_hash_algorithm, HASHES):
            return False
        issued.parsed.verify_directly_issued_by(issuer.parsed)
    except (*UNREADABLE, InvalidSignature):
        return False
    return True


def intersect(windows: Sequence[Window]) -> Window:
    """Return when all of some windows are open; at least one is given."""
    return Window(max(each.not_before for each in windows), min(each.not_after for each in windows))


def tell_window(window: Window, at: datetime) -> str:
    """Say when something is valid, and what time it is."""
    return f"valid from {window.not_before:{_TIME}} to {window.not_after:{_TIME}}, it is {at:{_TIME}}"


def _take_key(key: object) -> SigningKey | None:
    if isinstance(key, rsa.RSAPublicKey) and MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
        return key
    return key if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _CURVES else None


def _tell_name(name: x509.Name) -> str:
    return name.rfc4514_string()[:MOST_TOLD] or "(no name)"


def _common_name(name: x509.Name) -> str:
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if len(found) == 1 else ""
