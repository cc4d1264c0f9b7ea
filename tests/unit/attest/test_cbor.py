"""CBOR: what documents need and nothing else, never more than there is."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.attest.cbor import MAX_BYTES, CborValue, encode_cbor, parse_cbor
from sekisho.errors import Reason, RefusedError
from tests.unit.fuzz import attempt, changed

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1) | st.binary(max_size=40) | st.text(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.integers(-9, 999) | st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("", "1 bytes at byte 0 pass the end of 0"),
        ("18", "1 bytes at byte 1 pass the end of 1"),
        ("1c", "a length at byte 0 is not one that CBOR knows"),
        ("5f4101ff", "a length at byte 0 is not one that CBOR knows"),
        ("43ffff", "3 bytes at byte 1 pass the end of 3"),
        ("5bffffffffffffffff", "18446744073709551615 bytes at byte 9 pass the end of 9"),
        ("9bffffffffffffffff", "1 bytes at byte 9 pass the end of 9"),
        ("9f01", "1 bytes at byte 2 pass the end of 2"),
        ("61ff", "a text before byte 2 is not UTF-8"),
        ("a2010201ff", "a key of a map before byte 4 is no number or text, or stands twice"),
        ("a1f500", "a key of a map before byte 2 is no number or text"),
        ("a1410000", "a key of a map before byte 3 is no number or text"),
        ("c000", "what begins with 0xc0 at byte 0 is not taken"),
        ("f90000", "what begins with 0xf9 at byte 0 is not taken"),
        ("ff", "what begins with 0xff at byte 0 is not taken"),
        ("0000", "1 bytes follow its end"),
        ("81" * 9 + "00", "it has more than 8 levels or 4096 items"),
        ("a100" * 9 + "00", "it has more than 8 levels or 4096 items"),
        ("a1" * 4096, "it has more than 8 levels or 4096 items"),  # each is the key of the one before
        ("9f" + "00" * 4096 + "ff", "it has more than 8 levels or 4096 items"),
    ],
)
def test_what_cannot_be_read_is_refused_by_place(data: str, message: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse_cbor(bytes.fromhex(data), name="the document")
    assert caught.value.reason is Reason.EVIDENCE_INVALID
    assert "the document is not CBOR that can be read: " in caught.value.message
    assert message in caught.value.message


def test_more_than_64_kib_is_refused() -> None:
    with pytest.raises(RefusedError, match="it has 65537 bytes, 65536 allowed"):
        parse_cbor(bytes(MAX_BYTES + 1), name="the document")


@pytest.mark.parametrize(
    "data",
    [
        b"\x9f" + bytes(4095) + b"\xff",  # 4096 items with the list itself
        b"\x81" * 8 + b"\0",  # eight levels
        b"\xa1\0" * 8 + b"\0",
        b"\x59\xff\xfd" + bytes(0xFFFD),  # 64 KiB
    ],
)
def test_what_is_as_much_as_is_allowed_is_read(data: bytes) -> None:
    assert parse_cbor(data, name="the document") is not None
    assert len(data) <= MAX_BYTES


@pytest.mark.parametrize(
    ("value", "data"),  # from RFC 8949, appendix A, and where the next width begins
    [
        (0, "00"),
        (23, "17"),
        (24, "1818"),
        (255, "18ff"),
        (256, "190100"),
        (1000, "1903e8"),
        (65535, "19ffff"),
        (65536, "1a00010000"),
        (1000000, "1a000f4240"),
        (4294967295, "1affffffff"),
        (4294967296, "1b0000000100000000"),
        (1000000000000, "1b000000e8d4a51000"),
        (-1, "20"),
        (-25, "3818"),
        ("a" * 24, "7818" + "61" * 24),
    ],
)
def test_numbers_have_their_shortest_spelling_alone(value: CborValue, data: str) -> None:
    assert encode_cbor(value).hex() == data
    assert parse_cbor(bytes.fromhex(data), name="the document") == value


@pytest.mark.parametrize(
    ("data", "value"),  # from RFC 8949, appendix A
    [
        ("1bffffffffffffffff", 18446744073709551615),
        ("3903e7", -1000),
        ("f7", None),
        ("6449455446", "IETF"),
        ("9f018202039f0405ffff", [1, [2, 3], [4, 5]]),
        ("bf6346756ef563416d7421ff", {"Fun": True, "Amt": -2}),
    ],
)
def test_examples_of_the_standard_are_read(data: str, value: CborValue) -> None:
    assert parse_cbor(bytes.fromhex(data), name="the document") == value


@given(VALUES)
@settings(max_examples=60, deadline=None)
def test_what_was_spelt_is_read_again(value: CborValue) -> None:
    assert parse_cbor(encode_cbor(value), name="the document") == value


@given(changed(encode_cbor({"a": [1, b"two", {"three": None}], 4: "five", "six": [True, False]})))
@settings(max_examples=200, deadline=None)
def test_changed_bytes_are_read_or_refused(data: bytes) -> None:
    attempt(lambda: parse_cbor(data, name="the document"))
