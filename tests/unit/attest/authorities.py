"""Authorities of tests: roots, issuers and leaves made for one test, and what they revoke."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

NOW = datetime(2026, 11, 29, 12, 0, 0, tzinfo=UTC)
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Holder:
    """Somebody with a key and a certificate."""

    key: Any
    certificate: x509.Certificate

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)


@functools.cache
def rsa_key(size: int = 2048) -> rsa.RSAPrivateKey:
    """Make an RSA key once a run: that takes long."""
    return rsa.generate_private_key(public_exponent=65537, key_size=size)


def curve_key(curve: Any = None) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(curve or ec.SECP384R1())


def name_of(common: str, **more: str) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common)] if common else []
    return x509.Name(attributes + [x509.NameAttribute(getattr(NameOID, key.upper()), more[key]) for key in more])


def usage_of(*allowed: str) -> x509.KeyUsage:
    names = [
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    ]  # fmt: skip
    return x509.KeyUsage(**{name: name in allowed for name in names})


ISSUING = usage_of("key_cert_sign", "crl_sign")


def issue(
    common: str,
    by: Holder | None = None,
    *,
    key: Any = None,
    name: x509.Name | None = None,
    issuer: x509.Name | None = None,
    constraints: x509.BasicConstraints | None = None,
    usage: x509.KeyUsage | None = None,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    serial: int = 0,
    begins: datetime = NOW - 100 * DAY,
    ends: datetime = NOW + 100 * DAY,
    hashed: Any = None,
    pss: bool = False,
) -> Holder:
    """Make a certificate; without `by` it is signed by its own key."""
    key = key or curve_key()
    subject = name or name_of(common)
    signer = by.key if by else key
    issuer = issuer or (by.certificate.subject if by else subject)
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), serial or x509.random_serial_number())
    builder = builder.not_valid_before(begins).not_valid_after(ends)
    parts: list[tuple[x509.ExtensionType, bool]] = list(extensions)
    parts += [(constraints, True)] if constraints else []
    parts += [(usage, True)] if usage else []
    for value, critical in parts:
        builder = builder.add_extension(value, critical=critical)
    hashed = hashed or hashes.SHA384()
    how = padding.PSS(padding.MGF1(hashed), salt_length=hashed.digest_size) if pss else None
    return Holder(key, builder.sign(signer, hashed, rsa_padding=how))


def issue_authority(common: str, by: Holder | None = None, *, length: int | None = None, **more: Any) -> Holder:
    more = {"constraints": x509.BasicConstraints(ca=True, path_length=length), "usage": ISSUING} | more
    return issue(common, by, **more)


def revoke(
    issuer: Holder,
    *revoked: Holder,
    begins: datetime = NOW - DAY,
    ends: datetime = NOW + DAY,
    key: Any = None,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] = (),
    hashed: Any = None,
) -> bytes:
    """Make a revocation list."""
    builder = x509.CertificateRevocationListBuilder(issuer.certificate.subject, begins, ends)
    for holder in revoked:
        entry = x509.RevokedCertificateBuilder(holder.certificate.serial_number, begins)
        builder = builder.add_revoked_certificate(entry.build())
    for value, critical in extensions:
        builder = builder.add_extension(value, critical=critical)
    return builder.sign(key or issuer.key, hashed or hashes.SHA384()).public_bytes(Encoding.DER)
