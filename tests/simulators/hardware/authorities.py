"""Certificate authorities of makers of hardware that tests make up: a root, what is below, and keys for the leaves."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
Extension = tuple[x509.ExtensionType, bool]


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a certificate and its key."""

    name: x509.Name
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)


def build_holder(
    common_name: str,
    issuer: Holder | None = None,
    *,
    serial: str | None = None,
    extensions: Sequence[Extension] = (),
    authority: bool = True,
    curve: ec.EllipticCurve | None = None,
    begin: datetime = NOW - timedelta(days=30),
    end: datetime = NOW + timedelta(days=365),
) -> Holder:
    key = ec.generate_private_key(curve or ec.SECP384R1())
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if serial is not None:
        parts.append(x509.NameAttribute(NameOID.SERIAL_NUMBER, serial))
    name = x509.Name(parts)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.name if issuer else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(_usage(authority), critical=True)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return Holder(name, key, builder.sign(issuer.key if issuer else key, SHA384()))


def build_crl(issuer: Holder, *serials: int, end: datetime = NOW + timedelta(days=7)) -> bytes:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.name)
        .last_update(NOW - timedelta(days=1))
        .next_update(end)
        .add_extension(x509.CRLNumber(1), critical=False)
    )
    for serial in serials:
        revoked = (
            x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW - timedelta(days=1)).build()
        )
        builder = builder.add_revoked_certificate(revoked)
    return builder.sign(issuer.key, SHA384()).public_bytes(Encoding.DER)


def _usage(authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )
