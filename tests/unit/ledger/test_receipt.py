"""Receipts and entries."""

import json

import pytest

from sekisho.errors import Reason, RefusedError
from sekisho.ledger.entry import encode_entry, parse_entry
from sekisho.ledger.merkle import hash_leaf
from sekisho.ledger.receipt import Receipt, Written, parse_receipt, sign_receipt
from tests.unit.ledger.trees import ORIGIN, SECRET, WITNESS, log_key

ENTRY = Written(ORIGIN, 7, hash_leaf(b"entry"))
RECEIPT = sign_receipt(ENTRY, log_key(), SECRET.sign, at=1_790_000_000_123)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x" * 2000,
        RECEIPT.encode().replace("v1 ", "v2 "),
        RECEIPT.encode().replace(" 7 ", " 07 "),
        RECEIPT.encode().replace(" 7 ", " "),
        RECEIPT.encode().replace(ORIGIN, ""),
        RECEIPT.encode().replace("1790000000123", "x"),
        RECEIPT.encode() + "!",
        " ".join(["v1", "a", "1", "AAAA", "1", "AAAA"]),
    ],
)
def test_what_is_no_receipt_is_refused(text: str) -> None:
    with pytest.raises(RefusedError) as refusal:
        parse_receipt(text)
    assert refusal.value.reason is Reason.SIGNATURE_INVALID
    assert refusal.value.message == "this is no receipt: it reads v1 LOG INDEX HASH TIME SIGNATURE"


def test_a_receipt_of_another_key_log_or_entry_is_refused() -> None:
    for key in (log_key(secret=WITNESS), log_key("other")):
        with pytest.raises(RefusedError) as refusal:
            RECEIPT.verify(key)
        assert refusal.value.reason is Reason.SIGNER_NOT_TRUSTED
    for entry, at in ((Written(ORIGIN, 8, ENTRY.leaf), RECEIPT.at), (ENTRY, RECEIPT.at + 1)):
        with pytest.raises(RefusedError, match="the receipt was not signed by") as refusal:
            Receipt(entry, at, RECEIPT.key_id, RECEIPT.signature).verify(log_key())
        assert refusal.value.reason is Reason.SIGNATURE_INVALID


def test_a_receipt_comes_back_from_its_line_and_fits_a_header() -> None:
    line = RECEIPT.encode()
    assert parse_receipt(line) == RECEIPT
    parse_receipt(f" {line}\n").verify(log_key())
    assert line.isascii()
    assert line.isprintable()
    assert len(line) < 300


@pytest.mark.parametrize("entry", [{"x": float("nan")}, {"x": object()}, {"x": "y" * 70_000}])
def test_an_entry_that_has_no_spelling_is_refused(entry: dict[str, object]) -> None:
    with pytest.raises(RefusedError) as refusal:
        encode_entry(entry)
    assert refusal.value.reason is Reason.RECORD_UNAVAILABLE


def test_equal_entries_are_equal_bytes_without_line_breaks() -> None:
    data = encode_entry({"b": "\u79d8\u5bc6\n\ud800", "a": 1.5})
    assert (
        data
        == encode_entry({"a": 1.5, "b": "\u79d8\u5bc6\n\ud800"})
        == json.dumps(parse_entry(data), separators=(",", ":")).encode()
    )
    assert b"\n" not in data


@pytest.mark.parametrize("data", [b"", b"[]", b"\xff", b"[" * 100_000])
def test_what_is_no_entry_has_no_fields(data: bytes) -> None:
    assert parse_entry(data) == {}
