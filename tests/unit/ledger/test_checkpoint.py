"""Checkpoints, cosignatures and proofs as files."""

import base64

import pytest

from sekisho.errors import Reason, RefusedError
from sekisho.ledger.checkpoint import (
    PROOF_HEAD,
    Checkpoint,
    Cosigned,
    InclusionProof,
    WitnessRequest,
    check_request,
    cosign,
    parse_checkpoint,
    parse_inclusion,
    parse_request,
    read_signed,
    sign_checkpoint,
    verify_cosignatures,
)
from sekisho.ledger.merkle import EMPTY_ROOT, hash_leaf, prove_consistency, prove_inclusion
from sekisho.ledger.notes import Note, NoteSignature, parse_note
from sekisho.ledger.tiles import TileReader
from tests.unit.ledger.trees import ORIGIN, SECRET, WITNESS, Log, log_key, witness_key

LOG = Log([b"entry %d" % number for number in range(300)])
NODE = TileReader(LOG.read, 300).node
ROOT = base64.b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n1\n", "has not the lines origin, size and root"),
        (f"\n1\n{ROOT}\n", "has not the lines"),
        (f"a\n1\n{ROOT}", "has not the lines"),
        (f"a\n01\n{ROOT}\n", "its size is no number"),
        (f"a\n-1\n{ROOT}\n", "its size is no number"),
        (f"a\n\u0661\n{ROOT}\n", "its size is no number"),
        (f"a\n{'9' * 16}\n{ROOT}\n", "its size is no number"),
        ("a\n1\nAAAA\n", "its root is no hash"),
        ("a\n1\n!\n", "its root is no hash"),
    ],
)
def test_what_is_no_checkpoint_is_refused(text: str, message: str) -> None:
    with pytest.raises(RefusedError) as refusal:
        parse_checkpoint(text)
    assert refusal.value.reason is Reason.RECORD_BROKEN
    assert message in refusal.value.message


def test_a_checkpoint_of_another_log_is_refused() -> None:
    with pytest.raises(RefusedError) as refusal:
        read_signed(LOG.files["checkpoint"], log_key("ledger.example/other"))
    assert refusal.value.reason is Reason.SIGNER_NOT_TRUSTED
    assert f"the checkpoint is of log '{ORIGIN}', the key of ledger.example/other" in refusal.value.message


def test_a_checkpoint_comes_back_from_its_file_whatever_lines_extend_it() -> None:
    assert read_signed(LOG.files["checkpoint"], LOG.key)[0] == LOG.head
    assert parse_checkpoint(LOG.head.encode() + "extension\n") == LOG.head
    assert str(LOG.head).startswith("300 entries, root ")


def test_a_cosignature_of_something_else_is_refused_and_of_somebody_else_passed_over() -> None:
    text, key = LOG.head.encode(), witness_key()
    line = cosign(text, key, WITNESS.sign, at=1_790_000_000)
    assert verify_cosignatures(Note(text, (line,)), [key]) == (Cosigned(key.name, 1_790_000_000),)
    assert (
        verify_cosignatures(Note(text, (line,)), [witness_key("witness.example/b"), log_key(key.name, WITNESS)]) == ()
    )
    late = NoteSignature(key.name, key.id, (1_790_000_001).to_bytes(8, "big") + line.value[8:])
    for note in (
        Note(text.replace("300", "301"), (line,)),
        Note(text, (late,)),
        Note(text, (NoteSignature(key.name, key.id, bytes(72)),)),
        Note(text, (NoteSignature(key.name, key.id, b"short"),)),
    ):
        with pytest.raises(RefusedError) as refusal:
            verify_cosignatures(note, [key])
        assert refusal.value.reason is Reason.SIGNATURE_INVALID
        assert "the cosignature of witness.example/a" in refusal.value.message


PROOF = InclusionProof(7, prove_inclusion(7, 300, NODE), LOG.files["checkpoint"], b"entry 7")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\n\nx",
        PROOF.encode().replace(PROOF_HEAD.encode(), b"other"),
        PROOF.encode().replace(b"extra ", b"Extra "),
        PROOF.encode().replace(b"extra ", b"extra !"),
        PROOF.encode().replace(b"index 7", b"index 07"),
        PROOF.encode().partition(b"\n\n")[0],
        f"{PROOF_HEAD}\nindex 1\n\nx".encode(),
    ],
)
def test_what_is_no_proof_is_refused(data: bytes) -> None:
    with pytest.raises(RefusedError, match=f"this is no proof: it has not the lines {PROOF_HEAD}, extra and index"):
        parse_inclusion(data)


@pytest.mark.parametrize("lines", [["AAAA"], ["!"], [ROOT] * 64])
def test_a_proof_with_lines_that_are_no_hashes_or_too_many_is_refused(lines: list[str]) -> None:
    with pytest.raises(RefusedError, match="a line of the proof is no hash, or there are more than 63"):
        parse_request(("old 1\n" + "\n".join(lines) + "\n\ncheckpoint").encode())


def test_a_proof_proves_its_entry_and_no_other() -> None:
    proof = parse_inclusion(PROOF.encode())
    assert proof == PROOF
    assert proof.verify(hash_leaf(proof.entry), LOG.key)[0] == LOG.head
    with pytest.raises(RefusedError, match="the proof does not lead from entry 7"):
        proof.verify(hash_leaf(b"entry 8"), LOG.key)


@pytest.mark.parametrize("data", [b"", b"old x\n\nnote", b"old 5", b"new 5\n\nnote"])
def test_what_is_no_request_to_a_witness_is_refused(data: bytes) -> None:
    with pytest.raises(RefusedError, match="this is no request to a witness: it begins with no line old SIZE"):
        parse_request(data)


def request(old: int) -> WitnessRequest:
    return WitnessRequest(old, prove_consistency(old, 300, NODE), LOG.files["checkpoint"])


def test_a_witness_refuses_what_does_not_go_on_from_what_it_saw() -> None:
    early = Log(LOG.entries[:100]).head
    with pytest.raises(RefusedError) as refusal:
        check_request(request(90), LOG.head, seen=(100, early.root))
    assert refusal.value.reason is Reason.RECORD_BROKEN
    assert "the proof begins at 90 entries, this witness has seen 100" in refusal.value.message
    assert "sekisho ledger prove --since 100" in refusal.value.message
    with pytest.raises(RefusedError) as refusal:
        check_request(request(100), LOG.head, seen=(100, Log([b"x"] * 100).head.root))
    assert refusal.value.reason is Reason.RECORD_FORKED
    with pytest.raises(RefusedError) as refusal:
        check_request(request(100), LOG.head, seen=(301, early.root))
    assert refusal.value.reason is Reason.RECORD_TRUNCATED
    check_request(parse_request(request(100).encode()), LOG.head, seen=(100, early.root))
    check_request(request(0), LOG.head, seen=(0, EMPTY_ROOT))


def test_a_signed_checkpoint_is_a_note_that_anybody_can_read() -> None:
    data = sign_checkpoint(Checkpoint("a", 0, EMPTY_ROOT), log_key("a"), SECRET.sign)
    assert parse_note(data).text == Checkpoint("a", 0, EMPTY_ROOT).encode()
