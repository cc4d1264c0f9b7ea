"""Receipts and entries."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.errors import Reason, RefusedError
from sekisho.ledger.entry import encode_entry, parse_entry
from sekisho.ledger.merkle import EMPTY_ROOT, find_root, hash_children, prove_inclusion, root_by_inclusion
from sekisho.ledger.receipt import Batch, Written, batch_of, parse_receipt, sign_batch
from tests.unit.ledger.trees import ORIGIN, SECRET, WITNESS, leaves, log_key

LEAVES = leaves(7)
BATCH = Batch(ORIGIN, 40, tuple(LEAVES))
SIGNED = sign_batch(BATCH, log_key(), SECRET.sign, at=1_790_000_000_123)
ENTRY = Written(ORIGIN, 43, LEAVES[3], BATCH)
RECEIPT = SIGNED.receipt(ENTRY)
LINE = RECEIPT.encode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x" * 5000,
        LINE.replace("v1 ", "v2 "),
        LINE.replace(" 43 ", " 043 "),
        LINE.replace(" 43 ", " "),
        LINE.replace(ORIGIN, ""),
        LINE.replace("1790000000123", "x"),
        LINE.replace(" 40 7 ", " 40 "),
        LINE + "!",
        LINE + " AAAA" * 2,
        LINE + f" {LINE.split()[3]}" * 24,
        " ".join(["v1", "a", "1", "AAAA", "1", "AAAA", "1", "1"]),
    ],
    ids=range(12),
)
def test_what_is_no_receipt_is_refused(text: str) -> None:
    with pytest.raises(RefusedError) as refusal:
        parse_receipt(text)
    assert refusal.value.reason is Reason.SIGNATURE_INVALID
    assert refusal.value.message.startswith("this is no receipt: it reads v1 LOG INDEX HASH TIME SIGNATURE FIRST COUNT")


def test_a_receipt_of_another_key_log_or_entry_is_refused() -> None:
    for key in (log_key(secret=WITNESS), log_key("other")):
        with pytest.raises(RefusedError) as refusal:
            RECEIPT.verify(key)
        assert refusal.value.reason is Reason.SIGNER_NOT_TRUSTED
    for changed in (
        replace(RECEIPT, entry=Written(ORIGIN, 44, ENTRY.leaf)),
        replace(RECEIPT, entry=Written(ORIGIN, 43, LEAVES[2])),
        replace(RECEIPT, entry=Written(ORIGIN, 39, ENTRY.leaf)),
        replace(RECEIPT, at=RECEIPT.at + 1),
        replace(RECEIPT, first=39),
        replace(RECEIPT, count=8),
        replace(RECEIPT, path=RECEIPT.path[:-1]),
        replace(RECEIPT, path=(*RECEIPT.path[:-1], LEAVES[0])),
    ):
        with pytest.raises(RefusedError, match="the receipt was not signed by") as refusal:
            changed.verify(log_key())
        assert refusal.value.reason is Reason.SIGNATURE_INVALID


@pytest.mark.parametrize("count", [1, 2, 7, 64])
def test_every_entry_of_a_commit_has_a_receipt_by_one_signature_and_it_fits_a_header(count: int) -> None:
    batch = Batch(ORIGIN, 40, tuple(leaves(count)))
    signed = sign_batch(batch, log_key(), SECRET.sign, at=1)
    for place, leaf in enumerate(batch.leaves):
        line = signed.receipt(Written(ORIGIN, 40 + place, leaf, batch)).encode()
        assert signed.spell(batch.take(place)) == line
        assert parse_receipt(line) == signed.receipt(Written(ORIGIN, 40 + place, leaf, batch))
        parse_receipt(f" {line}\n").verify(log_key())
        assert line.isascii()
        assert line.isprintable()
        assert len(line) < 700


def test_an_entry_of_which_no_batch_is_known_is_signed_by_itself() -> None:
    entry = Written(ORIGIN, 7, LEAVES[0])
    receipt = sign_batch(batch_of(entry), log_key(), SECRET.sign, at=1).receipt(entry)
    receipt.verify(log_key())
    assert (receipt.first, receipt.count, receipt.path) == (7, 1, ())


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


@given(st.integers(1, 70))
@settings(deadline=None, max_examples=40)
def test_root_and_paths_of_a_batch_are_those_of_the_tree_that_others_build(count: int) -> None:
    hashes = leaves(count)
    batch = Batch(ORIGIN, 40, tuple(hashes))

    def node(level: int, index: int) -> bytes:
        if level == 0:
            return hashes[index]
        return hash_children(node(level - 1, 2 * index), node(level - 1, 2 * index + 1))

    assert batch.root() == find_root(count, node)
    for index in range(count):
        path = batch.path(index)
        assert path == prove_inclusion(index, count, node)
        assert root_by_inclusion(hashes[index], index, count, path) == batch.root()
    for index in (-1, count):
        with pytest.raises(ValueError, match=r"^$"):
            batch.path(index)


def test_a_batch_of_nothing_has_the_root_of_nothing() -> None:
    assert Batch(ORIGIN, 40, ()).root() == EMPTY_ROOT
