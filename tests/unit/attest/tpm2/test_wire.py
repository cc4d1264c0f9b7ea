"""Numbers, sized buffers and headers: what is cut, too long, refused or left over."""

import struct

import pytest

from sekisho.attest.tpm2 import wire
from sekisho.errors import Reason, RefusedError, UnavailableError


def refusal(action: object) -> RefusedError:
    with pytest.raises(RefusedError) as raised:
        action()  # type: ignore[operator]
    return raised.value


def answer(code: int, body: bytes = b"", *, tag: int = wire.NO_SESSIONS) -> bytes:
    return struct.pack(">HII", tag, 10 + len(body), code) + body


def test_nothing_is_read_past_the_end() -> None:
    reader = wire.Reader(b"\x01\x02\x03", "thing")
    assert (reader.u8(), reader.u16()) == (1, 0x0203)
    error = refusal(reader.u32)
    assert error.reason is Reason.EVIDENCE_INVALID
    assert error.message == "the thing ends after 3 bytes, 4 more were expected at 3"


def test_a_sized_field_that_is_longer_than_allowed_is_refused_before_it_is_read() -> None:
    error = refusal(lambda: wire.Reader(b"\x00\x05abcde", "thing").sized(4))
    assert error.message == "the thing has a field of 5 bytes, 4 are allowed"
    assert wire.Reader(b"\x00\x05abcde", "thing").sized(5) == b"abcde"


def test_what_goes_on_after_its_end_is_refused() -> None:
    reader = wire.Reader(b"\x00\x01a!", "thing")
    assert reader.sized() == b"a"
    assert refusal(reader.end).message == "the thing goes on for 1 bytes after its end"


@pytest.mark.parametrize("length", [0, 9, 4097, 0xFFFFFFFF])
def test_an_answer_of_an_impossible_length_is_refused_before_it_is_read(length: int) -> None:
    error = refusal(lambda: wire.read_length(struct.pack(">HII", 0x8001, length, 0)))
    assert error.message == f"the header of the TPM's answer announces {length} bytes, 10 to 4096 are allowed"
    assert wire.read_length(struct.pack(">HII", 0x8001, 4096, 0)) == 4096


def test_an_answer_that_lies_about_its_length_is_refused() -> None:
    error = refusal(lambda: wire.open_answer(answer(0, b"abc")[:-1], "Quote"))
    assert error.message == "the answer to Quote announces 13 bytes and has 12"


def test_an_answer_with_an_unknown_tag_is_refused() -> None:
    assert refusal(lambda: wire.open_answer(answer(0, tag=0x00C4), "Quote")).message.endswith("has tag 0x00c4")


@pytest.mark.parametrize("code", [0x90A, 0x908, 0x922, 0x920])
def test_a_busy_tpm_may_be_asked_again(code: int) -> None:
    with pytest.raises(UnavailableError) as raised:
        wire.open_answer(answer(code), "Quote")
    assert raised.value.reason is Reason.EVIDENCE_MISSING
    assert wire.is_busy(answer(code))
    assert not wire.is_busy(answer(code, b"!"))
    assert not wire.is_busy(answer(0x921))
    assert not wire.is_busy(answer(0x01000000 | code))
    assert f"the TPM is busy with Quote (code {code:#x})" in raised.value.message


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (0x921, "it is locked after wrong authorisations"),
        (0x98E, "its endorsement hierarchy has a password, which must be empty"),
        (0x1DF, "the credential was made for another key"),
        (0x123, "see TPM 2.0 Library, Part 2"),
    ],
)
def test_what_a_tpm_refuses_is_told_by_code_and_in_words(code: int, told: str) -> None:
    error = refusal(lambda: wire.open_answer(answer(code), "CreatePrimary"))
    assert error.reason is Reason.EVIDENCE_MISSING
    assert error.message.startswith(f"the TPM refused CreatePrimary with code {code:#x}")
    assert told in error.message


def test_numbers_are_those_of_the_specification() -> None:
    assert (wire.PASSWORD, wire.NULL_HANDLE, wire.ENDORSEMENT) == (0x40000009, 0x40000007, 0x4000000B)
    assert (wire.NO_SESSIONS, wire.SESSIONS) == (0x8001, 0x8002)
    assert (wire.SHA256, wire.ALG_NULL) == (0x000B, 0x0010)


@pytest.mark.parametrize("code", sorted(wire._KNOWN))
def test_every_code_that_is_known_is_told_by_its_name(code: int) -> None:
    named = {
        0x100: "INITIALIZE", 0x101: "FAILURE", 0x120: "DISABLED", 0x18B: "HANDLE", 0x28B: "HANDLE",
        0x902: "OBJECT_MEMORY", 0x903: "SESSION_MEMORY", 0x921: "LOCKOUT", 0x98E: "AUTH_FAIL", 0x9A2: "BAD_AUTH",
        0x1DF: "INTEGRITY", 0x2DF: "INTEGRITY",
    }  # fmt: skip
    told = refusal(lambda: wire.open_answer(answer(code), "Quote")).message
    assert f"(TPM_RC_{named[code]}: " in told


def test_a_sized_buffer_is_its_length_and_its_bytes() -> None:
    assert wire.pack_sized(b"abc") == b"\x00\x03abc"
    assert wire.pack_sized(b"") == b"\x00\x00"


def test_the_shortest_answer_is_a_header() -> None:
    assert wire.read_length(answer(0)) == 10


def test_parameters_end_where_the_answers_of_sessions_begin() -> None:
    body = struct.pack(">I", 3) + b"abc" + b"session"
    reader = wire.open_parameters(wire.open_answer(answer(0, body, tag=wire.SESSIONS), "Quote"))
    assert (reader.data, reader.what) == (b"abc", "answer to Quote")
    cut = struct.pack(">I", 30) + b"abc"
    assert (
        "30 more were expected"
        in refusal(lambda: wire.open_parameters(wire.open_answer(answer(0, cut, tag=wire.SESSIONS), "Quote"))).message
    )


def test_a_command_is_spelt_with_and_without_sessions() -> None:
    assert wire.pack_command(0x165, (), b"\x80\x00\x00\x01").hex() == "80010000000e0000016580000001"
    with_session = wire.pack_command(0x158, (0x80000001,), b"p", sessions=(wire.PASSWORD,))
    assert with_session.hex() == "80020000001c0000015880000001" + "00000009" + "400000090000000000" + "70"
