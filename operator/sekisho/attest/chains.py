"""Certificate chains of hardware, from a leaf to a pinned root, at a given time (RFC 5280, without policies).

What comes along with evidence is believed only as far as a pinned root vouches for it. The order of a chain is given,
so nothing is searched: each certificate must be issued by the next, the last by one of the roots.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from cryptography.x509.oid import ExtensionOID

from sekisho.attest.certificates import (
    MAX_CHAIN,
    MAX_HELD,
    Certificate,
    arrange,
    constraints_of,
    intersect,
    is_signed,
    parse_certificate,
    parse_named_certificate,
    tell_window,
    usage_of,
)
from sekisho.attest.claims import Window
from sekisho.attest.revocation import check_revocation
from sekisho.errors import Reason, RefusedError

__all__ = ["SIGNING", "Certificate", "Chain", "Purpose", "arrange", "intersect", "parse_certificate", "verify_chain"]

MAX_ROOTS: Final = 64
# Extensions that may be critical: those looked at here, and those that only say more about names and purposes, which
# callers compare by themselves.
_UNDERSTOOD: Final = frozenset(
    oid.dotted_string
    for oid in (
        ExtensionOID.BASIC_CONSTRAINTS,
        ExtensionOID.KEY_USAGE,
        ExtensionOID.EXTENDED_KEY_USAGE,
        ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
        ExtensionOID.CERTIFICATE_POLICIES,
    )
)
Usage = Literal["digital_signature", "key_encipherment", "key_agreement"]


@dataclass(frozen=True, slots=True)
class Purpose:
    """What the leaf of a chain is for.

    Attributes:
        usage: What its key usage must allow, where it has that extension.
        understood: Critical extensions of any certificate of the chain that the caller looks at by itself, as OIDs.
    """

    usage: Usage = "digital_signature"
    understood: frozenset[str] = frozenset()


SIGNING: Final = Purpose()


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain that holds.

    Attributes:
        leaf: The certificate in question.
        window: When all certificates and all revocation lists that were used are valid.
        revocation_checked: Whether every issuer that may sign revocation lists, the root included, had one.
    """

    leaf: Certificate
    window: Window
    revocation_checked: bool


_Asked = tuple[tuple[bytes, ...], tuple[bytes, ...], tuple[bytes, ...], Purpose]
_HELD: Final[dict[_Asked, Chain]] = {}
"""Chains that held, by all that they were verified by: the same bytes hold again while their window lasts.

A machine attests again and again by the same certificates. What does not hold is not remembered.
"""


def verify_chain(
    leaf_first: Sequence[bytes],
    roots: Sequence[bytes],
    *,
    at: datetime,
    crls: Sequence[bytes] = (),
    purpose: Purpose = SIGNING,
) -> Chain:
    """Verify a chain from its leaf to one of the pinned roots at a time.

    Args:
        leaf_first: DER, each certificate issued by the next; the root and what is above may stand there or not.
        roots: DER of the pinned roots, or of intermediate certificates that are trusted as such.
        at: For when the chain shall hold; aware.
        crls: DER of revocation lists; lists of issuers that are not in this chain say nothing about it.
        purpose: What the leaf is for.

    Raises:
        RefusedError: EvidenceInvalid where a certificate cannot be read, EvidenceUntrusted where the chain does not
            hold, EvidenceRevoked, CollateralMissing where there are no roots, CollateralInvalid and CollateralExpired
            where roots or lists cannot be used, or not yet.
    """
    if not 1 <= len(leaf_first) <= MAX_CHAIN:
        raise _untrusted(f"a chain has {len(leaf_first)} certificates, 1 to {MAX_CHAIN} are allowed")
    asked = (tuple(leaf_first), tuple(roots), tuple(crls), purpose)
    known = _HELD.get(asked)
    if known is None or not known.window.covers(at):
        known = _verify(*asked, at)
        _remember(asked, known)
    return known


def _remember(asked: _Asked, chain: Chain) -> None:
    while len(_HELD) >= MAX_HELD:
        _HELD.pop(next(iter(_HELD), asked), None)
    _HELD[asked] = chain


def _verify(
    leaf_first: Sequence[bytes], roots: Sequence[bytes], crls: Sequence[bytes], purpose: Purpose, at: datetime
) -> Chain:
    pinned = _parse_roots(roots)
    certificates = _cut([parse_certificate(der) for der in leaf_first], pinned)
    certificates.append(_find_root(certificates[-1], pinned))
    _check_path(certificates, at=at)
    _check_critical(certificates[:-1], purpose.understood)
    _check_purpose(certificates[0], purpose.usage)
    windows, checked = check_revocation(certificates, crls, at=at)
    return Chain(certificates[0], intersect([*(each.window for each in certificates), *windows]), checked)


