"""The journal of one log, and the keys beside it."""

import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from sekisho.errors import Reason, RefusedError, UnavailableError
from sekisho.recording.journal import Journal, Line, measure_sound, parse_line
from sekisho.recording.keys import read_body_key, read_log_key

ENTRIES = st.lists(st.binary(max_size=30).filter(lambda item: b"\n" not in item), max_size=6)


def test_a_line_does_not_show_what_its_entry_says() -> None:
    assert repr(Line.of(b"secret")) == f"Line({Line.of(b'secret').leaf.hex()})"


def test_a_break_with_whole_lines_behind_it_is_no_torn_end() -> None:
    lines = [Line.of(b"entry %d" % number).encode() for number in range(4)]
    with pytest.raises(RefusedError) as refusal:
        measure_sound(lines[0] + lines[1][:-3] + b"\n" + lines[2] + lines[3])
    assert refusal.value.reason is Reason.RECORD_BROKEN
    assert refusal.value.message.startswith("the record is broken after entry 1, byte 73, and goes on behind it: ")


@pytest.mark.parametrize("data", [b"", b"x", b"0" * 64, b"0" * 64 + b" x", Line.of(b"x").encode()[1:-1]])
def test_what_is_no_line_is_none(data: bytes) -> None:
    assert parse_line(data) is None


@settings(deadline=None, max_examples=25)
@given(ENTRIES, st.data())
def test_a_torn_end_is_measured_and_only_that(entries: list[bytes], data: st.DataObject) -> None:
    lines = [Line.of(entry) for entry in entries]
    whole = b"".join(line.encode() for line in lines)
    assert measure_sound(whole) == (len(whole), lines)
    cut = data.draw(st.integers(0, len(whole)))
    sound, found = measure_sound(whole[:cut])
    assert whole[:sound] == b"".join(line.encode() for line in found)
    assert found == lines[: len(found)]
    assert cut - sound < len(lines[len(found)].encode()) if len(found) < len(lines) else cut == sound


@settings(deadline=None, max_examples=25)
@given(ENTRIES.filter(bool), st.data())
def test_any_turned_bit_in_a_line_is_noticed(entries: list[bytes], data: st.DataObject) -> None:
    line = Line.of(entries[0]).encode()[:-1]
    at = data.draw(st.integers(0, len(line) * 8 - 1))
    turned = (int.from_bytes(line, "big") ^ (1 << at)).to_bytes(len(line), "big")
    assert parse_line(turned) is None


def test_a_journal_that_lost_what_was_acknowledged_is_not_opened(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    journal.create()
    journal.append([Line.of(b"x")])
    journal.close()
    os.truncate(tmp_path / "journal", 5)
    with pytest.raises(FileNotFoundError):
        journal.open()
    assert not journal.is_open


def test_what_the_disk_did_not_take_is_taken_back(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    journal.create()
    journal.append([Line.of(b"x")])
    size = journal.size
    os.close(journal._descriptor)
    with pytest.raises(OSError, match="Bad file descriptor"):
        journal.append([Line.of(b"y")])
    journal._descriptor = -1
    (tmp_path / "journal").write_bytes((tmp_path / "journal").read_bytes() + b"torn")
    journal.open()
    journal.append([Line.of(b"z")])
    journal.close()
    assert [line.entry for line in measure_sound((tmp_path / "journal").read_bytes())[1]] == [b"x", b"z"]
    assert journal.size == 2 * size


@pytest.mark.parametrize("data", [b"", b"no key", generate_private_key(SECP256R1()).private_bytes(
    Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())], ids=["nothing", "text", "another kind"])  # fmt: skip
def test_what_is_no_key_of_a_log_is_refused_by_name_alone(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "given.pem").write_bytes(data)
    with pytest.raises(UnavailableError) as refusal:
        read_log_key(tmp_path, tmp_path / "given.pem")
    assert refusal.value.reason is Reason.RECORD_UNAVAILABLE
    assert refusal.value.message == (
        "given.pem is no Ed25519 private key in PEM without a passphrase (openssl genpkey -algorithm ed25519)"
    )


def test_keys_are_made_once_for_their_owner_alone_and_never_spelt(tmp_path: Path) -> None:
    key, body = read_log_key(tmp_path, None), read_body_key(tmp_path)
    again = read_log_key(tmp_path / "other", tmp_path / "log.key")
    assert key.named("x") == read_log_key(tmp_path, None).named("x") == again.named("x")
    assert body == read_body_key(tmp_path)
    for name in ("log.key", "body.key"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    assert repr(key) == "LogKey()"
