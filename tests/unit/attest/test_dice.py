"""Firmware identifiers in certificates, in either form."""

from functools import reduce

import pytest
from hypothesis import given, settings

from sekisho.attest.dice import find_fwids
from sekisho.errors import Reason, RefusedError
from tests.simulators.hardware.nvidia import FIRMWARE, encode_der, encode_identity
from tests.unit.fuzz import attempt, changed

OID = bytes.fromhex("0609608648016503040202")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (bytes(4097), "it has 4097 bytes, 4096 allowed"),
        (b"\x30", "a length at byte 0 cannot be read"),
        (b"\x30\x80", "a length at byte 0 cannot be read"),
        (b"\x30\x83\x00\x00\x00", "a length at byte 0 cannot be read"),
        (b"\x30\x82\x00", "a length at byte 0 cannot be read"),
        (b"\x30\x02\x05", "2 bytes at byte 2 pass its end"),
        (reduce(lambda inner, _: encode_der(0x30, inner), range(9), b""), "it is deeper than 8 levels"),
    ],
)
def test_what_cannot_be_read_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(RefusedError) as caught:
        find_fwids(data)
    assert caught.value.reason is Reason.EVIDENCE_INVALID
    assert caught.value.message.startswith("the firmware identifier of the certificate cannot be read: ")
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", ()),
        (encode_identity(), ()),
        (encode_identity(FIRMWARE), (FIRMWARE,)),
        (encode_identity(FIRMWARE, bytes(48)), (FIRMWARE, bytes(48))),
        (encode_der(0x30, encode_der(0xA6, encode_der(0x30, OID, encode_der(0x04, FIRMWARE)))), (FIRMWARE,)),
        (encode_der(0x30, OID, encode_der(0x04, FIRMWARE[:47])), ()),
        (encode_der(0x30, OID[:-1] + b"\1", encode_der(0x04, FIRMWARE)), ()),
        (encode_der(0x30, OID, encode_der(0x0C, FIRMWARE)), ()),
    ],
)
def test_digests_by_sha_384_are_found_and_nothing_else(data: bytes, found: tuple[bytes, ...]) -> None:
    assert find_fwids(data) == found


def nest(levels: int, inner: bytes) -> bytes:
    return reduce(lambda value, _: encode_der(0x30, value), range(levels), inner)


def test_bounds_are_included() -> None:
    found = encode_der(0x30, OID, encode_der(0x04, FIRMWARE))
    assert find_fwids(nest(7, found)) == (FIRMWARE,)
    filler = encode_der(0x04, bytes(4096 - 4 - len(found)))
    assert len(filler + found) == 4096
    assert find_fwids(filler + found) == (FIRMWARE,)


def test_lengths_are_read_in_every_form_and_at_every_place() -> None:
    found = encode_der(0x30, OID, encode_der(0x04, FIRMWARE))
    short = b"\x30\x81" + bytes([len(found)]) + found
    assert find_fwids(b"\x02\x01\x01" + short) == (FIRMWARE,)
    assert find_fwids(b"\x02\x01\x01" + encode_der(0x30, encode_der(0x04, bytes(300)), found)) == (FIRMWARE,)
    assert find_fwids(found + b"\x30\x81\x00") == (FIRMWARE,)


def test_bytes_that_are_not_made_of_parts_are_not_looked_into() -> None:
    found = encode_der(0x30, OID, encode_der(0x04, FIRMWARE))
    for tag in (0x02, 0x03, 0x04, 0x05, 0x81):
        assert find_fwids(encode_der(tag, found)) == ()


@given(changed(encode_identity(FIRMWARE, FIRMWARE)))
@settings(max_examples=200, deadline=None)
def test_changed_extensions_are_read_or_refused(data: bytes) -> None:
    attempt(lambda: find_fwids(data))
