"""Certificates in PEM: one spelling each."""

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.attest.pem import MAX_PEM_BYTES, parse_pem
from sekisho.errors import Reason, RefusedError

BEGIN, END = b"-----BEGIN CERTIFICATE-----\n", b"\n-----END CERTIFICATE-----\n"


def spell(der: bytes) -> bytes:
    return BEGIN + base64.encodebytes(der).strip() + END


DER = b"one certificate" * 8  # two lines
ONE = spell(DER)


@pytest.mark.parametrize(
    ("pem", "message"),
    [
        (b"", "the certificates have 0 in PEM, 1 to 2 are allowed"),
        (ONE * 3, "the certificates have 3 in PEM, 1 to 2 are allowed"),
        (b"text" + ONE, "the certificates have something in them that is no certificate in PEM"),
        (ONE + b" " + ONE, "the certificates have something in them that is no certificate in PEM"),
        (ONE + b"\0", "the certificates have something in them that is no certificate in PEM"),
        (ONE[:-2], "the certificates have something in them that is no certificate in PEM"),
        (ONE + b"\n" * MAX_PEM_BYTES + ONE, "the certificates have something in them that is no certificate in PEM"),
        (BEGIN + b"QUJ" + END, "the certificates have a certificate that is not base64"),
        (BEGIN + b"QU=JD" + END, "the certificates have a certificate that is not base64"),
        (BEGIN + b"QU\rJD" + END, "the certificates have a certificate that is not base64"),
        (BEGIN + b"QUJDRB==" + END, "the certificates have a certificate that no encoder spells so"),
    ],
)
def test_anything_but_a_few_certificates_in_their_one_spelling_is_refused(pem: bytes, message: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse_pem(pem, "the certificates", most=2)
    assert caught.value.reason is Reason.EVIDENCE_INVALID
    assert caught.value.message == message


def test_nothing_but_line_ends_stands_around_a_certificate() -> None:
    for byte in set(range(256)) - set(b"\r\n"):
        for pem in (bytes((byte,)) + ONE, ONE + bytes((byte,)), ONE + bytes((byte,)) + ONE):
            with pytest.raises(RefusedError, match="something in them that is no certificate in PEM"):
                parse_pem(pem, "they", most=2)


def test_what_stands_beyond_the_limit_is_not_looked_at_but_refused() -> None:
    fill = b"\n" * (MAX_PEM_BYTES - len(ONE.strip()))
    assert parse_pem(fill + ONE.strip(), "they", most=1) == (DER,)
    with pytest.raises(RefusedError, match="something in them that is no certificate in PEM"):
        parse_pem(fill + b"\n" + ONE.strip(), "they", most=1)
    assert MAX_PEM_BYTES == 65536


def test_the_reason_is_the_callers() -> None:
    with pytest.raises(RefusedError) as caught:
        parse_pem(b"", "the certificates", most=1, reason=Reason.COLLATERAL_INVALID)
    assert caught.value.reason is Reason.COLLATERAL_INVALID


@pytest.mark.parametrize("pem", [ONE, ONE.replace(b"\n", b"\r\n"), ONE.strip()], ids=["plain", "CRLF", "no end"])
def test_line_ends_of_both_kinds_are_read(pem: bytes) -> None:
    assert parse_pem(pem, "the certificates", most=2) == (DER,)


@given(st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=3))
def test_what_was_spelt_is_read_again(certificates: list[bytes]) -> None:
    assert parse_pem(b"".join(map(spell, certificates)), "they", most=3) == tuple(certificates)


@settings(max_examples=300)
@given(st.integers(0, len(ONE) - 1), st.integers(1, 255))
def test_a_changed_byte_never_reads_as_the_same_certificate_but_for_line_ends(place: int, change: int) -> None:
    changed = bytearray(ONE)
    changed[place] ^= change
    try:
        read = parse_pem(bytes(changed), "they", most=1)
    except RefusedError:
        return
    assert read != (DER,) or {ONE[place], changed[place]} <= set(b"\r\n")
