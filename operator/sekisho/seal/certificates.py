"""Certificate chains of signers, checked against pinned roots at a given time; nothing is fetched.

Paths are built by cryptography's verifier (RFC 5280: issuers, validity, path lengths, name constraints, critical
extensions, no weak algorithms) with rules for code signing in place of those for TLS.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import Criticality, ExtensionPolicy, PolicyBuilder, Store, VerificationError

from sekisho.errors import Reason, RefusedError
from sekisho.seal.publickey import PublicKey, take_public_key

MAX_INTERMEDIATES: Final = 3
MAX_ROOTS: Final = 8
MAX_ROOT_BYTES: Final = 16 * 1024
MAX_SUBJECTS: Final = 32
MAX_SUBJECT_BYTES: Final = 1024
_MOST_TOLD: Final = 256
# What reading a certificate raises, and only when the broken part is asked for.
_UNREADABLE: Final = (
    TypeError,
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)
_KINDS: Final = {"email:": x509.RFC822Name, "uri:": x509.UniformResourceIdentifier, "dns:": x509.DNSName}


@dataclass(frozen=True, slots=True)
class Authority:
    """Who vouches for certificates, and for whose.

    Attributes:
        roots: Where a chain must end.
        subjects: Whose certificates count: a distinguished name by RFC 4514, "CN=release,O=Example", or a subject
            alternative name, "email:…", "uri:…", "dns:…". Compared as a whole.
    """

    roots: tuple[x509.Certificate, ...] = field(repr=False)
    subjects: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Chain:
    """The certificates that came with a signature; unverified.

    Attributes:
        leaf: The signer's own.
        who: Its subject, for people.
        key: Its key.
        between: The others, in any order.
    """

    leaf: x509.Certificate
    who: str
    key: PublicKey
    between: tuple[x509.Certificate, ...]


def parse_chain(certificates: tuple[bytes, ...]) -> Chain | None:
    """Read certificates from DER, the signer's own first; None where one cannot be read or its key cannot sign."""
    try:
        leaf, *between = (x509.load_der_x509_certificate(der) for der in certificates)
        who = leaf.subject.rfc4514_string()[:_MOST_TOLD] or "(no name)"
        return Chain(leaf, who, take_public_key(leaf.public_key(), name=who), tuple(between))
    except (*_UNREADABLE, RefusedError):
        return None


def is_named(chain: Chain, authority: Authority) -> bool:
    """Tell whether the first certificate claims a subject that the authority may vouch for."""
    try:
        return any(_is_subject(chain.leaf, subject) for subject in authority.subjects)
    except (*_UNREADABLE, x509.ExtensionNotFound):
        return False


def explain_refusal(chain: Chain, authority: Authority, *, at: datetime) -> str:
    """Say why an authority does not vouch for the first certificate of a chain at that time; empty where it does."""
    leaf, who = chain.leaf, chain.who
    if not leaf.not_valid_before_utc <= at <= leaf.not_valid_after_utc:
        span = f"{leaf.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ} to {leaf.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
        return f"the certificate of {who} is valid from {span}, it is {at:%Y-%m-%dT%H:%M:%SZ}; sign anew"
    builder = PolicyBuilder().store(Store(list(authority.roots))).time(at).max_chain_depth(MAX_INTERMEDIATES)
    verifier = builder.extension_policies(ca_policy=_authorities(), ee_policy=_signers()).build_client_verifier()
    try:
        verifier.verify(leaf, list(chain.between))
    except (*_UNREADABLE, VerificationError) as error:
        return f"the certificate of {who} leads to no root of the policy ({_tell(error)})"
    return ""


