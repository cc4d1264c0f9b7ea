"""Revocation lists: what an issuer signed, in time and whole, says which of its certificates count no more."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Final

from cryptography import x509

from sekisho.attest.certificates import HASHES, MOST_TOLD, UNREADABLE, Certificate, tell_window, usage_of
from sekisho.attest.claims import Window
from sekisho.errors import Reason, RefusedError

MAX_LISTS: Final = 64
MAX_LIST_BYTES: Final = 4 * 1024 * 1024
_MAX_HELD: Final = 32
"""How many lists are kept as they were read, and which key signed them; all else is looked at each time."""


@dataclass(frozen=True, slots=True)
class _List:
    """A revocation list that could be read in full; unverified."""

    der: bytes = field(repr=False)
    window: Window
    issuer: x509.Name = field(repr=False, compare=False)
    parsed: x509.CertificateRevocationList = field(repr=False, compare=False)


def check_revocation(
    certificates: Sequence[Certificate], crls: Sequence[bytes], *, at: datetime
) -> tuple[list[Window], bool]:
    """Look for every certificate below a root in the lists of its issuer.

    Returns:
        When the lists that were used are valid, and whether each issuer that may sign lists had one.

    Raises:
        RefusedError: EvidenceRevoked, CollateralInvalid, CollateralExpired.
    """
    lists = _parse_lists(crls)
    used: list[Window] = []
    lacking = False
    for issued, issuer in itertools.pairwise(certificates):
        mine = _choose_lists(issuer, lists, at=at)
        lacking = lacking or (not mine and _may_sign_lists(issuer))
        for each in mine:
            if each.parsed.get_revoked_certificate_by_serial_number(issued.parsed.serial_number) is not None:
                raise RefusedError(
                    Reason.EVIDENCE_REVOKED,
                    f"the certificate of {issued.who} with serial number {issued.parsed.serial_number:x} "
                    f"was revoked by {issuer.who}",
                )
            used.append(each.window)
    return used, bool(used) and not lacking


def _choose_lists(issuer: Certificate, lists: Sequence[_List], *, at: datetime) -> list[_List]:
    """Return the lists that an issuer signed; a list in its name alone that it did not sign is refused."""
    named = [each for each in lists if each.issuer == issuer.subject]
    mine = [each for each in named if _signed_list(each, issuer)]
    if named and not mine:
        raise _invalid(f"the signature under the revocation list of {issuer.who} does not hold; import it anew")
    if mine and not _may_sign_lists(issuer):
        raise _invalid(f"the key usage of {issuer.who} lacks cRLSign, so its revocation list says nothing")
    for each in mine:
        if not each.window.covers(at):
            raise RefusedError(
                Reason.COLLATERAL_EXPIRED,
                f"the revocation list of {issuer.who} is {tell_window(each.window, at)}; import a current one",
            )
    return mine


def _may_sign_lists(issuer: Certificate) -> bool:
    usage = usage_of(issuer)
    return usage is None or usage.crl_sign


def _parse_lists(crls: Sequence[bytes]) -> list[_List]:
    if len(crls) > MAX_LISTS:
        raise _invalid(f"there are {len(crls)} revocation lists, {MAX_LISTS} are allowed")
    return [_parse_list(der) for der in crls]


@lru_cache(_MAX_HELD)
def _parse_list(der: bytes) -> _List:
    if len(der) > MAX_LIST_BYTES:
        raise _invalid(f"a revocation list has {len(der)} bytes, {MAX_LIST_BYTES} are allowed")
    try:
        parsed = x509.load_der_x509_crl(der)
        critical = [each.oid.dotted_string for each in parsed.extensions if each.critical and not _is_complete(each)]
        begins, ends, issuer = parsed.last_update_utc, parsed.next_update_utc, parsed.issuer
    except UNREADABLE as error:
        raise _invalid("a revocation list is not an X.509 CRL in DER") from error
    if ends is None:
        raise _invalid(f"the revocation list of {issuer.rfc4514_string()[:MOST_TOLD]} does not say when it ends")
    if critical:
        raise _invalid(f"a revocation list has the critical extension {critical[0]}, not known here")
    return _List(der, Window(begins, ends), issuer, parsed)


@lru_cache(_MAX_HELD)
def _signed_list(crl: _List, issuer: Certificate) -> bool:
    try:
        return isinstance(crl.parsed.signature_hash_algorithm, HASHES) and crl.parsed.is_signature_valid(issuer.key)
    except UNREADABLE:
        return False


def _is_complete(extension: x509.Extension[x509.ExtensionType]) -> bool:
    """Tell whether an extension says only where the list is to be had, and that nothing is left out of it."""
    value = extension.value
    return isinstance(value, x509.IssuingDistributionPoint) and not (
        value.only_contains_user_certs
        or value.only_contains_ca_certs
        or value.only_contains_attribute_certs
        or value.indirect_crl
        or value.only_some_reasons
    )


def _invalid(message: str) -> RefusedError:
    return RefusedError(Reason.COLLATERAL_INVALID, message)
