"""Signed notes: refused ones first, then the example of the specification."""

import pytest

from sekisho.errors import Reason, RefusedError
from sekisho.ledger.notes import ED25519, Note, NoteKey, check_name, parse_key, parse_note, sign_note, verify_note
from tests.unit.ledger.trees import SECRET, WITNESS, log_key, public

EXAMPLE_KEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
EXAMPLE = (
    "This is an example message.\n\n\u2014 example.com/foo "
    "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"x" * 70_000, "has 70000 bytes, 65536 are allowed"),
        (b"\xff\n\n", "is not UTF-8"),
        (b"a\tb\n\n\n", "holds control characters"),
        (b"text\n", "has no signatures below an empty line"),
        (b"\n\nx\n", "has no signatures below an empty line"),
        ("text\n\n\u2014 a AAAAAAA=".encode(), "has no signatures below an empty line"),
        (("text\n\n" + "\u2014 a AAAAAAA=\n" * 65).encode(), "has 65 signatures, 64 are allowed"),
        (b"text\n\n- a AAAAAAA=\n", "has a line among its signatures that is none"),
        ("text\n\n\u2014 a AAAA\n".encode(), "has a line among its signatures that is none"),
        ("text\n\n\u2014 a AAAAAAB=\n".encode(), "has a line among its signatures that is none"),
        ("text\n\n\u2014 a+b AAAAAAA=\n".encode(), "has a line among its signatures that is none"),
        ("text\n\n\u2014 a\n".encode(), "has a line among its signatures that is none"),
        ("text\n\n\u2014 a !\n".encode(), "has a line among its signatures that is none"),
    ],
)
def test_what_is_no_note_is_refused(data: bytes, message: str) -> None:
    with pytest.raises(RefusedError) as refusal:
        parse_note(data)
    assert refusal.value.reason is Reason.SIGNATURE_INVALID
    assert refusal.value.message == f"the signed note {message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name", "a verifier key reads NAME+ID+KEY"),
        ("name+0+!", "the verifier key of name is no Ed25519 key of a log or witness"),
        ("name+00000000+AQ==", "the verifier key of name is no Ed25519 key"),
        (EXAMPLE_KEY.replace("+AekyeR", "+AukyeR"), "is no Ed25519 key of a log or witness"),
        (EXAMPLE_KEY.replace("530d", "530e"), "says its id is 530e903a, it is 530d903a"),
        (EXAMPLE_KEY.replace("/foo", "/fo o"), "cannot name a key"),
    ],
)
def test_what_is_no_verifier_key_is_refused(text: str, message: str) -> None:
    with pytest.raises(RefusedError, match=message.replace("+", r"\+")):
        parse_key(text)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u3000b", "a\x00", "x" * 256])
def test_a_name_that_no_key_may_have_is_refused(name: str) -> None:
    with pytest.raises(RefusedError, match="cannot name a key") as refusal:
        check_name(name)
    assert refusal.value.reason is Reason.INVALID_SPEC


def test_a_note_of_another_key_or_text_is_refused() -> None:
    note = sign_note("text\n", log_key(), SECRET.sign)
    with pytest.raises(RefusedError) as refusal:
        verify_note(note, log_key(secret=WITNESS))
    assert refusal.value.reason is Reason.SIGNER_NOT_TRUSTED
    assert "no signature is by ledger.example/gateway-0" in refusal.value.message
    with pytest.raises(RefusedError) as refusal:
        verify_note(Note("Text\n", note.signatures), log_key())
    assert refusal.value.reason is Reason.SIGNATURE_INVALID
    assert "does not fit the text above it" in refusal.value.message


def test_a_public_key_that_is_no_point_verifies_nothing() -> None:
    assert not NoteKey("x", ED25519, b"\xff" * 32).verifies(b"x", b"\0" * 64)
    assert not NoteKey("x", ED25519, b"short").verifies(b"x", b"\0" * 64)


def test_every_turned_bit_of_a_signature_is_refused() -> None:
    key, signature = log_key(), SECRET.sign(b"text")
    assert key.verifies(b"text", signature)
    for bit in range(len(signature) * 8):
        turned = (int.from_bytes(signature, "big") ^ (1 << bit)).to_bytes(64, "big")
        assert not key.verifies(b"text", turned)


def test_the_example_of_the_specification_verifies() -> None:
    key, note = parse_key(EXAMPLE_KEY), parse_note(EXAMPLE.encode())
    verify_note(note, key)
    assert (key.encode(), note.encode(), note.text) == (EXAMPLE_KEY, EXAMPLE, "This is an example message.\n")


def test_notes_and_keys_come_back_from_their_spelling() -> None:
    key = NoteKey("witness.example", 4, public(WITNESS))
    assert parse_key(key.encode() + "\n") == key
    note = sign_note("a\n\nb\n", log_key(), SECRET.sign)
    assert parse_note(note.encode().encode()) == note
