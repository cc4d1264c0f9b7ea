"""SPDM measurements: only what was asked for, whole, and each once."""

import struct

import pytest
from hypothesis import given, settings

from sekisho.attest.spdm import MAX_REPORT_BYTES, Block, parse_spdm
from sekisho.errors import Reason, RefusedError
from tests.unit.fuzz import attempt, changed

NONCE = bytes(range(32))
REQUEST = b"\x11\xe0\x01\xff" + NONCE + b"\x02"
HEAD = b"\x11\x60\x00\x02"


def block(
    index: int = 1, value: bytes = b"v" * 48, *, kind: int = 1, specification: int = 1, size: int | None = None
) -> bytes:
    return (
        struct.pack("<BBHBH", index, specification, len(value) + 3 if size is None else size, kind, len(value)) + value
    )


def answer(
    blocks: bytes = block(), *, head: bytes = HEAD, count: int = 1, opaque: bytes = b"", tail: bytes = b"s" * 96
) -> bytes:
    size = len(blocks).to_bytes(3, "little")
    return head + bytes([count]) + size + blocks + bytes(32) + len(opaque).to_bytes(2, "little") + opaque + tail


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "its request has 0 bytes, not 37"),
        (REQUEST[:36], "its request has 36 bytes, not 37"),
        (bytes(MAX_REPORT_BYTES + 1), "it has 65537 bytes, 65536 allowed"),
        (b"\x12" + REQUEST[1:] + answer(), "message 0xe0 of version 0x12, not GET_MEASUREMENTS of SPDM 1.1"),
        (b"\x11\xe1" + REQUEST[2:] + answer(), "its request is message 0xe1 of version 0x11"),
        (b"\x11\xe0\x00" + REQUEST[3:] + answer(), "does not ask for all measurements with a signature"),
        (b"\x11\xe0\x01\x01" + REQUEST[4:] + answer(), "does not ask for all measurements with a signature"),
        (REQUEST[:36] + b"\x08" + answer(), "its request names certificate slot 8, slots are 0 to 7"),
        (REQUEST, "the head of the answer of 4 bytes at byte 37 passes the end of 37"),
        (REQUEST + answer(head=b"\x12\x60\0\2"), "message 0x60 of version 0x12, not MEASUREMENTS of SPDM 1.1"),
        (REQUEST + answer(head=b"\x11\x7f\0\2"), "the answer is message 0x7f of version 0x11"),
        (REQUEST + answer(head=b"\x11\x60\0\3"), "the answer is of certificate slot 3, slot 2 was asked"),
        (REQUEST + answer(count=2), "the index of a measurement of 1 bytes at byte 55 passes the end of 55"),
        (REQUEST + answer(block() + b"x"), "1 bytes of the measurements belong to none of the 1"),
        (REQUEST + answer(b"", count=0), "it has no measurements"),
        (REQUEST + answer(block() + block(), count=2), "measurement 1 stands twice"),
        (REQUEST + answer(block(0)), "a measurement has index 0, 1 to 239 are measurements"),
        (REQUEST + answer(block(240)), "a measurement has index 240, 1 to 239 are measurements"),
        (REQUEST + answer(block(specification=2)), "measurement 1 is not spelt as DMTF specifies"),
        (REQUEST + answer(block(size=50)), "measurement 1 has 48 bytes in 50, 1 to 1024 and three for its head fit"),
        (REQUEST + answer(block(value=b"")), "measurement 1 has 0 bytes in 3, 1 to 1024"),
        (REQUEST + answer(block(value=bytes(1025))), "measurement 1 has 1025 bytes in 1028, 1 to 1024"),
        (REQUEST + answer(block()[:40]), "measurement 1 of 48 bytes at byte 7 passes the end of 40"),
        (REQUEST + answer(tail=b"s" * 95), "the signature of 96 bytes"),
        (REQUEST + answer(tail=b"s" * 97), "1 bytes that nobody signed follow its signature"),
        (REQUEST + answer(tail=b"s" * 96 + bytes(4)), "4 bytes that nobody signed follow its signature"),
    ],
)  # fmt: skip
def test_what_is_no_report_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse_spdm(data, signature_bytes=96)
    assert caught.value.reason is Reason.EVIDENCE_INVALID
    assert caught.value.message.startswith("the device's SPDM report cannot be used: ")
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("length", "what"),
    [
        (41, "the number of measurements"),
        (42, "the size of the measurements"),
        (45, "the measurements of 55 bytes"),
        (100, "the nonce of the answer"),
        (132, "the size of the opaque data"),
        (134, "the opaque data of 6 bytes"),
        (140, "the signature of 96 bytes"),
    ],
)
def test_where_a_report_is_cut_is_told(length: int, what: str) -> None:
    with pytest.raises(RefusedError, match=what):
        parse_spdm((REQUEST + answer(opaque=b"opaque"))[:length], signature_bytes=96)


@pytest.mark.parametrize(
    ("length", "what"),
    [
        (0, "the index of a measurement"),
        (1, "the specification of a measurement of"),
        (2, "the size of a measurement of"),
        (4, "the kind of a measurement of"),
        (5, "the length of a measurement's value of"),
    ],
)
def test_where_a_measurement_is_cut_is_told(length: int, what: str) -> None:
    with pytest.raises(RefusedError, match=what):
        parse_spdm(REQUEST + answer(block()[:length]), signature_bytes=96)


def test_bounds_are_included() -> None:
    request = REQUEST[:36] + b"\x07"
    blocks = block(1, b"x") + block(239, bytes(1024))
    data = request + answer(blocks, head=b"\x11\x60\0\7", count=2)
    most = answer(blocks, head=b"\x11\x60\0\7", count=2, opaque=bytes(MAX_REPORT_BYTES - len(data)))
    report = parse_spdm(request + most, signature_bytes=96)
    assert [(each.index, len(each.value)) for each in report.blocks] == [(1, 1), (239, 1024)]
    with pytest.raises(RefusedError, match="4 bytes that nobody signed follow its signature"):
        parse_spdm(data + b"\0\0\0x", signature_bytes=96)


def test_a_report_is_split_into_what_was_signed_and_the_signature() -> None:
    blocks = block(1, b"a" * 48, kind=0) + block(7, b"raw", kind=0x83)
    data = REQUEST + answer(blocks, count=2, opaque=b"opaque")
    report = parse_spdm(data + b"\0\0\0", signature_bytes=96)
    assert report.nonce == NONCE
    assert report.blocks == (Block(1, 0, False, b"a" * 48), Block(7, 3, True, b"raw"))
    assert report.opaque == b"opaque"
    assert report.signed + report.signature == data
    assert report.signature == b"s" * 96


@given(changed(REQUEST + answer(opaque=b"opaque")))
@settings(max_examples=200, deadline=None)
def test_changed_reports_are_read_or_refused(data: bytes) -> None:
    attempt(lambda: parse_spdm(data, signature_bytes=96))
