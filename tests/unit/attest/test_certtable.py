"""The table of certificates from an untrusted host: bounded, and nothing outside of it is read."""

import contextlib
import struct
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.attest.certtable import MAX_TABLE_BYTES, read_certificate_chain
from sekisho.errors import Reason, RefusedError

VCEK = uuid.UUID("63da758d-e664-4564-adc5-f4b93be8accd").bytes
VLEK = uuid.UUID("a8074bc2-a25a-483e-aae6-39c045a0b8a1").bytes
ARK = uuid.UUID("c0b406a4-a803-4952-9743-3fb6014cd0ae").bytes
ASK = uuid.UUID("4ab7b379-bbac-4fe4-a02f-05aef327c782").bytes
CRL = uuid.UUID("92f81bc3-5811-4d3d-97ff-d19f88dc67ea").bytes


def table(*entries: tuple[bytes, int, int], rest: bytes = b"", end: bytes = bytes(24)) -> bytes:
    return b"".join(name + struct.pack("<II", offset, length) for name, offset, length in entries) + end + rest


def test_certificates_come_leaf_first_and_others_are_passed_over() -> None:
    data = table((ARK, 120, 3), (CRL, 123, 2), (VCEK, 125, 4), (ASK, 129, 1), rest=b"arkxxleaf!")
    assert read_certificate_chain(data) == (b"leaf", b"!", b"ark")


def test_either_kind_of_key_may_have_signed_and_a_certificate_may_be_as_large_as_allowed() -> None:
    data = table((ARK, 72, 1), (VLEK, 73, 16384), rest=b"!" + b"x" * 16384)
    assert read_certificate_chain(data) == (b"x" * 16384, b"!")
    assert read_certificate_chain(table(*[(CRL, 0, 1)] * 15, (VCEK, 0, 1))) == (CRL[:1],)


@pytest.mark.parametrize("data", [b"", bytes(24), bytes(MAX_TABLE_BYTES)])
def test_an_empty_table_has_none(data: bytes) -> None:
    assert read_certificate_chain(data) == ()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (bytes(MAX_TABLE_BYTES + 1), "has 65537 bytes, 65536 allowed"),
        (VCEK + bytes(7), "does not end"),
        (b"x" * 24, "names 2021161080 bytes at 2021161080, which it does not have"),
        (table((VCEK, 0, 1), end=bytes(23)), "does not end"),
        (table((VCEK, 50, 10), rest=b"x" * 11), "names 10 bytes at 50, which it does not have"),
        (table((VCEK, 48, 1), end=b""), "names 1 bytes at 48, which it does not have"),
        (table((VCEK, 24, 24), end=b"x" * 23 + b"y"), "does not have"),
        (table((VCEK, 48, 0)), "names 0 bytes at 48"),
        (table((VCEK, 2**32 - 1, 2**32 - 1)), "which it does not have"),
        (table((VCEK, 48, 16385), rest=bytes(20000)), "names 16385 bytes at 48"),
        (table(*[(CRL, 0, 1)] * 17), "has more than 16 entries"),
    ],
)
def test_a_table_that_is_not_as_it_must_be_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(RefusedError) as caught:
        read_certificate_chain(data)
    assert caught.value.reason is Reason.EVIDENCE_INVALID
    assert "the certificate table" in caught.value.message
    assert message in caught.value.message


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=400))
def test_no_bytes_do_more_than_refuse(data: bytes) -> None:
    with contextlib.suppress(RefusedError):
        assert all(read_certificate_chain(data))
