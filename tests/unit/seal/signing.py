"""Keys, authorities and signatures of tests; keys are fixed where bytes must be the same on every run."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from sekisho.seal.manifest import digest_of, parse_manifest
from sekisho.seal.publickey import choose_ecdsa
from sekisho.seal.signers import SignerText
from sekisho.seal.statement import Envelope, Signature, encode_pae, encode_signatures, encode_statement

NOW = datetime(2026, 11, 29, 12, 0, 0, tzinfo=UTC)
CODE = [ExtendedKeyUsageOID.CODE_SIGNING]


def ed25519_key(word: str) -> ed25519.Ed25519PrivateKey:
    """Make the key of a name: the same on every run, and worth nothing."""
    return ed25519.Ed25519PrivateKey.from_private_bytes(hashlib.sha256(word.encode()).digest())


def curve_key(curve: Any = None) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(curve or ec.SECP256R1())


def pem_of(key: Any) -> str:
    return str(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode())


def key_id_of(key: Any) -> str:
    return digest_of(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def sign(key: Any, payload: bytes, *, certificates: tuple[bytes, ...] = (), key_id: str = "") -> Signature:
    message = encode_pae(payload)
    if isinstance(key, ed25519.Ed25519PrivateKey):
        value = key.sign(message)
    else:
        value = key.sign(message, choose_ecdsa(key.curve.name))
    return Signature(key_id=key_id or key_id_of(key), value=value, certificates=certificates)


def statement_of(manifest: bytes) -> bytes:
    return encode_statement(parse_manifest(manifest), digest=digest_of(manifest))


def envelope_of(manifest: bytes, *keys: Any) -> bytes:
    payload = statement_of(manifest)
    return encode_signatures(Envelope(payload, tuple(sign(key, payload) for key in keys)))


@dataclass
class Certified:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: Any

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()


def certify(name: str, issuer: Certified | None = None, **more: Any) -> Certified:
    """Issue a certificate that is right but for what `more` says."""
    key = more.get("key") or curve_key()
    ca = more.get("ca", issuer is None)
    begins, ends = more.get("days", (-1, 30))
    now = more.get("around", NOW)
    subject = x509.Name.from_rfc4514_string(name)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=begins))
        .not_valid_after(now + timedelta(days=ends))
    )
    if ca or more.get("constrained", False):
        constraints = x509.BasicConstraints(ca=ca, path_length=more.get("path_length"))
        builder = builder.add_extension(constraints, critical=True)
    if more.get("usage", True):
        signs = more.get("digital_signature", not ca)
        issues = more.get("key_cert_sign", ca)
        builder = builder.add_extension(
            x509.KeyUsage(signs, False, False, False, False, issues, issues, False, False), critical=True
        )
    extended = more.get("extended", None if ca else CODE)
    if extended:
        builder = builder.add_extension(x509.ExtendedKeyUsage(extended), critical=False)
    for extension, critical in more.get("extensions", []):
        builder = builder.add_extension(extension, critical=critical)
    signing = issuer.key if issuer else key
    digest = None if isinstance(signing, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return Certified(builder.sign(signing, digest), key)


def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@dataclass
class Authorities:
    """A root, an intermediate, and a signer whose certificate they vouch for."""

    root: Certified
    between: Certified
    leaf: Certified

    def envelope(self, manifest: bytes) -> bytes:
        payload = statement_of(manifest)
        chain = (self.leaf.der, self.between.der)
        return encode_signatures(Envelope(payload, (sign(self.leaf.key, payload, certificates=chain),)))

    def text(self, *subjects: str, name: str = "model-release") -> SignerText:
        return SignerText(name, certificates=(self.root.pem,), subjects=subjects or ("CN=release,O=Example",))


def build_authorities(*, root: Any = None, between: Any = None, **leaf: Any) -> Authorities:
    top = certify("CN=root,O=Example", **(root or {}))
    middle = certify("CN=between,O=Example", top, **({"ca": True, "path_length": 0} | (between or {})))
    return Authorities(top, middle, certify("CN=release,O=Example", middle, **leaf))


def email(text: str) -> tuple[x509.SubjectAlternativeName, bool]:
    return x509.SubjectAlternativeName([x509.RFC822Name(text), x509.DNSName("build.example.org")]), False
