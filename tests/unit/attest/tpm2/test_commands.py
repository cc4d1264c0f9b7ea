"""Commands, and what a TPM that behaves, and one that does not, answers to them."""

import hashlib
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sekisho.attest.tpm2 import commands
from sekisho.attest.tpm2.structures import AK_TEMPLATE, EK_ECC, parse_public
from sekisho.errors import RefusedError, UnavailableError
from tests.simulators.tpm.simulated import Maker, SimulatedTpm, pack_selection, sized

SESSION_END = bytes.fromhex("0000010000")


@pytest.fixture
def tpm() -> SimulatedTpm:
    return SimulatedTpm(Maker())


def answer(body: bytes, *, tag: int = 0x8001) -> bytes:
    return struct.pack(">HII", tag, 10 + len(body), 0) + body


def sealed(parameters: bytes, handles: bytes = b"") -> bytes:
    return answer(handles + struct.pack(">I", len(parameters)) + parameters + SESSION_END, tag=0x8002)


def load(tpm: SimulatedTpm, template: bytes = AK_TEMPLATE) -> commands.LoadedKey:
    return commands.parse_created(tpm.execute(commands.build_create_primary(template)))


def test_a_key_that_is_made_has_the_name_of_its_public_area(tpm: SimulatedTpm) -> None:
    key = load(tpm)
    assert key.name == parse_public(key.public).name
    assert load(tpm).public == key.public
    assert load(tpm, EK_ECC.template).public != key.public


def test_a_quote_says_what_it_was_made_for(tpm: SimulatedTpm) -> None:
    key = load(tpm)
    quoted = commands.parse_quoted(tpm.execute(commands.build_quote(key.handle, b"q" * 32, [0, 7])))
    assert quoted.attest.startswith(b"\xffTCG\x80\x18")
    assert b"q" * 32 in quoted.attest
    assert quoted.attest.endswith(hashlib.sha256(tpm.pcrs[0] + tpm.pcrs[7]).digest())
    assert quoted.signature.startswith(b"\x00\x18\x00\x0b")


def test_pcrs_are_read_eight_at_a_time(tpm: SimulatedTpm) -> None:
    found = commands.parse_pcrs(tpm.execute(commands.build_pcr_read(range(24))))
    assert found == {number: tpm.pcrs[number] for number in range(8)}
    assert commands.parse_pcrs(tpm.execute(commands.build_pcr_read([23]))) == {23: tpm.pcrs[23]}


def test_numbers_that_are_no_pcrs_are_not_asked_for() -> None:
    assert commands.build_pcr_read([24, -1, 3]) == commands.build_pcr_read([3])


def test_a_certificate_is_read_in_parts(tpm: SimulatedTpm) -> None:
    index = EK_ECC.certificate_index
    size = commands.parse_nv_size(tpm.execute(commands.build_nv_read_public(index)))
    assert tpm.certificate is not None
    assert size == len(tpm.certificate)
    parts = [commands.parse_nv_data(tpm.execute(commands.build_nv_read(index, at, 100))) for at in range(0, size, 100)]
    assert b"".join(parts) == tpm.certificate


def test_a_key_that_is_flushed_is_gone_and_a_startup_is_unknown_to_a_running_one(tpm: SimulatedTpm) -> None:
    key = load(tpm)
    commands.parse_done(tpm.execute(commands.build_flush(key.handle)), "FlushContext")
    with pytest.raises(RefusedError, match="the TPM refused FlushContext with code 0x1cb"):
        commands.parse_done(tpm.execute(commands.build_flush(key.handle)), "FlushContext")
    assert commands.build_startup().hex() == "80010000000c000001440000"


def test_slots_that_are_taken_are_told(tpm: SimulatedTpm) -> None:
    for _ in range(3):
        load(tpm)
    with pytest.raises(RefusedError, match="its slots for keys are taken"):
        load(tpm)


def test_a_policy_session_begins_and_is_satisfied(tpm: SimulatedTpm) -> None:
    session = commands.parse_session(tpm.execute(commands.build_start_policy(bytes(32))))
    commands.parse_done(tpm.execute(commands.build_policy_secret(session)), "PolicySecret")
    assert tpm.sessions == {session: True}


def test_a_busy_tpm_is_no_refusal(tpm: SimulatedTpm) -> None:
    tpm.busy = 1
    with pytest.raises(UnavailableError, match="busy with CreatePrimary"):
        load(tpm)