def parse_roots(pem: str, *, name: str) -> tuple[x509.Certificate, ...]:
    """Read 1 to 8 root certificates from PEM.

    Raises:
        RefusedError: PolicyInvalid; not PEM, or a certificate that may not issue others.
    """
    if len(pem) > MAX_ROOT_BYTES * MAX_ROOTS:
        raise _refuse(f"{name} has {len(pem)} bytes, {MAX_ROOT_BYTES * MAX_ROOTS} are allowed")
    try:
        roots = tuple(x509.load_pem_x509_certificates(pem.encode()))
        authorities = [root.extensions.get_extension_for_class(x509.BasicConstraints).value.ca for root in roots]
    except (*_UNREADABLE, x509.ExtensionNotFound) as error:
        raise _refuse(f"{name} is not a list of root certificates in PEM") from error
    if len(roots) > MAX_ROOTS or not all(authorities):
        wrong = authorities.count(False)
        raise _refuse(f"{name} has {len(roots)} certificates, {MAX_ROOTS} are allowed; {wrong} may not issue others")
    return roots


def check_subject(text: str, *, name: str) -> str:
    """Return a subject of the policy if it is one.

    Raises:
        RefusedError: PolicyInvalid; empty, too long, or no distinguished name by RFC 4514.
    """
    if not 0 < len(text) <= MAX_SUBJECT_BYTES:
        raise _refuse(f"{name} has {len(text)} characters, 1 to {MAX_SUBJECT_BYTES} are allowed")
    if text.startswith(tuple(_KINDS)):
        if not text.partition(":")[2]:
            raise _refuse(f'{name} is "{text}", which names nobody')
        return text
    try:
        x509.Name.from_rfc4514_string(text)
    except ValueError as error:
        raise _refuse(
            f'{name} is "{text[:128]}", no name like CN=release,O=Example, email:…, uri:… or dns:…'
        ) from error
    return text


def _authorities() -> ExtensionPolicy:
    policy = ExtensionPolicy.permit_all()
    policy = policy.require_present(x509.BasicConstraints, Criticality.CRITICAL, None)
    policy = policy.require_present(x509.KeyUsage, Criticality.AGNOSTIC, _check_issuing)
    return policy.may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _check_issuing_for_code)


def _signers() -> ExtensionPolicy:
    policy = ExtensionPolicy.permit_all()
    policy = policy.may_be_present(x509.BasicConstraints, Criticality.AGNOSTIC, _check_no_issuer)
    policy = policy.require_present(x509.KeyUsage, Criticality.AGNOSTIC, _check_signing)
    return policy.may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _check_code_signing)


def _check_no_issuer(_: object, __: object, extension: x509.BasicConstraints | None) -> None:
    if extension is not None and extension.ca:
        raise ValueError("it is the certificate of an authority, not of a signer")


def _check_issuing(_: object, __: object, extension: x509.KeyUsage) -> None:
    if not extension.key_cert_sign:
        raise ValueError("an issuer's key usage lacks keyCertSign")


def _check_signing(_: object, __: object, extension: x509.KeyUsage) -> None:
    if not extension.digital_signature:
        raise ValueError("its key usage lacks digitalSignature")


def _check_code_signing(_: object, __: object, extension: x509.ExtendedKeyUsage | None) -> None:
    if extension is not None and ExtendedKeyUsageOID.CODE_SIGNING not in extension:
        raise ValueError("its extended key usage lacks codeSigning")


def _check_issuing_for_code(_: object, __: object, extension: x509.ExtendedKeyUsage | None) -> None:
    wanted = {ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
    if extension is not None and not wanted & set(extension):
        raise ValueError("an issuer's extended key usage lacks codeSigning")


def _is_subject(leaf: x509.Certificate, subject: str) -> bool:
    prefix, _, value = subject.partition(":")
    if f"{prefix}:" not in _KINDS:
        return leaf.subject == x509.Name.from_rfc4514_string(subject)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return value in [name.value for name in names if isinstance(name, _KINDS[f"{prefix}:"])]


def _tell(error: Exception) -> str:
    text = str(error).partition(" (encountered processing")[0]
    return text.replace("validation failed: ", "").replace("candidates exhausted: ", "")[:_MOST_TOLD]


def _refuse(text: str) -> RefusedError:
    return RefusedError(Reason.POLICY_INVALID, text)
