"""Keys that sign: a PEM file, with or without certificates, or a token. What is secret is never told."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from sekisho.cli.failures import refuse
from sekisho.errors import Reason, RefusedError
from sekisho.kms.choose import KeyAddress, read_key_settings
from sekisho.kms.pkcs11 import Pkcs11Keys, Pkcs11Settings
from sekisho.kms.pkcs11_signing import Pkcs11SigningKey
from sekisho.seal.publickey import PublicKey, choose_ecdsa, take_public_key
from sekisho.seal.statement import MAX_CERTIFICATE_BYTES, MAX_CERTIFICATES, Signature, encode_pae

_MAX_FILE_BYTES: Final = 64 * 1024


class SigningKey(Protocol):
    """What can sign."""

    @property
    def public(self) -> PublicKey:
        """The public key."""
        ...

    @property
    def certificates(self) -> tuple[bytes, ...]:
        """DER, the key's own first; none for a bare key."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Sign: Ed25519, or ECDSA with the hash of the curve, in DER."""
        ...


@dataclass(frozen=True, slots=True)
class KeyWish:
    """Which key to sign with, as the command line names it.

    Attributes:
        file: PEM, or None.
        label: Of a key in a PKCS#11 token, or None; the token stands in SEKISHO_PKCS11_… variables.
        chain: PEM of the key's certificate and those between it and the root, or None.
        passphrase_file: For an encrypted PEM file, or None: ask.
        ask: Asks for the passphrase; returns None where nobody can be asked.
        warn: Tells what does not stop the signing.
    """

    file: Path | None
    label: str | None
    chain: Path | None
    passphrase_file: Path | None
    ask: Callable[[str], str | None]
    warn: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class FileKey:
    """A private key from a file; secret."""

    public: PublicKey
    certificates: tuple[bytes, ...]
    secret: Ed25519PrivateKey | EllipticCurvePrivateKey = field(repr=False)

    def sign(self, message: bytes) -> bytes:
        """Sign in this process."""
        if isinstance(self.secret, Ed25519PrivateKey):
            return self.secret.sign(message)
        return self.secret.sign(message, choose_ecdsa(self.secret.curve.name))


def open_signing_key(wish: KeyWish, environment: Mapping[str, str] = os.environ) -> SigningKey:
    """Open the key that was asked for.

    Raises:
        RefusedError: None or two named, not a private key that may sign, a wrong passphrase, another certificate.
        UnavailableError: The token does not answer.
    """
    if (wish.file is None) == (wish.label is None):
        raise refuse("name one key to sign with: --key FILE.pem, or --pkcs11 LABEL")
    chain = _read_chain(wish.chain) if wish.chain is not None else ()
    key: SigningKey
    if wish.label is not None:
        settings = read_key_settings(KeyAddress("pkcs11", wish.label), environment)
        assert isinstance(settings, Pkcs11Settings)  # noqa: S101 -- narrows the type
        key = Pkcs11SigningKey(Pkcs11Keys(settings), wish.label, chain)
    else:
        assert wish.file is not None  # noqa: S101 -- narrows the type
        secret = _load(wish.file, wish)
        key = FileKey(_take(secret.public_key(), wish.file), chain, secret)
    if chain and _key_of(chain[0], wish.chain) != key.public:
        raise refuse(
            f"the first certificate of {wish.chain} is of another key; put the signer's own first",
            reason=Reason.KEY_MISMATCH,
        )
    return key


def make_signature(key: SigningKey, payload: bytes) -> Signature:
    """Sign a statement, and check what came of it."""
    message = encode_pae(payload)
    value = key.sign(message)
    if not key.public.verifies(message, value):
        raise refuse("the key made a signature that its own public key does not confirm", reason=Reason.KEY_MISMATCH)
    return Signature(key_id=key.public.key_id, value=value, certificates=key.certificates)


def _load(place: Path, wish: KeyWish) -> Any:
    data = _read(place)
    encrypted = b"ENCRYPTED" in data
    if place.stat().st_mode & 0o077 and not encrypted:
        wish.warn(f"{place} can be read by others and has no passphrase; chmod 600 {place}")
    passphrase = _find_passphrase(place, wish) if encrypted else None
    try:
        key = load_pem_private_key(data, passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        if encrypted:
            raise refuse(f"the passphrase does not open {place}", reason=Reason.KEY_DENIED) from None
        raise refuse(f"{place} is not a private key in PEM") from None
    if not isinstance(key, Ed25519PrivateKey | EllipticCurvePrivateKey):
        raise refuse(f"{place} is a key of a kind that cannot sign here; Ed25519, P-256 and P-384 can be used")
    return key


def _find_passphrase(place: Path, wish: KeyWish) -> bytes:
    if wish.passphrase_file is not None:
        return _read(wish.passphrase_file).rstrip(b"\r\n")
    text = wish.ask(f"Passphrase of {place}")
    if text is None:
        raise refuse(f"{place} is encrypted and nobody can be asked; --passphrase-file", reason=Reason.KEY_DENIED)
    return text.encode()


def _take(key: object, place: Path | None) -> PublicKey:
    try:
        return take_public_key(key, name=str(place))
    except RefusedError as error:
        raise refuse(error.message) from None


def _key_of(certificate: bytes, place: Path | None) -> PublicKey:
    try:
        return _take(x509.load_der_x509_certificate(certificate).public_key(), place)
    except (ValueError, UnsupportedAlgorithm):
        raise refuse(f"the first certificate of {place} has a key that cannot be read") from None


def _read_chain(place: Path) -> tuple[bytes, ...]:
    try:
        certificates = x509.load_pem_x509_certificates(_read(place))
    except (ValueError, x509.InvalidVersion):
        raise refuse(f"{place} holds no certificates in PEM") from None
    if len(certificates) > 1 and certificates[-1].subject == certificates[-1].issuer:
        certificates.pop()  # the root: whoever checks has their own
    chain = tuple(certificate.public_bytes(Encoding.DER) for certificate in certificates)
    if len(chain) > MAX_CERTIFICATES or any(len(der) > MAX_CERTIFICATE_BYTES for der in chain):
        raise refuse(f"{place} holds {len(chain)} certificates; {MAX_CERTIFICATES} of 8 KiB each are allowed")
    return chain


def _read(place: Path) -> bytes:
    with place.open("rb") as file:
        data = file.read(_MAX_FILE_BYTES + 1)
    if len(data) > _MAX_FILE_BYTES:
        raise refuse(f"{place} is larger than {_MAX_FILE_BYTES} bytes")
    return data