def created(*, public: int = 1, data: int = 1, digest: int = 1, ticket: int = 1, name: int = 1) -> bytes:
    """Spell the answer to CreatePrimary with fields of these sizes."""
    fields = [*(sized(bytes(size)) for size in (public, data, digest)), bytes(6)]
    return sealed(b"".join([*fields, sized(bytes(ticket)), sized(bytes(name))]), struct.pack(">I", 0x80000001))


def test_fields_of_answers_may_be_as_long_as_they_are_allowed() -> None:
    made = commands.parse_created(created(public=1024, data=1024, digest=64, ticket=64, name=66))
    assert (len(made.public), len(made.name)) == (1024, 66)
    assert commands.parse_nv_size(answer(sized(b"\x07" * 128) + sized(bytes(66)))) == 0x0707
    assert len(commands.parse_nv_data(sealed(sized(bytes(2048))))) == 2048
    assert commands.parse_nv_size(answer(sized(b"\7\0\1") + sized(b""))) == 1


@pytest.mark.parametrize(
    ("parse", "data", "told"),
    [
        (commands.parse_pcrs, answer(struct.pack(">II", 1, 2)), "speaks of 2 banks, one was asked for"),
        (commands.parse_pcrs, answer(struct.pack(">IIHB", 1, 1, 4, 3)), "speaks of bank 0x0004 with 3 bytes"),
        (commands.parse_pcrs, answer(struct.pack(">IIHB", 1, 1, 0xB, 9)), "with 9 bytes of selection"),
        (
            commands.parse_pcrs,
            answer(struct.pack(">I", 1) + pack_selection([0, 1]) + struct.pack(">I", 1)),
            "names 2 PCRs and has 1 values",
        ),
        (
            commands.parse_pcrs,
            answer(struct.pack(">I", 1) + pack_selection([0]) + struct.pack(">I", 1) + sized(bytes(48))),
            "has a field of 48 bytes, 32 are allowed",
        ),
        (commands.parse_session, answer(struct.pack(">I", 3) + sized(bytes(32)) + b"!"), "goes on for 1 bytes"),
        (commands.parse_nv_data, sealed(sized(b"abc") + b"!"), "goes on for 1 bytes"),
        (commands.parse_activated, sealed(sized(bytes(65))), "has a field of 65 bytes, 64 are allowed"),
        (commands.parse_quoted, sealed(sized(bytes(1025))), "has a field of 1025 bytes, 1024 are allowed"),
        (commands.parse_created, sealed(b"", struct.pack(">I", 1)), "2 more were expected at 0"),
        (lambda data: commands.parse_done(data, "FlushContext"), answer(b"!"), "goes on for 1 bytes"),
        (commands.parse_pcrs, answer(struct.pack(">I", 1) + pack_selection([]) + bytes(5)), "goes on for 1 bytes"),
        (commands.parse_nv_size, answer(sized(bytes(129))), "has a field of 129 bytes, 128 are allowed"),
        (commands.parse_nv_size, answer(sized(b"") + sized(bytes(67))), "has a field of 67 bytes, 66 are allowed"),
        (commands.parse_nv_data, sealed(sized(bytes(2049))), "has a field of 2049 bytes, 2048 are allowed"),
        (commands.parse_created, created(public=1025), "has a field of 1025 bytes, 1024 are allowed"),
        (commands.parse_created, created(data=1025), "has a field of 1025 bytes, 1024 are allowed"),
        (commands.parse_created, created(digest=65), "has a field of 65 bytes, 64 are allowed"),
        (commands.parse_created, created(ticket=65), "has a field of 65 bytes, 64 are allowed"),
        (commands.parse_created, created(name=67), "has a field of 67 bytes, 66 are allowed"),
    ],
)
def test_an_answer_that_is_not_as_it_must_be_is_refused(parse: Callable[[bytes], Any], data: bytes, told: str) -> None:
    with pytest.raises(RefusedError) as raised:
        parse(data)
    assert told in raised.value.message


PARSERS: tuple[Callable[[bytes], Any], ...] = (
    commands.parse_created, commands.parse_quoted, commands.parse_pcrs, commands.parse_nv_size, commands.parse_nv_data,
    commands.parse_session, commands.parse_activated, lambda data: commands.parse_done(data, "FlushContext"),
)  # fmt: skip


@given(st.integers(0, len(PARSERS) - 1), st.sampled_from([0x8001, 0x8002]), st.binary(max_size=200))
def test_any_answer_is_read_or_refused_and_nothing_else(which: int, tag: int, body: bytes) -> None:
    try:
        PARSERS[which](answer(body, tag=tag))
    except RefusedError as error:
        assert "the answer to" in error.message  # noqa: PT017 - either outcome is right