def _parse_roots(roots: Sequence[bytes]) -> list[Certificate]:
    if not roots:
        raise RefusedError(Reason.COLLATERAL_MISSING, "no root certificate is pinned for this evidence; import one")
    if len(roots) > MAX_ROOTS:
        raise _invalid(f"{len(roots)} root certificates are pinned, {MAX_ROOTS} are allowed")
    return [parse_named_certificate(der, Reason.COLLATERAL_INVALID, "a pinned root certificate") for der in roots]


def _cut(certificates: list[Certificate], pinned: Sequence[Certificate]) -> list[Certificate]:
    """Return what stands below the first pinned certificate, or all where none came along."""
    known = {root.der for root in pinned}
    end = next((index for index, each in enumerate(certificates) if each.der in known), len(certificates))
    if end == 0:
        who = certificates[0].who
        raise _untrusted(f"{who} is a pinned root, which vouches for others and signs no evidence by itself")
    return certificates[:end]


def _find_root(last: Certificate, pinned: Sequence[Certificate]) -> Certificate:
    named = [root for root in pinned if root.subject == last.issued_by]
    if not named:
        raise _untrusted(f"the certificate of {last.who} was issued by {last.issuer}, which is no pinned root")
    return next((root for root in named if is_signed(last, root)), named[0])


def _check_path(certificates: Sequence[Certificate], *, at: datetime) -> None:
    """Check every link from the leaf to the root, which is the last."""
    for index, (issued, issuer) in enumerate(itertools.pairwise(certificates), start=1):
        _check_issued(issued, issuer, at=at)
        _check_issuer(issuer, below=certificates[1:index], is_root=issuer is certificates[-1])
    root = certificates[-1]
    if not root.window.covers(at):
        raise RefusedError(
            Reason.COLLATERAL_EXPIRED,
            f"the pinned root {root.who} is {tell_window(root.window, at)}; pin a current one",
        )


def _check_issued(issued: Certificate, issuer: Certificate, *, at: datetime) -> None:
    if issued.issued_by != issuer.subject:
        raise _untrusted(f"the certificate of {issued.who} was issued by {issued.issuer}, not by {issuer.who}")
    if not is_signed(issued, issuer):
        raise _untrusted(f"the signature of {issuer.who} under the certificate of {issued.who} does not hold")
    if not issued.window.covers(at):
        raise _untrusted(f"the certificate of {issued.who} is {tell_window(issued.window, at)}")


def _check_issuer(issuer: Certificate, *, below: Sequence[Certificate], is_root: bool) -> None:
    """Check that a certificate may issue others, and that no more of them stand below than it allows.

    A root is pinned, so it need not say that it is one; what it says holds.
    """
    constraints, usage = constraints_of(issuer), usage_of(issuer)
    if not (constraints.ca if constraints else is_root):
        raise _untrusted(f"the certificate of {issuer.who} may not issue certificates")
    if usage is not None and not usage.key_cert_sign:
        raise _untrusted(f"the key usage of {issuer.who} lacks keyCertSign")
    count = sum(each.issued_by != each.subject for each in below)
    if constraints and constraints.path_length is not None and count > constraints.path_length:
        raise _untrusted(
            f"{count} certificates of issuers stand below {issuer.who}, {constraints.path_length} are allowed"
        )


def _check_critical(certificates: Sequence[Certificate], understood: frozenset[str]) -> None:
    for certificate in certificates:
        for extension in certificate.parsed.extensions:
            oid = extension.oid.dotted_string
            if extension.critical and oid not in _UNDERSTOOD | understood:
                raise _untrusted(
                    f"the certificate of {certificate.who} has the critical extension {oid}, not known here"
                )


def _check_purpose(leaf: Certificate, wanted: Usage) -> None:
    usage = usage_of(leaf)
    if usage is not None and not getattr(usage, wanted):
        raise _untrusted(f"the key usage of {leaf.who} lacks {wanted}")


def _untrusted(message: str) -> RefusedError:
    return RefusedError(Reason.EVIDENCE_UNTRUSTED, message)


def _invalid(message: str) -> RefusedError:
    return RefusedError(Reason.COLLATERAL_INVALID, message)
