"""What two certificates, or a list and its issuer, say of each other is computed once; whether it counts, each time."""

from datetime import datetime, timedelta

import pytest

from sekisho.attest.certificates import is_signed, parse_certificate
from sekisho.attest.chains import verify_chain
from sekisho.errors import Reason, RefusedError
from tests.simulators.hardware.authorities import NOW, Holder, build_crl, build_holder

ROOT = build_holder("Linked Root")
CA = build_holder("Linked CA", ROOT, end=NOW + timedelta(days=2))
LATER = NOW + timedelta(days=3)


def verify(name: str, *, at: datetime = NOW, by: Holder = CA, crls: tuple[bytes, ...] = ()) -> object:
    """Verify a leaf that was never seen; what is above it was."""
    leaf = build_holder(name, CA, authority=False, end=NOW + timedelta(days=5)).der
    return verify_chain([leaf, by.der], (ROOT.der,), at=at, crls=crls)


def refused(name: str, reason: Reason, message: str, *, at: datetime = NOW, crls: tuple[bytes, ...] = ()) -> None:
    with pytest.raises(RefusedError, match=message) as caught:
        verify(name, at=at, crls=crls)
    assert caught.value.reason is reason


def test_an_issuer_that_was_verified_for_one_leaf_is_refused_for_the_next_after_its_time() -> None:
    verify("First")
    refused("Second", Reason.EVIDENCE_UNTRUSTED, "the certificate of CN=Linked CA is valid", at=LATER)


def test_an_issuer_that_was_verified_is_refused_for_the_next_leaf_once_a_list_revokes_it() -> None:
    verify("Third", crls=(build_crl(ROOT),))
    serial = parse_certificate(CA.der).parsed.serial_number
    refused(
        "Fourth",
        Reason.EVIDENCE_REVOKED,
        r"Linked CA .* was revoked by CN=Linked Root",
        crls=(build_crl(ROOT, serial),),
    )


def test_a_list_that_was_read_for_one_leaf_is_refused_for_the_next_after_its_time() -> None:
    crls = (build_crl(ROOT, end=NOW + timedelta(days=1)),)
    verify("Fifth", crls=crls)
    late = NOW + timedelta(days=1, hours=1)
    refused("Sixth", Reason.COLLATERAL_EXPIRED, "the revocation list of CN=Linked Root is valid", at=late, crls=crls)


def test_a_list_that_held_holds_by_no_other_key_of_the_same_name() -> None:
    crls = (build_crl(ROOT),)
    verify("Seventh", crls=crls)
    refused(
        "Eighth",
        Reason.COLLATERAL_INVALID,
        "does not hold; import it anew",
        crls=(build_crl(build_holder("Linked Root")),),
    )


def test_a_changed_byte_of_an_issuer_that_was_verified_is_another_issuer() -> None:
    verify("Ninth")
    changed = CA.der[:-1] + bytes([CA.der[-1] ^ 1])
    leaf = build_holder("Tenth", CA, authority=False).der
    with pytest.raises(RefusedError, match=r"the signature of CN=Linked Root .* does not hold") as caught:
        verify_chain([leaf, changed], (ROOT.der,), at=NOW)
    assert caught.value.reason is Reason.EVIDENCE_UNTRUSTED


def test_a_link_is_remembered_by_all_bytes_of_both_ends() -> None:
    root, ca = parse_certificate(ROOT.der), parse_certificate(CA.der)
    other = parse_certificate(build_holder("Linked Root").der)
    assert is_signed(ca, root)
    assert not is_signed(ca, other)
    assert is_signed(ca, root)