PASSWORD = "40000009 0000 00 0000"


def spelt(code: str, handles: str, sessions: str, parameters: str) -> bytes:
    """Spell a command from the tables of Part 3, by hand."""
    area = bytes.fromhex(sessions)
    sized_area = len(area).to_bytes(4, "big") + area if area else b""
    body = bytes.fromhex(code) + bytes.fromhex(handles) + sized_area + bytes.fromhex(parameters)
    return bytes.fromhex("8002" if area else "8001") + (6 + len(body)).to_bytes(4, "big") + body


@pytest.mark.parametrize(
    ("build", "wanted"),
    [
        (commands.build_startup, spelt("00000144", "", "", "0000")),
        (lambda: commands.build_flush(0x80000001), spelt("00000165", "", "", "80000001")),
        (
            lambda: commands.build_create_primary(b"TT"),
            spelt("00000131", "4000000B", PASSWORD, "0004 0000 0000  0002 5454  0000  00000000"),
        ),
        (
            lambda: commands.build_quote(0x80000001, b"Q", [0, 9, 23]),
            spelt("00000158", "80000001", PASSWORD, "0001 51  0010  00000001 000B 03 010280"),
        ),
        (lambda: commands.build_pcr_read([8]), spelt("0000017E", "", "", "00000001 000B 03 000100")),
        (lambda: commands.build_nv_read_public(0x01C00002), spelt("00000169", "01C00002", "", "")),
        (
            lambda: commands.build_nv_read(0x01C00002, 0x200, 0x100),
            spelt("0000014E", "01C00002 01C00002", PASSWORD, "0100 0200"),
        ),
        (
            lambda: commands.build_start_policy(b"NNNN"),
            spelt("00000176", "40000007 40000007", "", "0004 4E4E4E4E  0000  01  0010  000B"),
        ),
        (
            lambda: commands.build_policy_secret(0x03000000),
            spelt("00000151", "4000000B 03000000", PASSWORD, "0000 0000 0000 00000000"),
        ),
        (
            lambda: commands.build_activate(0x80000001, 0x80000002, 0x03000000, blob=b"B", secret=b"SS"),
            spelt("00000147", "80000001 80000002", f"{PASSWORD} 03000000 0000 00 0000", "0001 42  0002 5353"),
        ),
    ],
)
def test_a_command_is_spelt_as_the_specification_has_it(build: Callable[[], bytes], wanted: bytes) -> None:
    assert build().hex() == wanted.hex()


CREATED = sized(b"public") + sized(b"data") + sized(b"hash") + bytes(6) + sized(b"digest") + sized(b"name")


def test_what_is_made_and_what_is_opened_is_read_whole() -> None:
    made = commands.parse_created(sealed(CREATED, struct.pack(">I", 0x80000001)))
    assert made == commands.LoadedKey(0x80000001, b"public", b"name")
    assert commands.parse_activated(sealed(sized(b"secret"))) == b"secret"
    public = bytes(10) + struct.pack(">H", 0x0203)
    assert commands.parse_nv_size(answer(sized(public) + sized(b"name"))) == 0x0203


@pytest.mark.parametrize(
    ("parse", "data"),
    [
        (commands.parse_created, sealed(CREATED + b"!", struct.pack(">I", 1))),
        (commands.parse_nv_size, answer(sized(bytes(14)) + sized(b"name") + b"!")),
        (commands.parse_activated, sealed(sized(b"secret") + b"!")),
    ],
)
def test_an_answer_that_goes_on_is_refused(parse: Callable[[bytes], Any], data: bytes) -> None:
    with pytest.raises(RefusedError, match="goes on for 1 bytes after its end"):
        parse(data)


@pytest.mark.parametrize(
    ("parse", "name"),
    [
        (commands.parse_created, "CreatePrimary"), (commands.parse_quoted, "Quote"), (commands.parse_pcrs, "PCR_Read"),
        (commands.parse_nv_size, "NV_ReadPublic"), (commands.parse_nv_data, "NV_Read"),
        (commands.parse_session, "StartAuthSession"), (commands.parse_activated, "ActivateCredential"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_command(parse: Callable[[bytes], Any], name: str) -> None:
    with pytest.raises(RefusedError, match=f"the TPM refused {name} with code 0x101 "):
        parse(struct.pack(">HII", 0x8001, 10, 0x101))
