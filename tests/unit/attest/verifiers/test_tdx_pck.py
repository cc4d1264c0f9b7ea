"""What PCK certificates say of a platform: strict DER, every entry checked."""

from dataclasses import replace

import pytest
from hypothesis import given, settings

from sekisho.attest.verifiers.tdx_pck import Platform, parse_platform
from sekisho.errors import Reason, RefusedError
from tests.simulators.hardware.tdx import SimulatedTdx, entry, number, octets, tlv, truth
from tests.unit.fuzz import attempt, changed

SIM = SimulatedTdx(components=tuple(range(240, 256)), pce_svn=0x1234, pce_id=b"\1\2", kind=2)
EXTENSION = SIM.extension()
ENTRIES = {
    1: octets(bytes(16)),
    2: tlv(
        0x30, b"".join([*(entry(b"\x02", n, number(n)) for n in range(1, 18)), entry(b"\x02", 18, octets(bytes(16)))])
    ),
    3: octets(bytes(2)),
    4: octets(bytes(6)),
    5: tlv(0x0A, b"\0"),
}


def spell(changes: dict[int, bytes | None]) -> bytes:
    told = {**ENTRIES, **changes}
    return tlv(0x30, b"".join(entry(b"", index, value) for index, value in told.items() if value is not None))


def components(changes: dict[int, bytes | None]) -> bytes:
    told: dict[int, bytes | None] = {**{n: number(n) for n in range(1, 18)}, **changes}
    return spell({2: tlv(0x30, b"".join(entry(b"\x02", n, value) for n, value in told.items() if value is not None))})


NAME = "the PCK certificate's extension"


@pytest.mark.parametrize(
    ("extension", "message"),
    [
        (bytes(4097), "has 4097 bytes, 4096 allowed"),
        (bytes(4096), "is not one sequence"),
        (b"", "ends within a value"),
        (b"\x30", "ends within a value"),
        (b"\x30\x02\x05", "ends within a value"),
        (b"\x30\x00\x00", "is not one sequence"),
        (b"\x31\x00", "is not one sequence"),
        (b"\x30\x80", "has a length that is not DER"),
        (b"\x30\x83\0\0\0", "has a length that is not DER"),
        (b"\x30\x83\1\0\0", "has a length that is not DER"),
        (b"\x30\x81\x7f" + bytes(127), "has a length that is not DER"),
        (b"\x30\x82\x00\x80" + bytes(128), "has a length that is not DER"),
        (b"\x30\x81", "has a length that is not DER"),
        (tlv(0x30, b"\x02\x01\x01"), "has an entry that is no sequence"),
        (
            tlv(0x30, tlv(0x30, b"\x02\x01\x01")),
            "has an entry with an identifier that is not its own, or a second time",
        ),
        (tlv(0x30, tlv(0x30, b"\x06\x00")), "has an entry with an identifier that is not its own, or a second time"),
        (tlv(0x30, entry(b"\x02", 1, b"\x05\x00")), "has an entry with an identifier that is not its own, or a second"),
        (
            tlv(0x30, entry(b"", 1, octets(b"a")) * 2),
            "has an entry with an identifier that is not its own, or a second",
        ),
        (tlv(0x30, entry(b"", 1, octets(b"a") + b"\x05\x00")), "has an entry of more than two parts"),
        (spell({1: None}), "has no entry 1 of the type that it must have"),
        (spell({1: octets(bytes(15))}), "has 15 bytes in entry 1, not 16"),
        (spell({1: tlv(0x0C, bytes(16))}), "has no entry 1 of the type that it must have"),
        (spell({2: None}), "has no entry 2 of the type that it must have"),
        (spell({2: octets(b"a")}), "has no entry 2 of the type that it must have"),
        (spell({3: octets(bytes(3))}), "has 3 bytes in entry 3, not 2"),
        (spell({4: octets(bytes(5))}), "has 5 bytes in entry 4, not 6"),
        (spell({5: tlv(0x0A, b"\x03")}), "says SGX type 3"),
        (spell({5: tlv(0x0A, b"")}), "has no entry 5 of the type that it must have"),
        (spell({5: number(1)}), "has no entry 5 of the type that it must have"),
        (spell({6: octets(b"a")}), "has 1 bytes in entry 6, not 16"),
        (spell({7: octets(b"a")}), "has no entry 7 of the type that it must have"),
        (spell({7: tlv(0x30, entry(b"\x07", 1, tlv(1, b"\1")))}), "has neither true nor false in entry 1"),
        (spell({7: tlv(0x30, entry(b"\x07", 1, number(1)))}), "has no entry 1 of the type that it must have"),
        (components({16: None}), "has no entry 16 of the type that it must have"),
        (components({1: number(256)}), "has 256 in entry 1, 0 to 255 are possible"),
        (components({1: number(-1)}), "has -1 in entry 1, 0 to 255 are possible"),
        (components({17: number(65536)}), "has 65536 in entry 17, 0 to 65535 are possible"),
        (components({17: None}), "has no entry 17 of the type that it must have"),
    ],
)
def test_what_is_no_such_extension_is_refused_by_name(extension: bytes, message: str) -> None:
    with pytest.raises(RefusedError) as caught:
        parse_platform(extension)
    assert caught.value.reason is Reason.EVIDENCE_INVALID
    assert caught.value.message.startswith(f"{NAME} {message}")


@pytest.mark.parametrize("size", [127, 128, 255, 256])
def test_a_value_of_any_length_is_passed_over_where_nobody_asks_for_it(size: int) -> None:
    assert parse_platform(spell({8: octets(bytes(size))})) == parse_platform(spell({}))


def test_versions_may_be_as_low_and_as_high_as_their_fields_hold() -> None:
    platform = parse_platform(components({1: number(0), 2: number(255), 17: number(0)}))
    assert (platform.components[:2], platform.pce_svn) == ((0, 255), 0)
    assert parse_platform(components({17: number(0xFFFF)})).pce_svn == 0xFFFF


def test_an_extension_cut_at_any_length_is_refused() -> None:
    for length in range(len(EXTENSION)):
        assert isinstance(attempt(lambda length=length: parse_platform(EXTENSION[:length])), RefusedError)


def test_everything_that_is_certified_is_read() -> None:
    assert parse_platform(EXTENSION) == Platform(
        ppid=SIM.ppid,
        components=SIM.components,
        pce_svn=0x1234,
        pce_id=b"\1\2",
        fmspc=SIM.fmspc,
        kind="scalable-with-integrity",
        instance=bytes(range(16, 32)),
        configuration=(("dynamic-platform", True), ("cached-keys", False), ("smt-enabled", True)),
    )


@pytest.mark.parametrize(("kind", "name"), [(0, "standard"), (1, "scalable"), (2, "scalable-with-integrity")])
def test_kinds_of_platforms_have_names(kind: int, name: str) -> None:
    assert parse_platform(replace(SIM, kind=kind).extension()).kind == name


def test_a_processors_certificate_says_less() -> None:
    platform = parse_platform(replace(SIM, instance=None, configuration=None, kind=0).extension())
    assert (platform.instance, platform.configuration, platform.kind) == (b"", (), "standard")
    some = parse_platform(spell({7: tlv(0x30, entry(b"\x07", 3, truth(value=False)))}))
    assert (some.configuration, some.kind) == ((("smt-enabled", False),), "standard")


@settings(max_examples=200)
@given(changed(EXTENSION))
def test_any_bytes_are_read_or_refused(extension: bytes) -> None:
    assert isinstance(attempt(lambda: parse_platform(extension)), Platform | RefusedError)
