"""A chain that held is not verified again while its window lasts; nothing else is remembered of it."""

from datetime import datetime, timedelta

import pytest

from sekisho.attest import chains
from sekisho.attest.chains import verify_chain
from sekisho.errors import Reason, RefusedError
from tests.simulators.hardware.authorities import NOW, build_crl, build_holder

ROOT = build_holder("Remembered Root")
CA = build_holder("Remembered CA", ROOT)


def verify(
    leaf: bytes, *, at: datetime = NOW, roots: tuple[bytes, ...] = (ROOT.der,), crls: tuple[bytes, ...] = ()
) -> object:
    return verify_chain([leaf, CA.der], roots, at=at, crls=crls)


def build_leaf(name: str = "Leaf") -> bytes:
    return build_holder(name, CA, authority=False, end=NOW + timedelta(days=2)).der


def test_the_same_bytes_hold_again_and_are_the_same_chain() -> None:
    leaf = build_leaf()
    assert verify(leaf) is verify(bytes(bytearray(leaf)))


def test_a_chain_that_held_is_refused_once_its_window_has_passed_and_before_it() -> None:
    leaf = build_leaf()
    verify(leaf)
    for at in (NOW + timedelta(days=3), NOW - timedelta(days=60)):
        with pytest.raises(RefusedError) as caught:
            verify(leaf, at=at)
        assert caught.value.reason is Reason.EVIDENCE_UNTRUSTED
    verify(leaf)


def test_other_roots_and_lists_are_another_question() -> None:
    leaf, other = build_leaf(), build_holder("Remembered Root")
    verify(leaf)
    with pytest.raises(RefusedError) as caught:
        verify(leaf, roots=(other.der,))
    assert caught.value.reason is Reason.EVIDENCE_UNTRUSTED
    serial = chains.parse_certificate(leaf).parsed.serial_number
    with pytest.raises(RefusedError) as caught:
        verify(leaf, crls=(build_crl(ROOT), build_crl(CA, serial)))
    assert caught.value.reason is Reason.EVIDENCE_REVOKED


def test_a_list_that_ends_ends_what_is_remembered() -> None:
    leaf = build_leaf()
    crls = (build_crl(ROOT), build_crl(CA, end=NOW + timedelta(days=1)))
    verify(leaf, crls=crls)
    with pytest.raises(RefusedError) as caught:
        verify(leaf, crls=crls, at=NOW + timedelta(days=1, hours=1))
    assert caught.value.reason is Reason.COLLATERAL_EXPIRED


def test_what_is_remembered_is_bounded_and_the_oldest_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chains, "MAX_HELD", 2)
    monkeypatch.setattr(chains, "_HELD", {})
    first, second, third = (build_leaf(f"Leaf {number}") for number in range(3))
    kept = verify(second)
    chains._HELD.clear()
    one = verify(first)
    two = verify(second)
    verify(third)
    assert len(chains._HELD) == 2
    assert verify(second) is two
    assert verify(first) is not one
    assert kept is not two
